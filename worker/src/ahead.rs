//! What is begun ahead: while a table that a step returned is on its way to the bucket and to the hub, the SQL step that takes it next
//! computes already, or the process of the Python step that takes it next reads it already, one of a SQL step even as it is written. When the hub gives that step out, what came
//! of it is there.
//!
//! Nothing hangs on it. A SQL step has no effects, and no code of a Python step runs before there is a lease for it; an outcome counts
//! under a lease alone, and what no lease comes for is dropped. It is begun only where the hub has nothing else for this worker, so that
//! no other job waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bucket::value::{Copied, Effort, Growing, Values};
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{EndFrame, Input};
use protocol::plan::Runtime;
use protocol::{Digest, ErrorKind, JobId, Language, LeaseToken, Outcome, Place, RunId, Step, ValueRef};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::{Arguments, Attempts, End, Ran};
use crate::done::Left;
use crate::held::StepIs;
use crate::hub::Hub;
use crate::patience::key;
use crate::reading::Source;
use crate::scratch::Scratch;
use crate::step_process::Ending;
use crate::trouble::Trouble;

/// How long a request for work must have been waiting at the hub to show that there is none.
const IDLE_MIN: Duration = Duration::from_millis(5);

/// What one worker has begun ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    state: Arc<Mutex<State>>,
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

/// What was begun ahead; dropping it stops it.
#[derive(Debug)]
enum Begun {
    /// A SQL step.
    Step {
        plan: Arc<PlanAnswer>,
        /// `None`: nothing that could stand for an attempt came of it.
        ran: oneshot::Receiver<Option<Ran>>,
        stop: DropGuard,
    },
    /// A process that reads the argument of a Python step; `None`: there is none.
    Reading(JoinHandle<Option<Read>>),
}

/// An argument that a process has been told to read.
#[derive(Debug)]
pub(crate) struct Read {
    /// The folder in which it waits.
    pub(crate) scratch: Scratch,
    /// The file it reads: it stays as it is.
    pub(crate) input: Input,
}

/// What there is for a lease.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// Its step has run.
    Ran(Box<Ran>),
    /// A process reads the argument.
    Read(Read),
    Nothing,
}

/// A table that a step returned, on its way to be stored before there is a lease; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Storing {
    /// The job whose first attempt it is stored for.
    job: JobId,
    value: AbortOnDropHandle<Option<ValueRef>>,
}

/// Names what was begun ahead; it goes with this.
#[derive(Debug)]
pub(crate) struct Kept {
    number: u64,
    gone: CancellationToken,
    state: Arc<Mutex<State>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // What goes with it may have begun something itself: it is not dropped under the lock.
        drop(remove(&self.state, self.number));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remove(state: &Mutex<State>, number: u64) -> Option<Begun> {
    let mut state = lock(state);
    let place = state.begun.iter().position(|entry| entry.number == number)?;
    Some(state.begun.swap_remove(place).begun)
}

impl Storing {
    /// What the value of a lease is stored as; `None`: it is not.
    pub(crate) async fn value_of(self, lease: &Lease) -> Option<ValueRef> {
        if (self.job, 1) != (lease.job, lease.attempt) {
            return None;
        }
        self.value.await.ok().flatten()
    }
}

impl Ahead {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
        Some(Kept { number, gone, state: Arc::clone(&self.state) })
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
        let (lease, language) = self.follower(before, plan)?;
        match language {
            Language::Python => self.read_ahead(lease, plan, Source::Whole(table.clone())),
            _ => self.run_ahead((lease, before.next_job.is_some()), plan, table),
        }
    }

    /// Has the process of a Python step read the table that a step still writes, likewise.
    pub(crate) fn begin_reading(
        self: &Arc<Self>,
        before: &Lease,
        plan: &Arc<PlanAnswer>,
        table: impl FnOnce(&Values) -> Option<Growing>,
    ) -> Option<(Growing, Kept)> {
        let (lease, _) = self.follower(before, plan).filter(|(_, language)| *language == Language::Python)?;
        let growing = table(&self.values)?;
        let kept = self.read_ahead(lease, plan, Source::Growing(growing.clone()))?;
        Some((growing, kept))
    }

