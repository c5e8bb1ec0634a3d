//! The state machine of a job: what each outcome does to it. Pure: time and chance are arguments.
//!
//! | state | entered from | left by |
//! |---|---|---|
//! | waiting | submit, reset | the last parent succeeds; cancel |
//! | ready | submit, waiting, parked, a lost or released lease | lease; cancel; reset |
//! | parked | a pending answer, an error with retries left, a release with a delay | its time comes; cancel; reset |
//! | leased | ready | settle; the session lapses; cancel; reset |
//! | succeeded | leased | reset |
//! | failed | leased | reset; cancel |
//! | cancelled | every open state | reset of an ancestor |
//!
//! On the wire `ready` and `parked` are both `available`: one now, the other from a time on. This module
//! decides; the store carries out, guarded by the lease token.

use std::time::Duration;

use protocol::{Backoff, ErrorKind, Outcome, Settings, StepError};

/// State of a job as the store keeps it. The numbers are on disk: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Some parent has not succeeded.
    Waiting = 0,
    /// In the ready index.
    Ready = 1,
    /// Will be ready at a known time.
    Parked = 2,
    /// A worker holds the token.
    Leased = 3,
    /// Has a value.
    Succeeded = 4,
    /// Ended in an error.
    Failed = 5,
    /// Will not run.
    Cancelled = 6,
}

impl State {
    /// The state with this number on disk.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Waiting, Self::Ready, Self::Parked, Self::Leased, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| *state as i64 == number)
    }

    /// The word for it on the wire.
    #[must_use]
    pub fn on_the_wire(self) -> protocol::JobState {
        match self {
            Self::Waiting => protocol::JobState::Waiting,
            Self::Ready | Self::Parked => protocol::JobState::Available,
            Self::Leased => protocol::JobState::Leased,
            Self::Succeeded => protocol::JobState::Succeeded,
            Self::Failed => protocol::JobState::Failed,
            Self::Cancelled => protocol::JobState::Cancelled,
        }
    }

    /// The states that have this word on the wire.
    #[must_use]
    pub fn behind(word: protocol::JobState) -> Vec<Self> {
        (0..7).filter_map(Self::from_number).filter(|state| state.on_the_wire() == word).collect()
    }

    /// Whether something can still come of it without help.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Ready | Self::Parked | Self::Leased)
    }
}

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

/// A job whose lease is being given up, with what decides where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Leased {
    /// What it remembers.
    pub tally: Tally,
    /// Retries its step allows.
    pub retries: u32,
    /// Bounds of the pauses before these, where its step names its own.
    pub backoff: Option<Backoff>,
}

/// Where a job goes from `leased`. There is one variant for each legal transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It has a value; its children may be freed.
    Succeeded,
    /// It can run again, at once.
    Ready(Tally),
    /// It can run again later.
    Parked {
        /// Unix time in milliseconds.
        from_ms: i64,
        /// What it remembers.
        tally: Tally,
    },
    /// It has ended in an error.
    Failed(Tally),
    /// It and its descendants will not run.
    Cancelled,
    /// It, its ancestors and their descendants start over.
    Reset,
}

impl Leased {
    /// A leased job of a step with these settings.
    #[must_use]
    pub fn under(settings: &Settings, tally: Tally) -> Self {
        Self { tally, retries: settings.retries, backoff: settings.backoff }
    }

    /// Where the outcome of an attempt takes the job. `random` is between 0 and 1.
    #[must_use]
    pub fn settle(self, outcome: &Outcome, policy: &Policy, now_ms: i64, random: f64) -> Next {
        let Tally { failures, pendings, .. } = self.tally;
        match outcome {
            Outcome::Success { .. } => Next::Succeeded,
            Outcome::Pending { .. } => Next::Parked {
                from_ms: now_ms + milliseconds(pending_pause(policy, pendings)),
                tally: Tally { failures, pendings: pendings.saturating_add(1), losses: 0 },
            },
            Outcome::Reset => Next::Reset,
            Outcome::Cancel => Next::Cancelled,
            Outcome::Error(error) => self.fail(error, policy, now_ms, random),
            Outcome::Release { delay_ms: 0, .. } => Next::Ready(self.tally),
            Outcome::Release { delay_ms, .. } => Next::Parked {
                from_ms: now_ms + i64::try_from(*delay_ms).unwrap_or(i64::MAX / 4).min(RELEASE_DELAY_MS_MAX),
                tally: self.tally,
            },
        }
    }

