//! Logs: followed while an attempt runs, kept with each attempt.

mod rig;

use std::time::Duration;

use bue_hub::Known;
use protocol::api::{AttemptView, Lease, LogRef, SettleRequest, Settled, Settlement};
use protocol::log::{LateLog, LateLogRequest, LogPart, LogRequest};
use protocol::{JobState, Outcome, SessionId};
use rig::{OTHER, On, Rig, WORKER, error, script, success};

const LONG: Duration = Duration::from_secs(20);

fn print(rig: &Rig, lease: &Lease, from: u64, text: &str) {
    let part = LogPart { job: lease.job, attempt: lease.attempt, from, text: text.to_owned() };
    rig.queue.take_log(LogRequest { session: WORKER, parts: vec![part] });
}

async fn settle(rig: &Rig, lease: &Lease, outcome: Outcome, log: &str) {
    let log = Some(LogRef::Text(log.to_owned()));
    let settlement =
        Settlement { job: lease.job, attempt: lease.attempt, token: lease.token, outcome, log, sandbox: None };
    rig.queue.settle(SettleRequest { session: WORKER, settlements: vec![settlement] }).await.unwrap();
}

/// Hands in the log of an attempt that was ended from outside; answers with whether it was kept.
async fn hand_in_late(rig: &Rig, session: SessionId, lease: &Lease, log: &str) -> bool {
    let log = Some(LogRef::Text(log.to_owned()));
    let logs = vec![LateLog { job: lease.job, attempt: lease.attempt, log, sandbox: None }];
    rig.queue.keep_late_logs(LateLogRequest { session, logs }).await.unwrap().kept == 1
}

/// Number, outcome and kind of error of the attempts of a job that are over.
async fn outcomes(rig: &Rig, lease: &Lease) -> Vec<String> {
    let history = rig.queue.job(lease.job).await.unwrap().history;
    let kind = |attempt: &AttemptView| attempt.error.as_ref().map(|error| error.kind);
    history.iter().map(|attempt| format!("{} {} {:?}", attempt.number, attempt.outcome, kind(attempt))).collect()
}

async fn log_of(rig: &Rig, lease: &Lease) -> Option<String> {
    match rig.queue.log(lease.job, Some(lease.attempt)).await.unwrap() {
        Some(LogRef::Text(text)) => Some(text),
        Some(other) => panic!("not inline: {other:?}"),
        None => None,
    }
}

async fn one_who_follows_hears_what_is_printed_and_that_the_attempt_is_over(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a !retries 1"], "p = a |\np()\n")).await;
    let lease = rig.next_of("a").await;
    print(&rig, &lease, 0, "one\n");
    let news = rig.queue.follow_log(lease.job, Known::default(), LONG).await.unwrap();
    assert_eq!((news.state, news.attempt, news.from, news.text.as_str()), (JobState::Leased, 1, 0, "one\n"));
    let known = Known { attempt: 1, running: true, bytes: 4 };
    let (news, ()) =
        tokio::join!(rig.queue.follow_log(lease.job, known, LONG), async { print(&rig, &lease, 4, "two\n") });
    assert_eq!(news.unwrap().text, "two\n");
    let known = Known { bytes: 8, ..known };
    let over = settle(&rig, &lease, error("ValueError: no"), "one\ntwo\n");
    let (news, ()) = tokio::join!(rig.queue.follow_log(lease.job, known, LONG), over);
    let news = news.unwrap();
    assert!(!news.is_running() && !news.is_over() && news.text.is_empty(), "{news:?}");
}

async fn each_attempt_keeps_its_log(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a !retries 1"], "p = a |\np()\n")).await;
    let first = rig.next_of("a").await;
    settle(&rig, &first, error("ValueError: no"), "first\n").await;
    settle(&rig, &rig.next_of("a").await, error("ValueError: no"), "second\n").await;
    let log = async |attempt| rig.queue.log(first.job, attempt).await.unwrap();
    assert_eq!(log(None).await, Some(LogRef::Text("second\n".to_owned())));
    assert_eq!(log(Some(1)).await, Some(LogRef::Text("first\n".to_owned())));
    assert_eq!(log(Some(3)).await, None);
    let news = rig.queue.follow_log(first.job, Known { attempt: 2, running: false, bytes: 0 }, LONG).await.unwrap();
    assert!(news.is_over(), "who follows what has ended does not wait: {news:?}");
}