    /// The lease that there will be for the step that takes what a step returns, and what that is written in, if it may be begun.
    fn follower(&self, before: &Lease, plan: &PlanAnswer) -> Option<(Lease, Language)> {
        let shared = &self.shared;
        let most = shared.config.limits.ahead_max;
        let index = plan.next.get(before.step as usize).copied().flatten()?;
        let step = plan.steps.get(index as usize)?;
        let is_ours = shared.config.scopes.contains(&step.settings.scope);
        let is_idle = shared.asks_since().is_some_and(|since| since.elapsed() >= IDLE_MIN);
        if !is_ours || !is_idle || !self.is_of_fleet() || !can_be_begun(step) {
            return None;
        }
        if !self.ahead.has_room(most) || !shared.has_memory(1) {
            return None;
        }
        let mut token = [0; 16];
        getrandom::fill(&mut token).ok()?;
        let lease = Lease {
            token: LeaseToken(token),
            job: before.next_job.unwrap_or(before.job),
            attempt: 1,
            step: index,
            inputs: Vec::new(),
            next_job: None,
            ..before.clone()
        };
        Some((lease, step.language))
    }

    /// Begins a SQL step. Where its job is known, what it returns is stored as what came of that.
    fn run_ahead(
        self: &Arc<Self>,
        (lease, has_job): (Lease, bool),
        plan: &Arc<PlanAnswer>,
        table: &Copied,
    ) -> Option<Kept> {
        let stop = CancellationToken::new();
        let (sender, ran) = oneshot::channel();
        let begun = Begun::Step { plan: Arc::clone(plan), ran, stop: stop.clone().drop_guard() };
        let kept = self.ahead.add(&lease, begun, self.shared.config.limits.ahead_max)?;
        let (attempts, plan, table) = (Arc::clone(self), Arc::clone(plan), table.clone());
        tokio::spawn(async move {
            let end = End { revoked: stop, handed_back: CancellationToken::new() };
            let mut ran = attempts.compute(&lease, &plan, &table, &end).await;
            if let Some(ran) = ran.as_mut().filter(|_| has_job) {
                ran.storing = attempts.store_ahead(&lease, ran);
            }
            if let Err(Some(ran)) = sender.send(ran) {
                attempts.give_up(&plan, ran).await;
            }
        });
        Some(kept)
    }

    async fn compute(
        self: &Arc<Self>,
        lease: &Lease,
        plan: &Arc<PlanAnswer>,
        table: &Copied,
        end: &End,
    ) -> Option<Ran> {
        let step = plan.steps.get(lease.step as usize)?;
        let mut ran = match self.run_step(lease, plan, step, Arguments::Copied(table), end).await {
            Ok(ran) => ran,
            Err(trouble) => {
                tracing::debug!(step = step.name, "not run ahead: {trouble:?}");
                return None;
            }
        };
        if !stands_for_an_attempt(&ran.conversation.ending) {
            self.give_up(plan, ran).await;
            return None;
        }
        self.copy_table(lease, plan, step, &mut ran).await;
        Some(ran)
    }

    /// Stores the table that a step has returned as what came of its job's first attempt, which it most likely will be.
    fn store_ahead(&self, lease: &Lease, ran: &Ran) -> Option<Storing> {
        let Ending::Answer(EndFrame::Result(result)) = &ran.conversation.ending else { return None };
        let ((table, _), output) = (ran.copied.as_ref()?, result.value.clone()?);
        let (values, table, folder, key) = (self.values.clone(), table.clone(), ran.scratch.values(), key(lease));
        let patience = self.shared.config.limits.ahead_kept;
        let value = tokio::spawn(async move {
            let stored = values.store_copied(&key, &output, &folder, Some(&table), Effort::Spare);
            // What is wrong with it, or with the bucket, the attempt says.
            tokio::time::timeout(patience, stored).await.ok()?.ok()
        });
        Some(Storing { job: lease.job, value: AbortOnDropHandle::new(value) })
    }

