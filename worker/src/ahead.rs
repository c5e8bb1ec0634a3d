//! Steps that are begun ahead: while a table that a step returned is on its way to the bucket and to the hub, the SQL step that takes it
//! next computes already. When the hub gives that step out, what came of it is there.
//!
//! Nothing hangs on it. Such a step has no effects, its outcome counts under a lease alone, and one that no lease comes for is dropped.
//! It is begun only where the hub has nothing else for this worker, so that no other job waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bucket::value::Copied;
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::EndFrame;
use protocol::plan::Runtime;
use protocol::{Digest, ErrorKind, Language, LeaseToken, Outcome, Place, RunId, Step};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::attempt::{Arguments, Attempts, End, Ran};
use crate::done::Left;
use crate::held::StepIs;
use crate::hub::Hub;
use crate::step_process::Ending;
use crate::trouble::Trouble;

/// How long a request for work must have been waiting at the hub to show that there is none.
const IDLE_MIN: Duration = Duration::from_millis(5);

/// The steps of one worker that were begun ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    begun: Vec<Entry>,
    is_over: bool,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    run: RunId,
    plan: Digest,
    step: u32,
    /// Key and checksum of its argument, once that is stored.
    argument: Option<(String, Digest)>,
    begun: Begun,
    /// Nobody waits for it any longer.
    _gone: DropGuard,
}

/// A step that was begun ahead.
#[derive(Debug)]
struct Begun {
    plan: Arc<PlanAnswer>,
    /// `None`: nothing that could stand for an attempt came of it.
    ran: oneshot::Receiver<Option<Ran>>,
    stop: CancellationToken,
}

/// Names a step that was begun ahead, while it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    number: u64,
    gone: CancellationToken,
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lease: &Lease, begun: Begun, most: usize) -> Option<Kept> {
        let mut state = self.lock();
        if state.is_over || state.begun.len() >= most {
            return None;
        }
        let number = state.next;
        state.next += 1;
        let (run, plan, step) = (lease.run.clone(), lease.plan, lease.step);
        let gone = CancellationToken::new();
        let _gone = gone.clone().drop_guard();
        state.begun.push(Entry { number, run, plan, step, argument: None, begun, _gone });
        Some(Kept { number, gone })
    }

    /// Says where the argument of a step is.
    fn stored(&self, kept: &Kept, key: &str, sha256: Digest) {
        let mut state = self.lock();
        if let Some(entry) = state.begun.iter_mut().find(|entry| entry.number == kept.number) {
            entry.argument = Some((key.to_owned(), sha256));
        }
    }

    /// What was begun for this very lease.
    fn take(&self, lease: &Lease) -> Option<Begun> {
        let [argument] = lease.inputs.as_slice() else { return None };
        let Place::Object { key, sha256, .. } = &argument.place else { return None };
        let is_meant = |entry: &Entry| {
            let is_step = (&entry.run, entry.plan, entry.step) == (&lease.run, lease.plan, lease.step);
            is_step && entry.argument.as_ref().is_some_and(|argument| (&argument.0, &argument.1) == (key, sha256))
        };
        let mut state = self.lock();
        let place = state.begun.iter().position(is_meant)?;
        Some(state.begun.swap_remove(place).begun)
    }

    fn remove(&self, kept: &Kept) -> Option<Begun> {
        let mut state = self.lock();
        let place = state.begun.iter().position(|entry| entry.number == kept.number)?;
        Some(state.begun.swap_remove(place).begun)
    }

    /// Whether there is room for another one.
    fn has_room(&self, most: usize) -> bool {
        let state = self.lock();
        !state.is_over && state.begun.len() < most
    }

    fn end(&self) -> Vec<Begun> {
        let mut state = self.lock();
        state.is_over = true;
        state.begun.drain(..).map(|entry| entry.begun).collect()
    }
}

impl<H: Hub> Attempts<H> {
    /// Begins the step that takes the table which a step has just returned, where that can do no harm and there is nothing else to do.
    pub(crate) fn begin_ahead(
        self: &Arc<Self>,
        before: &Lease,
        plan: &Arc<PlanAnswer>,
        table: &Copied,
    ) -> Option<Kept> {
        let shared = &self.shared;
        let most = shared.config.limits.ahead_max;
        let index = plan.next.get(before.step as usize).copied().flatten()?;
        let step = plan.steps.get(index as usize)?;
        let is_ours = shared.config.scopes.contains(&step.settings.scope);
        let is_idle = shared.asks_since().is_some_and(|since| since.elapsed() >= IDLE_MIN);
        if !is_ours || !is_idle || !self.is_of_fleet() || !has_no_effects(step) {
            return None;
        }
        if !self.ahead.has_room(most) || !shared.has_memory(1) {
            return None;
        }
        let mut token = [0; 16];
        getrandom::fill(&mut token).ok()?;
        let lease = Lease { token: LeaseToken(token), step: index, inputs: Vec::new(), ..before.clone() };
        let stop = CancellationToken::new();
        let (sender, ran) = oneshot::channel();
        let kept = self.ahead.add(&lease, Begun { plan: Arc::clone(plan), ran, stop: stop.clone() }, most)?;
        let (attempts, plan, table) = (Arc::clone(self), Arc::clone(plan), table.clone());
        tokio::spawn(async move {
            let end = End { revoked: stop, handed_back: CancellationToken::new() };
            let ran = attempts.run_ahead(&lease, &plan, &table, &end).await;
            if let Err(Some(ran)) = sender.send(ran) {
                attempts.clear(left(&plan, ran)).await;
            }
        });
        Some(kept)
    }

