//! Logs: followed while an attempt runs, kept with each attempt.

mod rig;

use std::time::Duration;

use bue_hub::Known;
use protocol::api::{Lease, LogRef, SettleRequest, Settlement};
use protocol::log::{LogPart, LogRequest};
use protocol::{JobState, Outcome};
use rig::{On, Rig, WORKER, error, script};

const LONG: Duration = Duration::from_secs(20);

fn print(rig: &Rig, lease: &Lease, from: u64, text: &str) {
    let part = LogPart { job: lease.job, attempt: lease.attempt, from, text: text.to_owned() };
    rig.queue.take_log(LogRequest { session: WORKER, parts: vec![part] });
}

async fn settle(rig: &Rig, lease: &Lease, outcome: Outcome, log: &str) {
    let log = Some(LogRef::Text(log.to_owned()));
    let settlement = Settlement { job: lease.job, attempt: lease.attempt, token: lease.token, outcome, log };
    rig.queue.settle(SettleRequest { session: WORKER, settlements: vec![settlement] }).await.unwrap();
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

on_both_stores! {
    one_who_follows_hears_what_is_printed_and_that_the_attempt_is_over,
    each_attempt_keeps_its_log,
}
