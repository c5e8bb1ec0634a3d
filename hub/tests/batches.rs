//! Requests that share a transaction: what is wrong with one of them is nobody else's trouble.

mod rig;

use bue_hub::QueueError;
use protocol::api::{ApiErrorKind, Lease, LeaseRequest, Pause, SettleRequest, Settled, Settlement, WorkerInfo};
use protocol::{Digest, JobId, Outcome, SessionId};
use rig::{On, Rig, WORKER, postgres, script, success, value};

fn request(session: SessionId, scope: &str) -> LeaseRequest {
    let scopes = vec![scope.to_owned()];
    LeaseRequest { session, scopes, slots: 1, shared_slots: 0, wait_ms: 0, info: WorkerInfo::default() }
}

async fn names_with_a_nul_are_refused_with_a_word(on: On) {
    let rig = Rig::new(on).await;
    let text = script(&["a"], "p = | a\np()\n");
    let refused = [
        rig.queue.lease(request(WORKER, "a\0b")).await.map(drop),
        rig.queue.pause(Pause::Scope("a\0b".to_owned())).await,
        rig.try_submit(&text, Some("a\0b")).await.map(drop),
        rig.try_submit(&script(&["a !scope a\0b"], "p = | a\np()\n"), None).await.map(drop),
    ];
    for refused in refused {
        let message = refused.map_err(|error| (error.kind(), error.to_string())).unwrap_err();
        assert!(matches!(message.0, ApiErrorKind::Invalid | ApiErrorKind::Script), "{message:?}");
    }
    rig.submit(&text).await;
    rig.next_of("a").await;
}

async fn of_two_scripts_that_come_at_once_under_one_key_one_is_refused(on: On) {
    let rig = Rig::new(on).await;
    let texts = ["a", "b"].map(|step| script(&[step], &format!("p = | {step}\np()\n")));
    let [first, second] = &texts;
    let (first, second) = tokio::join!(rig.try_submit(first, Some("k")), rig.try_submit(second, Some("k")));
    let (made, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    assert!(!made.unwrap().repeated);
    assert!(matches!(refused, Err(QueueError::Conflict(_))), "{refused:?}");
    assert_eq!(rig.queue.runs(10).await.unwrap().len(), 1);
}

on_both_stores! {
    of_two_scripts_that_come_at_once_under_one_key_one_is_refused,
    names_with_a_nul_are_refused_with_a_word,
}

#[tokio::test]
async fn a_statement_that_postgresql_refuses_fails_its_own_request_and_no_other_of_the_batch() {
    let rig = Rig::new(On::Postgres).await;
    let url = rig.config.postgres.clone().unwrap();
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let job = rig.jobs(&run).await.remove(0).id;
    postgres::change(&url, "ALTER TABLE bue.scopes RENAME TO away").await;
    let turn = postgres::Turn::take(&url).await;
    let content = bytes::Bytes::from_static(b"a file");
    let digest = Digest::of(&content);
    let (begun, stored, broken, reset, ()) = tokio::join!(
        rig.queue.pause(Pause::Scope("begins a batch, maybe alone".to_owned())),
        rig.queue.put_file(digest, content.clone()),
        rig.queue.lease(request(WORKER, "a scope that was never seen")),
        rig.queue.reset_job(JobId(job.0 + 1)),
        turn.end(),
    );
    begun.unwrap();
    stored.unwrap();
    assert!(matches!(broken, Err(QueueError::Store { passing: false, .. })), "{broken:?}");
    assert!(matches!(reset, Err(QueueError::NotFound { .. })), "{reset:?}");
    assert_eq!(rig.queue.file(digest).await.unwrap(), content, "what was answered as stored is stored");
}

#[tokio::test]
async fn what_postgresql_refuses_when_all_is_written_fails_its_own_request_and_no_other_of_the_batch() {
    let rig = Rig::new(On::Postgres).await;
    let url = rig.config.postgres.clone().unwrap();
    rig.submit(&script(&["a", "b"], "p = a | b\np()\np()\n")).await;
    let leases = rig.lease(2).await;
    postgres::change(&url, "ALTER TABLE bue.jobs ADD CONSTRAINT no_seven CHECK (priority <> 7)").await;
    let settle = |lease: &Lease, priority| {
        let (job, attempt, token) = (lease.job, lease.attempt, lease.token);
        let outcome = Outcome::Success { value: value("1"), priority };
        let settlements = vec![Settlement { job, attempt, token, outcome, log: None, sandbox: None }];
        rig.queue.settle(SettleRequest { session: WORKER, settlements })
    };
    let turn = postgres::Turn::take(&url).await;
    let (begun, broken, settled, paused, ()) = tokio::join!(
        rig.queue.pause(Pause::Scope("begins a batch, maybe alone".to_owned())),
        settle(&leases[0], Some(7)),
        settle(&leases[1], None),
        rig.queue.pause(Pause::Everything),
        turn.end(),
    );
    begun.unwrap();
    assert!(matches!(broken, Err(QueueError::Store { passing: false, .. })), "{broken:?}");
    assert_eq!(settled.unwrap().answers, [Settled::Settled]);
    paused.unwrap();
    assert_eq!(
        rig.settle(&leases[0], success("1")).await,
        Settled::Settled,
        "it is as it was, and can be settled otherwise"
    );
}
