//! Where the queue is kept. Each use case is one transaction; nothing outside reads or writes rows.
//!
//! The use cases are written once, over a [working set](change) of rows; a database brings only SQL for sets of rows
//! ([`rows::Rows`]). So both databases do the same by construction, and a change costs a few statements however many jobs it concerns.
//!
//! - [`writer`]: the one thread that writes; requests that arrive together share a transaction.
//! - [`change`]: the working set.
//! - [`submit`], [`lease`], [`demand`], [`settle`], [`family`], [`looped`], [`passes`], [`lapse`], [`late`], [`pause`], [`retention`]: the use cases.
//! - [`views`], [`results`], [`explain`], [`explain_run`]: what is shown. [`secrets`]: what is kept sealed.
//! - [`sqlite`]: one file, one hub. [`postgres`]: several hubs over one database.

mod chance;
mod change;
mod demand;
mod effects;
mod explain;
mod explain_run;
mod family;
mod job;
mod lapse;
mod late;
mod lease;
mod looped;
mod passes;
mod pause;
mod plans;
pub(crate) mod postgres;
mod results;
mod retention;
mod row;
mod rows;
mod secrets;
mod settle;
pub(crate) mod sqlite;
mod submit;
mod views;
mod writer;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::error::QueueError;
use crate::job::Policy;

pub use chance::Chance;
pub use demand::Demanded;
pub use effects::Effects;
pub use explain_run::Place;
pub use lease::{Given, Share};
pub use secrets::Sealed;
pub use submit::Submission;
pub use views::ScopeLoad;

use change::Change;
use plans::PlanCache;
use rows::Rows;
use writer::{Expectation, Writer};

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
    /// Time that a worker has beyond a step's own to settle it.
    pub timeout_grace_ms: i64,
    /// Most passes of one loop.
    pub passes_max: u64,
    /// Compiled plans kept in memory, in bytes as they are stored.
    pub plan_cache_bytes_max: usize,
    /// Where tokens and the pauses after errors come from.
    pub chance: Chance,
    /// Most entries of what is paused.
    pub pauses_max: usize,
}

impl StoreOptions {
    /// Those of a hub with these limits.
    #[must_use]
    pub fn of(policy: Policy, limits: &Limits, reverse_priority: bool) -> Self {
        Self {
            policy,
            reverse_priority,
            write_queue_max: limits.write_queue_max,
            write_batch_max: limits.write_batch_max,
            attempts_kept: limits.attempts_kept,
            timeout_grace_ms: i64::try_from(limits.timeout_grace.as_millis()).unwrap_or(i64::MAX / 4),
            passes_max: limits.passes_max,
            plan_cache_bytes_max: limits.plan_cache_bytes_max,
            chance: Chance::System,
            pauses_max: limits.pauses_max,
        }
    }

    /// Where a priority stands in the order of the ready index.
    fn rank(&self, priority: i64) -> i64 {
        if self.reverse_priority { priority } else { priority.saturating_neg() }
    }
}

/// What is done inside a transaction. It may be done again, from the start, in another one.
type Inside<'a> = &'a mut dyn FnMut(&mut dyn Rows) -> Result<(), QueueError>;

/// A database, as the writer sees it.
trait Database: Send {
    /// Carries `inside` out in one transaction and commits it, unless it fails.
    fn transact(&mut self, inside: Inside<'_>) -> Result<(), Uncommitted>;
}

/// Why a transaction was not committed.
enum Uncommitted {
    /// What was to be done in it failed. All of it is undone; the database itself goes on.
    Inside(QueueError),
    /// The database could not begin or commit it, or was lost in between.
    Database(QueueError),
}

/// A database, as those see it who only read. Called on threads that may block.
trait Reader: Send + Sync {
    /// Carries `inside` out over a snapshot.
    fn read(&self, inside: Inside<'_>) -> Result<(), QueueError>;
}

/// A queue in a database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: Arc<Writer>,
    reader: Arc<dyn Reader>,
    plans: Arc<PlanCache>,
    options: StoreOptions,
}

impl Store {
    /// A queue over an opened database.
    fn over(
        database: Box<dyn Database>,
        reader: Arc<dyn Reader>,
        options: StoreOptions,
        sink: EffectsSink,
    ) -> std::io::Result<Self> {
        let plans = Arc::new(PlanCache::new(options.plan_cache_bytes_max));
        let writer = Writer::start(database, options, Arc::clone(&plans), sink)?;
        Ok(Self { writer: Arc::new(writer), reader, plans, options })
    }

    /// Cancelled when the queue has failed for good: this process must end, and another one begin.
    pub(crate) fn failed(&self) -> &CancellationToken {
        self.writer.failed()
    }

    /// Carries out one change; answers when it is on disk.
    async fn write<T, F>(&self, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        self.write_expecting(Expectation::Nothing, change).await
    }

    async fn write_expecting<T, F>(&self, expectation: Expectation, change: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&mut Change<'_>) -> Result<T, QueueError> + Send + 'static,
    {
        self.writer.run(expectation, change).await
    }

    /// Reads from a snapshot of what is committed.
    async fn read<T, F>(&self, query: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: Fn(&mut dyn Rows) -> Result<T, QueueError> + Send + 'static,
    {
        let reader = Arc::clone(&self.reader);
        let reading = tokio::task::spawn_blocking(move || {
            let mut answer = None;
            reader.read(&mut |rows| {
                answer = Some(query(rows)?);
                Ok(())
            })?;
            answer.ok_or_else(|| QueueError::Unavailable("a read gave no answer".to_owned()))
        });
        reading.await.unwrap_or_else(|error| Err(QueueError::Unavailable(format!("a read was given up: {error}"))))
    }
}
