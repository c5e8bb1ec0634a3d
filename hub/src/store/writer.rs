//! The one thread of a hub that writes: takes all changes that wait, carries them out in one transaction, answers when it is on disk.
//!
//! A change that is refused before it has changed anything leaves the others alone. One that fails later, or at which the database
//! fails, spoils the transaction, as does an error of the database where all is written that will not pass by itself: the batch is then
//! carried out in halves, and these in halves, until the change to blame is alone. A commit that fails is told to every change in it.
//!
//! A panic in here is a bug that nothing can be said about any more: whoever runs the queue is [told](Writer::failed) to end.

use std::sync::Arc;
use std::thread::JoinHandle;

use protocol::LeaseToken;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::change::{Caches, Change};
use super::demand::Demand;
use super::effects::Effects;
use super::plans::PlanCache;
use super::{Database, EffectsSink, StoreOptions, Uncommitted, settle};
use crate::clock::now_ms;
use crate::error::QueueError;

/// What a change will need, so that a batch can read it at once.
#[derive(Debug, Clone)]
pub(super) enum Expectation {
    Nothing,
    /// Attempts that are being settled: job, number, token.
    Settlements(Vec<(i64, u32, LeaseToken)>),
    /// Slots to be filled with leases.
    Slots(usize),
}

/// A change on its way. It may be carried out several times; the last one counts.
pub(super) trait Work: Send {
    fn expectation(&self) -> &Expectation;
    fn carry_out(&mut self, change: &mut Change<'_>) -> Carried;
    /// Tells the caller; `Err` when the transaction failed.
    fn answer(self: Box<Self>, committed: Result<(), QueueError>);
}

/// How a change went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    Done,
    /// It said no, and changed nothing.
    Refused,
    /// It failed half-way, or the database did: nothing more can be done in this transaction.
    Broken,
}

/// A change, and whom to tell what came of it.
pub(super) struct Typed<T, F> {
    expectation: Expectation,
    change: F,
    outcome: Option<Result<T, QueueError>>,
    sender: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Typed<T, F>
where
    F: Fn(&mut Change<'_>) -> Result<T, QueueError>,
{
    pub(super) fn new(expectation: Expectation, change: F) -> (Self, oneshot::Receiver<Result<T, QueueError>>) {
        let (sender, answer) = oneshot::channel();
        (Self { expectation, change, outcome: None, sender }, answer)
    }
}

impl<T, F> Work for Typed<T, F>
where
    T: Send,
    F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send,
{
    fn expectation(&self) -> &Expectation {
        &self.expectation
    }

    fn carry_out(&mut self, change: &mut Change<'_>) -> Carried {
        let edits = change.edits();
        let outcome = (self.change)(change);
        let carried = match &outcome {
            Ok(_) => Carried::Done,
            Err(error) if error.is_of_the_database() || change.edits() != edits => Carried::Broken,
            Err(_) => Carried::Refused,
        };
        self.outcome = Some(outcome);
        carried
    }

    fn answer(self: Box<Self>, committed: Result<(), QueueError>) {
        let never = || Err(QueueError::Unavailable("the queue did not come to this change".to_owned()));
        let outcome = match (committed, self.outcome) {
            // What it could not do is told as it is, whatever became of the others.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), outcome) => outcome.unwrap_or_else(never),
            (Err(error), _) => Err(error),
        };
        // The caller may have gone; what was committed stays.
        let _ = self.sender.send(outcome);
    }
}

pub(super) struct Writer {
    sender: Option<mpsc::Sender<Box<dyn Work>>>,
    thread: Option<JoinHandle<()>>,
    demand: Arc<Demand>,
    failed: CancellationToken,
}

/// Sends away on its way out who waits for jobs, and says, when that is by a panic, that nothing will be written any more.
struct Alarm {
    demand: Arc<Demand>,
    failed: CancellationToken,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the thread that writes the queue panicked, which is a bug: nothing more can be written");
            self.failed.cancel();
        }
        self.demand.end();
    }
}

