//! How long a job is paused, and what it remembers for that over its attempts.

use std::time::Duration;

use protocol::{Backoff, Settings};

/// How long pauses are and how much is tolerated. Settings of the hub; a step may name its own backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Upper bound of the pause after a first error; doubles with each further one. The pause itself is drawn
    /// between zero and the bound ("full jitter"), so that a fleet that failed together does not come back together.
    pub backoff_first: Duration,
    /// Upper bound of the pause after any error.
    pub backoff_max: Duration,
    /// Pause after a first pending answer; grows by half with each further one in a row.
    pub pending_first: Duration,
    /// Longest pause after a pending answer.
    pub pending_max: Duration,
    /// A job whose workers were lost this often, with no outcome in between, is failed: it takes them down.
    pub losses_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            pending_first: Duration::from_secs(1),
            pending_max: Duration::from_secs(30),
            losses_max: 5,
        }
    }
}

/// What a job remembers over its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Errors since it was submitted or reset.
    pub failures: u32,
    /// Pending answers in a row.
    pub pendings: u32,
    /// Workers lost in a row.
    pub losses: u32,
}

/// Longest delay that a worker can ask for when it gives a lease back.
pub(super) const RELEASE_DELAY_MS_MAX: i64 = 3_600_000;

/// The longest pause that a job with this past can have been parked for. A release leaves no trace, so one after another outcome
/// is taken for that outcome.
#[must_use]
pub fn longest_pause(settings: &Settings, tally: Tally, policy: &Policy) -> Duration {
    match tally {
        Tally { pendings: 1.., .. } => policy.pending_max,
        Tally { failures: 1.., .. } => settings.backoff.map_or(policy.backoff_max, |backoff| bounds(backoff).1),
        _ => Duration::from_millis(RELEASE_DELAY_MS_MAX.unsigned_abs()),
    }
}

/// The bounds of a step's own pauses. A plan of another version cannot park a job for ever.
pub(super) fn bounds(backoff: Backoff) -> (Duration, Duration) {
    let longest = Duration::from_millis(backoff.longest_ms.min(Backoff::LONGEST_MS_MAX));
    (Duration::from_millis(backoff.first_ms), longest)
}

pub(super) fn pending_pause(policy: &Policy, pendings: u32) -> Duration {
    let factor = 1.5_f64.powi(i32::try_from(pendings.min(64)).unwrap_or(64));
    let seconds = policy.pending_first.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(policy.pending_max.as_secs_f64()))
}

pub(super) fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(31))
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