    async fn run_ahead(&self, lease: &Lease, plan: &PlanAnswer, table: &Copied, end: &End) -> Option<Ran> {
        let step = plan.steps.get(lease.step as usize)?;
        let ran = match self.run_step(lease, plan, step, Arguments::Copied(table), end).await {
            Ok(ran) => ran,
            Err(trouble) => {
                tracing::debug!(step = step.name, "not run ahead: {trouble:?}");
                return None;
            }
        };
        if stands_for_an_attempt(&ran.conversation.ending) {
            return Some(ran);
        }
        self.clear(left(plan, ran)).await;
        None
    }

    /// Says what came of the table for which a step was begun.
    pub(crate) fn note_ahead(self: &Arc<Self>, kept: Kept, outcome: &Result<Outcome, Trouble>) {
        let stored = match outcome {
            Ok(Outcome::Success { value, .. }) => match &value.place {
                Place::Object { key, sha256, .. } => Some((key, *sha256)),
                _ => None,
            },
            _ => None,
        };
        if let Some((key, sha256)) = stored {
            self.ahead.stored(&kept, key, sha256);
        }
        let attempts = Arc::clone(self);
        let patience = stored.map(|_| self.shared.config.limits.ahead_kept);
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience.unwrap_or_default()) => {}
                () = kept.gone.cancelled() => return,
            }
            if let Some(begun) = attempts.ahead.remove(&kept) {
                attempts.dispose(begun).await;
            }
        });
    }

    /// What came of the step of a lease, where it was begun ahead.
    pub(crate) async fn ran_ahead(&self, lease: &Lease, end: &End) -> Result<Option<Ran>, Trouble> {
        let Some(mut begun) = self.ahead.take(lease) else { return Ok(None) };
        self.shared.held.note(lease.token, StepIs::Running);
        let ran = tokio::select! {
            ran = &mut begun.ran => Some(ran.ok().flatten()),
            () = end.wait() => None,
        };
        self.shared.held.note(lease.token, StepIs::Idle);
        match ran {
            Some(ran) => {
                tracing::debug!(was_run = ran.is_some(), "the step was begun ahead");
                Ok(ran)
            }
            None => {
                self.dispose(begun).await;
                Err(Trouble::Stopped)
            }
        }
    }

    /// Stops a step that nobody wants.
    async fn dispose(&self, begun: Begun) {
        begun.stop.cancel();
        if let Ok(Some(ran)) = begun.ran.await {
            self.clear(left(&begun.plan, ran)).await;
        }
    }

    /// Stops all that no lease came for: none will come.
    pub(crate) async fn end_ahead(&self) {
        let patience = self.shared.config.limits.stop_grace + self.shared.config.limits.exit_grace;
        let disposed = futures::future::join_all(self.ahead.end().into_iter().map(|begun| self.dispose(begun)));
        if tokio::time::timeout(patience, disposed).await.is_err() {
            tracing::debug!("steps that were begun ahead did not end in time");
        }
    }
}

/// Whether a step only computes: a database in memory, which is not connected to anything.
fn has_no_effects(step: &Step) -> bool {
    let Runtime { environment, secrets, connection, .. } = &step.settings.runtime;
    matches!(step.language, Language::Sqlite3 | Language::Duckdb)
        && environment.is_empty()
        && secrets.is_empty()
        && connection.is_none()
}

/// Whether this would have come of an attempt under a lease too. For all that may have to do with the moment, the attempt runs by itself.
fn stands_for_an_attempt(ending: &Ending) -> bool {
    match ending {
        Ending::Answer(EndFrame::Result(_)) => true,
        Ending::Answer(EndFrame::Error(error)) => error.kind != ErrorKind::Away,
        _ => false,
    }
}

fn left(plan: &PlanAnswer, ran: Ran) -> Left {
    Left { rest: ran.conversation.rest, bundle: plan.bundle, scratch: ran.scratch }
}