impl Writer {
    pub(super) fn start(
        database: Box<dyn Database>,
        options: StoreOptions,
        plans: Arc<PlanCache>,
        sink: EffectsSink,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(options.write_queue_max.max(1));
        let chance = options.chance;
        let demand = Arc::new(Demand::default());
        let mut running = Running {
            database,
            caches: Caches::new(plans),
            options,
            chance,
            sink,
            receiver,
            demand: Arc::clone(&demand),
            unheard: false,
        };
        let failed = CancellationToken::new();
        let alarm = Alarm { demand: Arc::clone(&demand), failed: failed.clone() };
        let thread = std::thread::Builder::new().name("queue-writer".to_owned()).spawn(move || {
            let _alarm = alarm;
            running.serve();
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread), demand, failed })
    }

    /// The requests that are kept for jobs to come.
    pub(super) fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Cancelled when nothing will be written any more although nobody closed the queue.
    pub(super) fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    pub(super) async fn run<T, F>(&self, expectation: Expectation, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        let (work, answered) = Typed::new(expectation, change);
        let stopped = || QueueError::Unavailable("the queue is closing".to_owned());
        let sender = self.sender.as_ref().ok_or_else(stopped)?;
        sender.send(Box::new(work)).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Running {
    database: Box<dyn Database>,
    caches: Caches,
    options: StoreOptions,
    /// Goes on where the last change left it.
    chance: Chance,
    sink: EffectsSink,
    receiver: mpsc::Receiver<Box<dyn Work>>,
    demand: Arc<Demand>,
    /// Whether a transaction failed since the last one that did not: it may be committed all the same, and nobody heard of it.
    unheard: bool,
}

/// Whose trouble it is that a transaction came to nothing.
enum Failure {
    /// That of one change, nobody knows which.
    Spoiled(QueueError),
    /// That of all.
    All(QueueError),
}

impl Running {
    fn serve(&mut self) {
        while let Some(first) = self.receiver.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < self.options.write_batch_max {
                match self.receiver.try_recv() {
                    Ok(work) => batch.push(work),
                    Err(_) => break,
                }
            }
            self.commit(batch);
        }
    }

    fn commit(&mut self, mut batch: Vec<Box<dyn Work>>) {
        match self.transact(&mut batch) {
            Ok(effects) => self.committed(batch, effects),
            Err(Failure::Spoiled(_)) if batch.len() > 1 => {
                let rest = batch.split_off(batch.len() / 2);
                self.commit(batch);
                self.commit(rest);
            }
            Err(Failure::Spoiled(error)) => {
                tracing::error!(%error, "a change could not be carried out");
                if let Some(work) = batch.pop() {
                    work.answer(Err(error));
                }
            }
            Err(Failure::All(error)) => {
                tracing::error!(%error, changes = batch.len(), "the queue could not be written");
                self.unheard = true;
                batch.into_iter().for_each(|work| work.answer(Err(error.of_all())));
            }
        }
    }

    fn committed(&mut self, batch: Vec<Box<dyn Work>>, effects: Effects) {
        for work in batch {
            work.answer(Ok(()));
        }
        (self.sink)(effects);
        if std::mem::take(&mut self.unheard) {
            (self.sink)(Effects::unknown());
        }
    }

    /// Carries out the changes of a batch. Requests that were kept for what they make ready join it.
    fn transact(&mut self, batch: &mut Vec<Box<dyn Work>>) -> Result<Effects, Failure> {
        let mut effects = Effects::default();
        let (mut begun, mut carrying, mut broken) = (false, false, false);
        let (caches, options, chance, demand) = (&mut self.caches, &self.options, &mut self.chance, &self.demand);
        let done = self.database.transact(&mut |rows| {
            (carrying, broken) = (false, false);
            if std::mem::replace(&mut begun, true) {
                // An earlier transaction came to nothing.
                caches.clear();
            }
            let mut change = Change::begin(rows, caches, options, chance)?;
            carrying = true;
            expect(&mut change, batch)?;
            for work in batch.iter_mut() {
                broken = work.carry_out(&mut change) == Carried::Broken;
                if broken {
                    return Err(half_way());
                }
            }
            // As many as there are new jobs; usually the first takes them all.
            for _ in 0..change.effects.ready.values().sum() {
                let Some(mut work) = demand.take(&change.effects.ready, &change.handed_in) else { break };
                expect_slots(&mut change, std::slice::from_ref(&work));
                broken = work.carry_out(&mut change) == Carried::Broken;
                batch.push(work);
                if broken {
                    return Err(half_way());
                }
            }
            effects = change.finish(now_ms())?;
            Ok(())
        });
        let Err(uncommitted) = done else { return Ok(effects) };
        self.caches.clear();
        Err(match uncommitted {
            Uncommitted::Inside(error) if broken || (carrying && !error.is_passing()) => Failure::Spoiled(error),
            Uncommitted::Inside(error) | Uncommitted::Database(error) => Failure::All(error),
        })
    }
}

/// Reads at once what the changes of a batch say they will need.
fn expect(change: &mut Change<'_>, batch: &[Box<dyn Work>]) -> Result<(), QueueError> {
    expect_slots(change, batch);
    let mut settled = Vec::new();
    for work in batch {
        if let Expectation::Settlements(attempts) = work.expectation() {
            settled.extend_from_slice(attempts);
        }
    }
    if settled.is_empty() { Ok(()) } else { settle::prepare(change, &settled) }
}

fn half_way() -> QueueError {
    QueueError::Unavailable("a change failed half-way".to_owned())
}

fn expect_slots(change: &mut Change<'_>, batch: &[Box<dyn Work>]) {
    for work in batch {
        if let Expectation::Slots(slots) = work.expectation() {
            change.expect_slots(*slots);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::api::Pause;

    use crate::config::Limits;
    use crate::error::QueueError;
    use crate::job::Policy;
    use crate::store::{Store, StoreOptions};

    #[tokio::test]
    async fn a_panic_is_told_to_whoever_runs_the_queue() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::of(Policy::default(), &Limits::default(), false);
        let sink = std::sync::Arc::new(|_| panic!("as a bug would"));
        let store = Store::sqlite(folder.path(), options, sink).unwrap();
        assert!(!store.failed().is_cancelled());
        let _ = store.pause(Pause::Everything).await;
        let told = tokio::time::timeout(std::time::Duration::from_secs(10), store.failed().cancelled()).await;
        assert!(told.is_ok());
        let refused = store.resume(Pause::Everything).await;
        assert!(matches!(refused, Err(QueueError::Unavailable(_))), "{refused:?}");
    }
}
