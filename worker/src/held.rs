//! The leases this worker holds: what it beats for, and how a revoked one reaches its attempt.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::api::{HeldLease, Lease};
use protocol::{JobId, LeaseToken};
use tokio_util::sync::CancellationToken;

/// All leases from their arrival until the hub has answered their settlement.
#[derive(Debug, Default)]
pub(crate) struct Held {
    leases: Mutex<HashMap<LeaseToken, Entry>>,
}

#[derive(Debug)]
struct Entry {
    job: JobId,
    step: StepIs,
    revoked: CancellationToken,
}

/// Whether the step of a lease runs: only that counts towards its time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepIs {
    Running,
    /// Not started yet, or ended.
    Idle,
}

impl Held {
    /// Takes up a lease; the token that comes back is cancelled when the hub revokes it. `None` for one that is held already.
    pub(crate) fn take(&self, lease: &Lease) -> Option<CancellationToken> {
        let mut leases = self.lock();
        if leases.contains_key(&lease.token) {
            return None;
        }
        let revoked = CancellationToken::new();
        leases.insert(lease.token, Entry { job: lease.job, step: StepIs::Idle, revoked: revoked.clone() });
        Some(revoked)
    }

    /// Notes whether the step of a lease runs.
    pub(crate) fn note(&self, token: LeaseToken, step: StepIs) {
        if let Some(entry) = self.lock().get_mut(&token) {
            entry.step = step;
        }
    }

    /// Forgets a lease: it is settled, or no longer ours.
    pub(crate) fn drop(&self, token: LeaseToken) {
        self.lock().remove(&token);
    }

    /// Marks leases as no longer ours. The attempts that run for them stop, and drop them.
    pub(crate) fn revoke(&self, tokens: &[LeaseToken]) {
        let leases = self.lock();
        let mut jobs = Vec::new();
        for entry in tokens.iter().filter_map(|token| leases.get(token)) {
            // What comes of one that has ended is on its way, and the hub's answer to that says whether it counts.
            if !entry.revoked.is_cancelled() && entry.step == StepIs::Running {
                jobs.push(entry.job);
            }
            entry.revoked.cancel();
        }
        drop(leases);
        match jobs.as_slice() {
            [] => {}
            [job] => tracing::warn!(%job, "lease revoked by the hub, stopping its attempt"),
            [job, ..] => {
                tracing::warn!(%job, others = jobs.len() - 1, "leases revoked by the hub, stopping their attempts");
            }
        }
    }

    /// What to tell the hub.
    pub(crate) fn list(&self) -> Vec<HeldLease> {
        let held = |(token, entry): (&LeaseToken, &Entry)| HeldLease {
            job: entry.job,
            token: *token,
            idle: entry.step == StepIs::Idle,
        };
        self.lock().iter().map(held).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseToken, Entry>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
