//! The one thread that writes: takes all changes that wait, carries them out in one transaction, answers when it is on disk.
//!
//! A change that fails is rolled back by its savepoint and leaves the others alone. A commit that fails (a full disk)
//! is told to every change in it; nothing of the batch happened.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::change::{Caches, Change, Effects};
use super::plans::PlanCache;
use super::{EffectsSink, StoreOptions};
use crate::error::QueueError;

/// A change on its way: carries itself out, then says how to answer.
type Work = Box<dyn FnOnce(&mut Change<'_>) -> Carried + Send>;

/// A change that was carried out but not committed yet.
struct Carried {
    /// Whether it wants to be kept.
    keep: bool,
    /// Tells the caller; `Err` when the commit failed.
    answer: Box<dyn FnOnce(Result<(), QueueError>) + Send>,
}

pub(super) struct Writer {
    sender: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        lock: File,
        options: StoreOptions,
        plans: Arc<PlanCache>,
        sink: EffectsSink,
    ) -> rusqlite::Result<Self> {
        let caches = Caches::load(&connection, plans)?;
        let (sender, receiver) = mpsc::channel(options.write_queue_max.max(1));
        let mut running = Running { connection, caches, options, sink, receiver };
        let thread = std::thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || {
                running.serve();
                drop(running);
                drop(lock);
            })
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    pub(super) async fn run<T, F>(&self, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move |context| {
            let outcome = change(context);
            Carried {
                keep: outcome.is_ok(),
                answer: Box::new(move |committed| {
                    // The caller may have gone; what was committed stays.
                    let _ = answer.send(committed.and(outcome));
                }),
            }
        });
        let stopped = || QueueError::Unavailable("the queue is closing".to_owned());
        let sender = self.sender.as_ref().ok_or_else(stopped)?;
        sender.send(work).await.map_err(|_| stopped())?;
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
    connection: Connection,
    caches: Caches,
    options: StoreOptions,
    sink: EffectsSink,
    receiver: mpsc::Receiver<Work>,
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

    fn commit(&mut self, batch: Vec<Work>) {
        let mut carried = Vec::with_capacity(batch.len());
        let outcome = self.carry_out(batch, &mut carried);
        match outcome {
            Ok(effects) => {
                for change in carried {
                    (change.answer)(Ok(()));
                }
                (self.sink)(effects);
            }
            Err(error) => {
                tracing::error!(%error, "the queue could not be written; nothing was changed");
                if let Err(error) = self.caches.reload(&self.connection) {
                    tracing::error!(%error, "the queue could not be read");
                }
                for change in carried {
                    (change.answer)(Err(QueueError::Unavailable(format!("the queue could not be written: {error}"))));
                }
            }
        }
    }

    fn carry_out(&mut self, batch: Vec<Work>, carried: &mut Vec<Carried>) -> rusqlite::Result<Effects> {
        let mut transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut effects = Effects::default();
        let mut doubtful = false;
        for work in batch {
            let savepoint = transaction.savepoint()?;
            let mut change = Change::new(&savepoint, &mut self.caches, &self.options);
            let done = work(&mut change);
            let flushed = if done.keep {
                change.finish().map(Some)
            } else {
                drop(change);
                Ok(None)
            };
            match flushed {
                Ok(Some(own)) => {
                    effects.merge(own);
                    savepoint.commit()?;
                    carried.push(done);
                }
                Ok(None) => {
                    drop(savepoint);
                    carried.push(done);
                }
                Err(error) => {
                    drop(savepoint);
                    doubtful = true;
                    (done.answer)(Err(error.into()));
                }
            }
        }
        if doubtful {
            self.caches.reload(&transaction)?;
        }
        transaction.commit()?;
        Ok(effects)
    }
}