    fn fail(self, error: &StepError, policy: &Policy, now_ms: i64, random: f64) -> Next {
        let failures = self.tally.failures.saturating_add(1);
        let tally = Tally { failures, pendings: 0, losses: 0 };
        if failures > self.retries || !is_worth_a_retry(error.kind) {
            return Next::Failed(tally);
        }
        let (first, longest) = self.backoff.map_or((policy.backoff_first, policy.backoff_max), bounds);
        let bound = doubled(first, failures - 1).min(longest);
        Next::Parked { from_ms: now_ms + milliseconds(bound.mul_f64(random.clamp(0.0, 1.0))), tally }
    }

    /// Where the loss of its worker takes the job: it costs no retry, but too many in a row fail it.
    #[must_use]
    pub fn lapse(self, policy: &Policy) -> Next {
        let tally = Tally { losses: self.tally.losses.saturating_add(1), ..self.tally };
        if tally.losses >= policy.losses_max { Next::Failed(tally) } else { Next::Ready(tally) }
    }
}

/// Longest delay that a worker can ask for when it gives a lease back.
const RELEASE_DELAY_MS_MAX: i64 = 3_600_000;

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
fn bounds(backoff: Backoff) -> (Duration, Duration) {
    let longest = Duration::from_millis(backoff.longest_ms.min(Backoff::LONGEST_MS_MAX));
    (Duration::from_millis(backoff.first_ms), longest)
}

/// A loop over something that is no list would fail again in the same way.
fn is_worth_a_retry(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Loop | ErrorKind::Lost)
}

