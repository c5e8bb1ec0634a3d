//! Where each outcome takes a job, and how long it is paused.

use std::time::Duration;

use protocol::{LeaseToken, SessionId, ValueRef};

use super::*;
use crate::job::longest_pause;
use crate::job::standing::Held;

fn leased(tally: Tally) -> Leased {
    let held = Held { token: LeaseToken([1; 16]), session: SessionId([2; 8]), scope: 3, since_ms: 4, time_ms: 5 };
    Leased { past: Past { attempts: 1, tally }, held }
}

fn settle(retries: u32, tally: Tally, outcome: &Outcome, now_ms: i64, random: f64) -> Next {
    let rules = Rules { policy: &Policy::default(), retries, backoff: None };
    leased(tally).settle(outcome, &rules, now_ms, random)
}

/// When it can run again, and what it remembers.
fn parked(next: Next) -> (i64, Tally) {
    match next {
        Next::Parked(job) => (job.from_ms(), job.tally()),
        other => panic!("{other:?}"),
    }
}

fn error() -> Outcome {
    Outcome::Error(StepError::new(ErrorKind::Exception, "ValueError: no"))
}

#[test]
fn a_success_ends_the_job() {
    let outcome = Outcome::Success { value: ValueRef::null(), priority: None };
    assert!(matches!(settle(0, Tally::default(), &outcome, 0, 0.5), Next::Succeeded(_)));
}

#[test]
fn an_error_is_tried_again_until_retries_are_spent() {
    let mut tally = Tally::default();
    for failures in 1..=2 {
        let (from_ms, next) = parked(settle(2, tally, &error(), 1_000, 1.0));
        assert_eq!(from_ms, 1_000 + 1_000 * (1 << (failures - 1)));
        assert_eq!(next.failures, failures);
        tally = next;
    }
    assert!(matches!(settle(2, tally, &error(), 0, 1.0), Next::Failed(_)));
}

#[test]
fn the_pause_after_an_error_has_full_jitter_and_a_bound() {
    let tally = Tally { failures: 40, ..Tally::default() };
    assert_eq!(parked(settle(99, tally, &error(), 0, 1.0)).0, 300_000);
    assert_eq!(parked(settle(99, tally, &error(), 0, 0.0)).0, 0);
}

#[test]
fn a_step_with_a_backoff_of_its_own_is_paused_by_it_and_not_by_the_hubs() {
    let backoff = Some(Backoff { first_ms: 100, longest_ms: 350 });
    let rules = Rules { policy: &Policy::default(), retries: 9, backoff };
    let mut tally = Tally::default();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let (from_ms, next) = parked(leased(tally).settle(&error(), &rules, 0, 1.0));
        pauses.push(from_ms);
        tally = next;
    }
    assert_eq!(pauses, [100, 200, 350, 350]);
    let (from_ms, _) = parked(leased(tally).settle(&error(), &rules, 0, 0.5));
    assert_eq!(from_ms, 175, "the pause is drawn below its bound");
}

#[test]
fn no_backoff_parks_a_job_for_longer_than_a_day() {
    let settings = Settings {
        backoff: Some(Backoff { first_ms: u64::MAX, longest_ms: u64::MAX }),
        retries: 1,
        ..Settings::default()
    };
    let policy = Policy::default();
    let day_ms = i64::try_from(Backoff::LONGEST_MS_MAX).unwrap();
    let next = leased(Tally::default()).settle(&error(), &Rules::new(&policy, &settings), 7, 1.0);
    let (from_ms, tally) = parked(next);
    assert_eq!(from_ms, 7 + day_ms);
    assert_eq!(longest_pause(&settings, tally, &policy), Duration::from_millis(Backoff::LONGEST_MS_MAX));
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
    let mut tally = Tally { failures: 1, ..Tally::default() };
    let mut last = 0;
    for _ in 0..200 {
        let (from_ms, next) = parked(settle(0, tally, &Outcome::Pending { priority: None }, 0, 0.5));
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
        let Next::Ready(next) = leased(tally).lapse(&policy) else { panic!() };
        assert_eq!(next.past.tally.failures, 0);
        tally = next.past.tally;
    }
    assert!(matches!(leased(tally).lapse(&policy), Next::Failed(_)));
}

#[test]
fn an_outcome_in_between_forgets_lost_workers() {
    let tally = Tally { losses: 4, ..Tally::default() };
    assert_eq!(parked(settle(0, tally, &Outcome::Pending { priority: None }, 0, 0.0)).1.losses, 0);
}

#[test]
fn a_released_lease_costs_nothing() {
    let tally = Tally { failures: 1, pendings: 2, losses: 3 };
    let release = |delay_ms| Outcome::Release { reason: "the bucket is away".to_owned(), delay_ms };
    let Next::Ready(ready) = settle(0, tally, &release(0), 5, 0.0) else { panic!() };
    assert_eq!(ready.past.tally, tally);
    assert_eq!(parked(settle(0, tally, &release(100), 5, 0.0)), (105, tally));
}

#[test]
fn a_loop_over_no_list_is_not_tried_again() {
    let outcome = Outcome::Error(StepError::new(ErrorKind::Loop, "no list"));
    assert!(matches!(settle(9, Tally::default(), &outcome, 0, 0.0), Next::Failed(_)));
}