    /// Has the process of a Python step read its argument.
    fn read_ahead(self: &Arc<Self>, lease: Lease, plan: &Arc<PlanAnswer>, table: Source) -> Option<Kept> {
        let (attempts, of_plan, of_step) = (Arc::clone(self), Arc::clone(plan), lease.clone());
        let (kept, is_kept) = oneshot::channel();
        let reading = tokio::spawn(async move {
            is_kept.await.ok()?;
            attempts.reading(&of_step, &of_plan, &table).await
        });
        let added = self.ahead.add(&lease, Begun::Reading(reading), self.shared.config.limits.ahead_max)?;
        let _ = kept.send(());
        Some(added)
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
            if let Some(begun) = remove(&kept.state, kept.number) {
                attempts.dispose(begun).await;
            }
        });
    }

    /// What there is for a lease.
    pub(crate) async fn prepared(&self, lease: &Lease, end: &End) -> Result<Prepared, Trouble> {
        let (mut ran, begun) = match self.ahead.take(lease) {
            None => return Ok(Prepared::Nothing),
            Some(Begun::Reading(reading)) => {
                let read = reading.await.ok().flatten();
                tracing::debug!(is_read = read.is_some(), "the argument was read ahead");
                return Ok(read.map_or(Prepared::Nothing, Prepared::Read));
            }
            Some(Begun::Step { plan, ran, stop }) => (ran, (plan, stop)),
        };
        self.shared.held.note(lease.token, StepIs::Running);
        let done = tokio::select! {
            ran = &mut ran => Some(ran.ok().flatten()),
            () = end.wait() => None,
        };
        self.shared.held.note(lease.token, StepIs::Idle);
        let Some(done) = done else {
            let (plan, stop) = begun;
            self.dispose(Begun::Step { plan, ran, stop }).await;
            return Err(Trouble::Stopped);
        };
        tracing::debug!(was_run = done.is_some(), "the step was begun ahead");
        Ok(done.map_or(Prepared::Nothing, |ran| Prepared::Ran(Box::new(ran))))
    }

    /// Stops what nobody wants.
    async fn dispose(&self, begun: Begun) {
        match begun {
            Begun::Step { plan, ran, stop } => {
                drop(stop);
                if let Ok(Some(ran)) = ran.await {
                    self.give_up(&plan, ran).await;
                }
            }
            Begun::Reading(reading) => drop(reading.await),
        }
    }

    /// Sees to what is left of a step that nobody wants. What was begun for its table goes with it.
    async fn give_up(&self, plan: &PlanAnswer, ran: Ran) {
        let Ran { conversation, scratch, copied, storing, written, .. } = ran;
        drop((copied, storing, written));
        self.clear(Left { rest: conversation.rest, bundle: plan.bundle, scratch }).await;
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

/// Whether a step can be begun: it computes only, by a database in memory that is not connected to anything, or it is one of Python's,
/// whose code has to wait. What it is to know of its attempt alone nothing of it knows yet.
fn can_be_begun(step: &Step) -> bool {
    let Runtime { environment, secrets, connection, isolation, .. } = &step.settings.runtime;
    let is_of_kind = match step.language {
        Language::Sqlite3 | Language::Duckdb => true,
        Language::Python => isolation.is_none(),
        Language::Postgres => false,
    };
    is_of_kind && environment.is_empty() && secrets.is_empty() && connection.is_none()
}

/// Whether this would have come of an attempt under a lease too. For all that may have to do with the moment, the attempt runs by itself.
fn stands_for_an_attempt(ending: &Ending) -> bool {
    match ending {
        Ending::Answer(EndFrame::Result(_)) => true,
        Ending::Answer(EndFrame::Error(error)) => error.kind != ErrorKind::Away,
        _ => false,
    }
}