fn pending_pause(policy: &Policy, pendings: u32) -> Duration {
    let factor = 1.5_f64.powi(i32::try_from(pendings.min(64)).unwrap_or(64));
    let seconds = policy.pending_first.as_secs_f64() * factor;
    Duration::from_secs_f64(seconds.min(policy.pending_max.as_secs_f64()))
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(31))
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use protocol::ValueRef;

    use super::*;

    fn leased(retries: u32, tally: Tally) -> Leased {
        Leased { tally, retries, backoff: None }
    }

    fn error() -> Outcome {
        Outcome::Error(StepError::new(ErrorKind::Exception, "ValueError: no"))
    }

    #[test]
    fn a_success_ends_the_job() {
        let outcome = Outcome::Success { value: ValueRef::null(), priority: None };
        assert_eq!(leased(0, Tally::default()).settle(&outcome, &Policy::default(), 0, 0.5), Next::Succeeded);
    }

    #[test]
    fn an_error_is_tried_again_until_retries_are_spent() {
        let policy = Policy::default();
        let mut tally = Tally::default();
        for failures in 1..=2 {
            match leased(2, tally).settle(&error(), &policy, 1_000, 1.0) {
                Next::Parked { from_ms, tally: next } => {
                    assert_eq!(from_ms, 1_000 + 1_000 * (1 << (failures - 1)));
                    assert_eq!(next.failures, failures);
                    tally = next;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(leased(2, tally).settle(&error(), &policy, 0, 1.0), Next::Failed(_)));
    }

    #[test]
    fn the_pause_after_an_error_has_full_jitter_and_a_bound() {
        let policy = Policy::default();
        let tally = Tally { failures: 40, ..Tally::default() };
        let Next::Parked { from_ms, .. } = leased(99, tally).settle(&error(), &policy, 0, 1.0) else { panic!() };
        assert_eq!(from_ms, 300_000);
        let Next::Parked { from_ms, .. } = leased(99, tally).settle(&error(), &policy, 0, 0.0) else { panic!() };
        assert_eq!(from_ms, 0);
    }

    #[test]
    fn a_step_with_a_backoff_of_its_own_is_paused_by_it_and_not_by_the_hubs() {
        let backoff = Some(Backoff { first_ms: 100, longest_ms: 350 });
        let mut tally = Tally::default();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let leased = Leased { tally, retries: 9, backoff };
            let Next::Parked { from_ms, tally: next } = leased.settle(&error(), &Policy::default(), 0, 1.0) else {
                panic!()
            };
            pauses.push(from_ms);
            tally = next;
        }
        assert_eq!(pauses, [100, 200, 350, 350]);
        let leased = Leased { tally, retries: 9, backoff };
        let Next::Parked { from_ms, .. } = leased.settle(&error(), &Policy::default(), 0, 0.5) else { panic!() };
        assert_eq!(from_ms, 175, "the pause is drawn below its bound");
    }

    #[test]
    fn no_backoff_parks_a_job_for_longer_than_a_day() {
        let settings = Settings {
            backoff: Some(Backoff { first_ms: u64::MAX, longest_ms: u64::MAX }),
            retries: 1,
            ..Settings::default()
        };
        let day_ms = i64::try_from(Backoff::LONGEST_MS_MAX).unwrap();
        let next = Leased::under(&settings, Tally::default()).settle(&error(), &Policy::default(), 7, 1.0);
        let Next::Parked { from_ms, tally } = next else { panic!("{next:?}") };
        assert_eq!(from_ms, 7 + day_ms);
        assert_eq!(milliseconds(longest_pause(&settings, tally, &Policy::default())), day_ms);
    }

    #[test]
    fn the_longest_pause_is_that_of_the_last_outcome() {
        let longest = |failures, pendings| {
            longest_pause(&Settings::default(), Tally { failures, pendings, losses: 0 }, &Policy::default()).as_secs()
        };
        assert_eq!((longest(3, 1), longest(3, 0), longest(0, 0)), (30, 300, 3_600));
    }

    #[test]
    fn a_pending_answer_costs_no_retry_and_waits_longer_each_time() {
        let policy = Policy::default();
        let mut tally = Tally { failures: 1, ..Tally::default() };
        let mut last = 0;
        for _ in 0..200 {
            let Next::Parked { from_ms, tally: next } =
                leased(0, tally).settle(&Outcome::Pending { priority: None }, &policy, 0, 0.5)
            else {
                panic!()
            };
            assert!(from_ms >= last && from_ms <= 30_000);
            assert_eq!(next.failures, 1);
            (last, tally) = (from_ms, next);
        }
        assert_eq!(last, 30_000);
    }

    #[test]
    fn a_lost_worker_costs_no_retry_but_the_fifth_in_a_row_fails_the_job() {
        let policy = Policy::default();
        let mut tally = Tally::default();
        for _ in 0..4 {
            let Next::Ready(next) = leased(0, tally).lapse(&policy) else { panic!() };
            assert_eq!(next.failures, 0);
            tally = next;
        }
        assert!(matches!(leased(0, tally).lapse(&policy), Next::Failed(_)));
    }

    #[test]
    fn an_outcome_in_between_forgets_lost_workers() {
        let tally = Tally { losses: 4, ..Tally::default() };
        let next = leased(0, tally).settle(&Outcome::Pending { priority: None }, &Policy::default(), 0, 0.0);
        assert!(matches!(next, Next::Parked { tally: Tally { losses: 0, .. }, .. }));
    }

    #[test]
    fn a_released_lease_costs_nothing() {
        let tally = Tally { failures: 1, pendings: 2, losses: 3 };
        let release = |delay_ms| Outcome::Release { reason: "the bucket is away".to_owned(), delay_ms };
        assert_eq!(leased(0, tally).settle(&release(0), &Policy::default(), 5, 0.0), Next::Ready(tally));
        assert_eq!(
            leased(0, tally).settle(&release(100), &Policy::default(), 5, 0.0),
            Next::Parked { from_ms: 105, tally }
        );
    }

    #[test]
    fn a_loop_over_no_list_is_not_tried_again() {
        let outcome = Outcome::Error(StepError::new(ErrorKind::Loop, "no list"));
        assert!(matches!(leased(9, Tally::default()).settle(&outcome, &Policy::default(), 0, 0.0), Next::Failed(_)));
    }
}
