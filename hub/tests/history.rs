//! The history of a job: what is recorded of each attempt that is over.

mod rig;

use std::time::Duration;

use protocol::api::{AttemptView, Lease, SettleRequest, Settlement};
use protocol::log::{LateLog, LateLogRequest};
use protocol::{ErrorKind, Outcome, StepError};
use rig::{OTHER, On, Rig, WORKER, script, success};

async fn settle_in(rig: &Rig, lease: &Lease, outcome: Outcome, sandbox: Option<&str>) {
    let (job, attempt, token) = (lease.job, lease.attempt, lease.token);
    let settlement = Settlement { job, attempt, token, outcome, log: None, sandbox: sandbox.map(str::to_owned) };
    rig.queue.settle(SettleRequest { session: WORKER, settlements: vec![settlement] }).await.unwrap();
}

async fn history(rig: &Rig, lease: &Lease) -> Vec<AttemptView> {
    let history = rig.queue.job(lease.job).await.unwrap().history;
    assert_eq!(history, rig.queue.explain(lease.job).await.unwrap().job.history);
    history
}

async fn each_attempt_has_its_number_its_times_its_outcome_and_its_sandbox(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a !retries 2"], "p = | a\np()\n")).await;
    let trace = Some("Traceback".to_owned());
    let error = StepError { trace, ..StepError::new(ErrorKind::Memory, "too much") };
    let first = rig.next_of("a").await;
    settle_in(&rig, &first, Outcome::Error(error), Some("without files")).await;
    settle_in(&rig, &rig.next_of("a").await, Outcome::Pending { priority: None }, Some("off")).await;
    settle_in(&rig, &rig.next_of("a").await, success("1"), Some("full")).await;
    let history = history(&rig, &first).await;
    let told = history.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.sandbox.as_deref()));
    let expected = [(1, "error", Some("without files")), (2, "pending", Some("off")), (3, "success", Some("full"))];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(history[0].error, Some(StepError::new(ErrorKind::Memory, "too much")), "without its traceback");
    assert!(history.iter().all(|attempt| attempt.worker == WORKER && attempt.begun_ms <= attempt.ended_ms));
    assert!(history.windows(2).all(|pair| pair[0].ended_ms <= pair[1].begun_ms), "{history:?}");
    assert!(rig.jobs(&run).await.iter().all(|job| job.history.is_empty()), "lists of jobs are without it");
}

async fn a_worker_that_tells_no_sandbox_or_nonsense_settles_all_the_same(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a !retries 9"], "p = | a\np()\n")).await;
    let first = rig.next_of("a").await;
    let pending = || Outcome::Pending { priority: None };
    settle_in(&rig, &first, pending(), None).await;
    settle_in(&rig, &rig.next_of("a").await, pending(), Some("a\0b")).await;
    settle_in(&rig, &rig.next_of("a").await, pending(), Some(&"x".repeat(10_000))).await;
    let told: Vec<_> = history(&rig, &first).await.into_iter().map(|attempt| attempt.sandbox).collect();
    assert_eq!(told, [None, None, None]);
}

async fn the_sandbox_of_an_attempt_that_was_ended_comes_late(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    rig.queue.cancel(run).await.unwrap();
    assert_eq!(history(&rig, &lease).await[0].sandbox, None);
    let late = async |sandbox: &str| {
        let sandbox = Some(sandbox.to_owned());
        let logs = vec![LateLog { job: lease.job, attempt: lease.attempt, log: None, sandbox }];
        rig.queue.keep_late_logs(LateLogRequest { session: WORKER, logs }).await.unwrap().kept
    };
    assert_eq!(late("full").await, 1);
    assert_eq!(late("off").await, 0, "it is told");
    let history = history(&rig, &lease).await;
    assert_eq!((history[0].outcome.as_str(), history[0].sandbox.as_deref()), ("cancelled", Some("full")));
}

async fn an_attempt_whose_worker_was_lost_is_in_the_history_with_what_that_worker_brings_late(on: On) {
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_millis(300)).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lost = rig.next_of("a").await;
    let found = rig.lease_beating(OTHER, &[], Duration::from_secs(10)).await;
    rig.settle_as(OTHER, &found[0], success("1")).await;
    let late = LateLog { job: lost.job, attempt: lost.attempt, log: None, sandbox: Some("off".to_owned()) };
    rig.queue.keep_late_logs(LateLogRequest { session: WORKER, logs: vec![late] }).await.unwrap();
    let history = history(&rig, &lost).await;
    let told = history.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.sandbox.as_deref()));
    assert_eq!(told.collect::<Vec<_>>(), [(1, "lost", Some("off")), (2, "success", None)]);
    assert_eq!(history[0].error.as_ref().map(|error| error.kind), Some(ErrorKind::Lost));
}

async fn an_attempt_that_is_handed_back_says_in_the_history_what_was_missing(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let reason = format!("no connection w; {}", "x".repeat(5_000));
    settle_in(&rig, &lease, Outcome::Release { reason, delay_ms: 0 }, None).await;
    let history = history(&rig, &lease).await;
    assert_eq!(history[0].outcome, "release");
    let error = history[0].error.as_ref().unwrap();
    assert_eq!((error.kind, error.message.len()), (ErrorKind::Away, 1_000));
    assert!(error.message.starts_with("no connection w;"), "{error:?}");
}

on_both_stores! {
    an_attempt_that_is_handed_back_says_in_the_history_what_was_missing,
    an_attempt_whose_worker_was_lost_is_in_the_history_with_what_that_worker_brings_late,
    each_attempt_has_its_number_its_times_its_outcome_and_its_sandbox,
    a_worker_that_tells_no_sandbox_or_nonsense_settles_all_the_same,
    the_sandbox_of_an_attempt_that_was_ended_comes_late,
}
