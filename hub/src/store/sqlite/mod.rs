//! The queue in one SQLite file: a single writer that commits whole batches of requests at once, and readers beside it.
//!
//! - [`open`]: the file, its schema and its lock.
//! - [`writer`]: the thread that writes; group commit.
//! - [`change`]: one request inside a transaction: caches, counts, effects.
//! - [`submit`], [`lease`], [`settle`], [`family`], [`passes`], [`lapse`]: the use cases.
//! - [`pause`]: holding back a run, a scope or everything.
//! - [`views`], [`results`], [`explain`]: what is shown.

mod change;
mod explain;
mod family;
mod files;
mod lapse;
mod lease;
mod open;
mod passes;
mod pause;
mod plans;
mod results;
mod settle;
mod submit;
mod views;
mod writer;

use std::sync::{Arc, Mutex};

use rusqlite::Connection;

use crate::error::{HubError, QueueError};
use crate::job::Policy;

pub use change::Effects;
pub use submit::Submission;

use change::Change;
use plans::PlanCache;
use writer::Writer;

/// Told of what a committed batch changed; called on the writer's thread, so it must be quick.
pub type EffectsSink = Arc<dyn Fn(Effects) + Send + Sync>;

/// Settings of a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Pauses and tolerances.
    pub policy: Policy,
    /// Lower priorities first.
    pub reverse_priority: bool,
    /// Changes that may wait for the writer.
    pub write_queue_max: usize,
    /// Changes that share one transaction at most.
    pub write_batch_max: usize,
    /// Attempts whose history is kept, for each job.
    pub attempts_kept: u32,
}

/// The queue in one SQLite file. Cheap to clone.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    plans: Arc<PlanCache>,
}

impl SqliteStore {
    /// Opens the queue in `folder`, making it when it is missing. One process at a time may have it open.
    ///
    /// # Errors
    /// The folder cannot be used, another hub has the queue, or the file is not one of ours.
    pub fn open(folder: &std::path::Path, options: StoreOptions, sink: EffectsSink) -> Result<Self, HubError> {
        let opened = open::open(folder, options.reverse_priority)?;
        let plans = Arc::new(PlanCache::default());
        let readers = Arc::new(Readers { path: opened.path, idle: Mutex::new(Vec::new()) });
        let writer = Writer::start(opened.connection, opened.lock, options, Arc::clone(&plans), sink)
            .map_err(|source| HubError::Open { path: readers.path.clone(), source })?;
        Ok(Self { writer: Arc::new(writer), readers, plans })
    }

    /// Carries out one change; answers when it is on disk.
    async fn write<T, F>(&self, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        self.writer.run(change).await
    }

    /// Reads from a snapshot of what is committed.
    async fn read<T, F>(&self, query: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || {
            let mut connection = readers.take()?;
            let snapshot = connection.transaction()?;
            let answer = query(&snapshot);
            drop(snapshot);
            readers.give_back(connection);
            answer
        })
        .await
        .unwrap_or_else(|error| Err(QueueError::Unavailable(format!("a read was given up: {error}"))))
    }
}

/// Connections for reading that nobody uses at the moment.
struct Readers {
    path: std::path::PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// More than this many are closed instead of kept.
    const IDLE_MAX: usize = 4;

    fn take(&self) -> Result<Connection, QueueError> {
        let kept = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(open::reader(&self.path)?),
        }
    }

    fn give_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < Self::IDLE_MAX
        {
            idle.push(connection);
        }
    }
}