async fn jobs_that_left_a_log_are_listed_a_page_at_a_time(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b", "c"], "p = a |\nq = b |\nr = c |\np()\nq()\nr()\n")).await;
    let (a, b, c) = (rig.next_of("a").await, rig.next_of("b").await, rig.next_of("c").await);
    let page = async |after| {
        let page = rig.queue.logged_jobs(run.clone(), after, 1).await.unwrap();
        (page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(page(None).await, (vec![], None));
    settle(&rig, &a, error("ValueError: no"), "a\n").await;
    rig.settle(&b, success("1")).await;
    settle(&rig, &c, success("1"), "c\n").await;
    assert_eq!(page(None).await, (vec![a.job], Some(a.job)));
    assert_eq!(page(Some(a.job)).await, (vec![c.job], None));
}

async fn an_attempt_that_is_cancelled_while_it_runs_is_kept_with_its_late_log(on: On) {
    let rig = Rig::new(on).await;
    let run = rig.submit(&script(&["a", "b"], "p = a | b\np()\n")).await;
    let lease = rig.next_of("a").await;
    assert!(!hand_in_late(&rig, WORKER, &lease, "it runs\n").await, "it is not over");
    rig.queue.cancel(run.clone()).await.unwrap();
    assert_eq!(rig.settle(&lease, success("1")).await, Settled::Stale);
    assert!(!hand_in_late(&rig, OTHER, &lease, "forged\n").await, "it is another worker's");
    assert!(hand_in_late(&rig, WORKER, &lease, "until then\n").await);
    assert!(!hand_in_late(&rig, WORKER, &lease, "once more\n").await, "it has a log");
    assert_eq!(rig.settle(&lease, success("1")).await, Settled::Stale, "a late log gives no right to settle");
    assert_eq!(log_of(&rig, &lease).await.as_deref(), Some("until then\n"));
    assert_eq!(outcomes(&rig, &lease).await, ["1 cancelled Some(Cancelled)"]);
    assert_eq!(rig.states(&run).await, [("a".into(), JobState::Cancelled), ("b".into(), JobState::Cancelled)]);
}

async fn an_attempt_whose_job_starts_over_is_kept_beside_the_next_one(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b"], "p = a | b\np()\n")).await;
    rig.succeed(&rig.next_of("a").await, "1").await;
    let lease = rig.next_of("b").await;
    rig.queue.reset_job(protocol::JobId(1)).await.unwrap();
    let again = rig.next_of("a").await;
    print(&rig, &again, 0, "the next one\n");
    assert!(hand_in_late(&rig, WORKER, &lease, "until then\n").await);
    assert_eq!(log_of(&rig, &lease).await.as_deref(), Some("until then\n"));
    let news = rig.queue.follow_log(again.job, Known::default(), LONG).await.unwrap();
    assert_eq!((news.attempt, news.text.as_str()), (2, "the next one\n"));
    rig.succeed(&again, "2").await;
    let next = rig.next_of("b").await;
    assert_eq!(next.attempt, 2);
    settle(&rig, &next, success("3"), "the second\n").await;
    assert_eq!(log_of(&rig, &next).await.as_deref(), Some("the second\n"));
    assert_eq!(outcomes(&rig, &next).await, ["1 reset Some(Cancelled)", "2 success None"]);
    assert!(!hand_in_late(&rig, WORKER, &next, "instead\n").await, "it was settled with a log");
}

async fn an_attempt_that_the_hub_timed_out_gets_its_late_log(on: On) {
    let rig = Rig::with(on, |config| config.limits.timeout_grace = Duration::from_millis(100)).await;
    let run = rig.submit(&script(&["a !timeout 1"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let mut version = None;
    while rig.run(&run).await.counts.failed == 0 {
        version = Some(rig.queue.run(run.clone(), version, LONG).await.unwrap().version);
    }
    assert!(hand_in_late(&rig, WORKER, &lease, "until then\n").await);
    assert_eq!(log_of(&rig, &lease).await.as_deref(), Some("until then\n"));
    assert_eq!(outcomes(&rig, &lease).await, ["1 error Some(Timeout)"]);
}

async fn an_answer_of_reset_stays_settled_although_its_own_job_starts_over(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    settle(&rig, &lease, Outcome::Reset, "what it said\n").await;
    assert_eq!(rig.settle(&lease, Outcome::Reset).await, Settled::Settled, "it is repeated");
    assert_eq!(log_of(&rig, &lease).await.as_deref(), Some("what it said\n"));
    assert_eq!(outcomes(&rig, &lease).await, ["1 reset None"]);
}

on_both_stores! {
    an_attempt_that_is_cancelled_while_it_runs_is_kept_with_its_late_log,
    an_attempt_whose_job_starts_over_is_kept_beside_the_next_one,
    an_attempt_that_the_hub_timed_out_gets_its_late_log,
    an_answer_of_reset_stays_settled_although_its_own_job_starts_over,
    one_who_follows_hears_what_is_printed_and_that_the_attempt_is_over,
    each_attempt_keeps_its_log,
    jobs_that_left_a_log_are_listed_a_page_at_a_time,
}
