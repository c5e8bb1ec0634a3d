//! The one thread of a hub that writes: takes all changes that wait, carries them out in one transaction, answers when it is on disk.
//!
//! A change that fails before it has changed anything leaves the others alone. One that fails later spoils the transaction: each
//! change of the batch is then carried out in a transaction of its own. A commit that fails is told to every change in it.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::change::{Caches, Change};
use super::effects::Effects;
use super::plans::PlanCache;
use super::{Database, EffectsSink, StoreOptions, settle};
use crate::clock::now_ms;
use crate::error::QueueError;

/// What a change will need, so that a batch can read it at once.
#[derive(Debug, Clone)]
pub(super) enum Expectation {
    Nothing,
    /// Jobs that are being settled.
    Settlements(Vec<i64>),
    /// Slots to be filled with leases.
    Slots(usize),
}

/// A change on its way. It may be carried out several times; the last one counts.
trait Work: Send {
    fn expectation(&self) -> &Expectation;
    /// Answers with whether it succeeded.
    fn carry_out(&mut self, change: &mut Change<'_>) -> bool;
    /// Tells the caller; `Err` when the transaction failed.
    fn answer(self: Box<Self>, committed: Result<(), QueueError>);
}

struct Typed<T, F> {
    expectation: Expectation,
    change: F,
    outcome: Option<Result<T, QueueError>>,
    sender: oneshot::Sender<Result<T, QueueError>>,
}

impl<T, F> Work for Typed<T, F>
where
    T: Send,
    F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send,
{
    fn expectation(&self) -> &Expectation {
        &self.expectation
    }

    fn carry_out(&mut self, change: &mut Change<'_>) -> bool {
        let outcome = (self.change)(change);
        let succeeded = outcome.is_ok();
        self.outcome = Some(outcome);
        succeeded
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
}

impl Writer {
    pub(super) fn start(
        database: Box<dyn Database>,
        options: StoreOptions,
        plans: Arc<PlanCache>,
        sink: EffectsSink,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(options.write_queue_max.max(1));
        let mut running = Running { database, caches: Caches::new(plans), options, sink, receiver };
        let thread = std::thread::Builder::new().name("queue-writer".to_owned()).spawn(move || running.serve())?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    pub(super) async fn run<T, F>(&self, expectation: Expectation, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work = Typed { expectation, change, outcome: None, sender: answer };
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
    sink: EffectsSink,
    receiver: mpsc::Receiver<Box<dyn Work>>,
}

/// Why a transaction came to nothing.
enum Failure {
    /// A change failed half-way.
    Spoiled,
    /// The database failed.
    Database(QueueError),
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
            Err(Failure::Spoiled) if batch.len() > 1 => batch.into_iter().for_each(|work| self.commit(vec![work])),
            Err(Failure::Spoiled) => {
                let spoiled = || QueueError::Unavailable("the change could not be carried out".to_owned());
                batch.into_iter().for_each(|work| work.answer(Err(spoiled())));
            }
            Err(Failure::Database(error)) => {
                tracing::error!(%error, changes = batch.len(), "the queue could not be written");
                batch.into_iter().for_each(|work| work.answer(Err(error.of_all())));
            }
        }
    }

    fn committed(&self, batch: Vec<Box<dyn Work>>, effects: Effects) {
        for work in batch {
            work.answer(Ok(()));
        }
        (self.sink)(effects);
    }

    fn transact(&mut self, batch: &mut [Box<dyn Work>]) -> Result<Effects, Failure> {
        let mut effects = Effects::default();
        let (mut spoiled, mut begun) = (false, false);
        let (caches, options) = (&mut self.caches, &self.options);
        let done = self.database.transact(&mut |rows| {
            if std::mem::replace(&mut begun, true) {
                // An earlier transaction came to nothing.
                caches.clear();
            }
            let mut change = Change::begin(rows, caches, options)?;
            expect(&mut change, batch)?;
            for work in batch.iter_mut() {
                let edits = change.edits();
                if !work.carry_out(&mut change) && change.edits() != edits {
                    spoiled = true;
                    return Err(QueueError::Unavailable("a change failed half-way".to_owned()));
                }
            }
            effects = change.finish(now_ms())?;
            Ok(())
        });
        match done {
            Ok(()) => Ok(effects),
            Err(error) => {
                self.caches.clear();
                Err(if spoiled { Failure::Spoiled } else { Failure::Database(error) })
            }
        }
    }
}

/// Reads at once what the changes of a batch say they will need.
fn expect(change: &mut Change<'_>, batch: &[Box<dyn Work>]) -> Result<(), QueueError> {
    let mut settled = Vec::new();
    for work in batch {
        match work.expectation() {
            Expectation::Nothing => {}
            Expectation::Settlements(jobs) => settled.extend_from_slice(jobs),
            Expectation::Slots(slots) => change.expect_slots(*slots),
        }
    }
    if settled.is_empty() { Ok(()) } else { settle::prepare(change, &settled) }
}
