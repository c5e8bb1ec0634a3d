//! What comes of the attempts of a worker, counted and logged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use protocol::Outcome;
use protocol::api::{Lease, Settled};

use crate::outage::Rate;

/// What a worker did in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Attempts that ended with a value.
    pub succeeded: u64,
    /// Attempts that said pending, reset or cancel.
    pub answered: u64,
    /// Attempts that ended in an error.
    pub failed: u64,
    /// Attempts that were handed back.
    pub released: u64,
    /// Attempts whose lease was no longer this worker's.
    pub lost: u64,
}

/// Counts for the [`Summary`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    succeeded: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    released: AtomicU64,
    release_rate: Mutex<Rate>,
    lost: AtomicU64,
}

impl Tally {
    /// The lease of an attempt was taken.
    pub(crate) fn note_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// An attempt is settled.
    pub(crate) fn count(&self, lease: &Lease, outcome: &Outcome, settled: Settled) {
        let counter = match (settled, outcome) {
            (Settled::Stale, _) => {
                tracing::warn!(job = %lease.job, attempt = lease.attempt, "settled too late: the lease was no longer ours");
                &self.lost
            }
            (Settled::Settled, Outcome::Success { .. }) => &self.succeeded,
            (Settled::Settled, Outcome::Pending { .. } | Outcome::Reset | Outcome::Cancel) => &self.answered,
            (Settled::Settled, Outcome::Error(error)) => {
                tracing::info!(job = %lease.job, attempt = lease.attempt, kind = ?error.kind, "{}", error.message);
                &self.failed
            }
            (Settled::Settled, Outcome::Release { reason, .. }) => {
                self.log_release(lease, reason);
                &self.released
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Where nothing can be run, one attempt after the other is handed back: that is said of a few of them.
    fn log_release(&self, lease: &Lease, reason: &str) {
        let admitted = self.release_rate.lock().unwrap_or_else(PoisonError::into_inner).admit(true, Instant::now());
        match admitted {
            Some(0) => tracing::info!(job = %lease.job, attempt = lease.attempt, "handed back: {reason}"),
            Some(others) => {
                tracing::info!(job = %lease.job, attempt = lease.attempt, others, "handed back, as others before it: {reason}");
            }
            None => tracing::debug!(job = %lease.job, attempt = lease.attempt, "handed back: {reason}"),
        }
    }

    /// The counts so far.
    pub(crate) fn summary(&self) -> Summary {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Summary {
            succeeded: read(&self.succeeded),
            answered: read(&self.answered),
            failed: read(&self.failed),
            released: read(&self.released),
            lost: read(&self.lost),
        }
    }
}
