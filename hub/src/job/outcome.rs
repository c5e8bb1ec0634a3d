//! Where a job goes when its lease ends.

use protocol::{Backoff, ErrorKind, Outcome, Settings, StepError};

use super::policy::{Policy, RELEASE_DELAY_MS_MAX, Tally, bounds, doubled, milliseconds, pending_pause};
use super::standing::{Cancelled, Failed, Leased, Parked, Past, Ready, Standing, Succeeded};

/// Where a job goes from `leased`. There is one variant for each legal transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It has a value; its children may be freed.
    Succeeded(Succeeded),
    /// It can run again, at once.
    Ready(Ready),
    /// It can run again later.
    Parked(Parked),
    /// It has ended in an error.
    Failed(Failed),
    /// It and its descendants will not run.
    Cancelled(Cancelled),
    /// It, its ancestors and their descendants are to start over; until then it is as it was.
    Reset(Leased),
}

impl From<Next> for Standing {
    fn from(next: Next) -> Self {
        match next {
            Next::Succeeded(job) => job.into(),
            Next::Ready(job) => job.into(),
            Next::Parked(job) => job.into(),
            Next::Failed(job) => job.into(),
            Next::Cancelled(job) => job.into(),
            Next::Reset(job) => job.into(),
        }
    }
}

/// What decides where an outcome takes a job.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Pauses and tolerances of the hub.
    pub policy: &'a Policy,
    /// Retries its step allows.
    pub retries: u32,
    /// Bounds of the pauses before these, where its step names its own.
    pub backoff: Option<Backoff>,
}

impl<'a> Rules<'a> {
    /// The rules for a step with these settings.
    #[must_use]
    pub fn new(policy: &'a Policy, settings: &Settings) -> Self {
        Self { policy, retries: settings.retries, backoff: settings.backoff }
    }
}

impl Leased {
    /// Where the outcome of an attempt takes the job. `random` is between 0 and 1.
    #[must_use]
    pub fn settle(self, outcome: &Outcome, rules: &Rules<'_>, now_ms: i64, random: f64) -> Next {
        let Tally { failures, pendings, .. } = self.past.tally;
        match outcome {
            Outcome::Success { .. } => {
                Next::Succeeded(Succeeded { past: self.with(Tally { failures, pendings: 0, losses: 0 }) })
            }
            Outcome::Pending { .. } => Next::Parked(Parked {
                past: self.with(Tally { failures, pendings: pendings.saturating_add(1), losses: 0 }),
                from_ms: now_ms + milliseconds(pending_pause(rules.policy, pendings)),
            }),
            Outcome::Reset => Next::Reset(self),
            Outcome::Cancel => Next::Cancelled(self.cancel()),
            Outcome::Error(error) => self.fail(error, rules, now_ms, random),
            Outcome::Release { delay_ms: 0, .. } => Next::Ready(self.give_back()),
            Outcome::Release { delay_ms, .. } => Next::Parked(Parked {
                past: self.past,
                from_ms: now_ms + i64::try_from(*delay_ms).unwrap_or(i64::MAX / 4).min(RELEASE_DELAY_MS_MAX),
            }),
        }
    }

    fn fail(self, error: &StepError, rules: &Rules<'_>, now_ms: i64, random: f64) -> Next {
        let failures = self.past.tally.failures.saturating_add(1);
        let past = self.with(Tally { failures, pendings: 0, losses: 0 });
        if failures > rules.retries || !is_worth_a_retry(error.kind) {
            return Next::Failed(Failed { past });
        }
        let (first, longest) = rules.backoff.map_or((rules.policy.backoff_first, rules.policy.backoff_max), bounds);
        let bound = doubled(first, failures - 1).min(longest);
        Next::Parked(Parked { past, from_ms: now_ms + milliseconds(bound.mul_f64(random.clamp(0.0, 1.0))) })
    }

    /// Where the loss of its worker takes the job: it costs no retry, but too many in a row fail it.
    #[must_use]
    pub fn lapse(self, policy: &Policy) -> Next {
        let losses = self.past.tally.losses.saturating_add(1);
        let past = self.with(Tally { losses, ..self.past.tally });
        if losses >= policy.losses_max { Next::Failed(Failed { past }) } else { Next::Ready(Ready { past }) }
    }

    fn with(&self, tally: Tally) -> Past {
        Past { tally, ..self.past }
    }
}

/// A loop over something that is no list would fail again in the same way.
fn is_worth_a_retry(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Loop | ErrorKind::Lost)
}

#[cfg(test)]
mod tests;
