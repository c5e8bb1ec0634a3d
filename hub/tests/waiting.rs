//! Workers that wait for jobs: what comes is given to them by the change that made it.

mod rig;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bue_hub::store::{Effects, Share, Store, StoreOptions, Submission};
use bue_hub::{Limits, Policy};
use protocol::api::{GoodbyeRequest, LeaseRequest, Pause, Settled, WorkerInfo};
use protocol::{Digest, FileEntry, Manifest, SessionId};
use rig::{OTHER, On, Rig, WORKER, postgres, script, success};

const LONG: Duration = Duration::from_secs(20);

fn request(session: SessionId) -> LeaseRequest {
    let scopes = vec!["default".to_owned()];
    LeaseRequest { session, scopes, slots: 5, shared_slots: 0, wait_ms: 0, info: WorkerInfo::default() }
}

/// Whoever asked for work before this waits for it afterwards: the queue has answered others twice since.
async fn all_wait(rig: &Rig) {
    for _ in 0..2 {
        assert!(rig.lease_as(SessionId([9; 8]), &["nobody's"], 1, Duration::ZERO).await.is_empty());
    }
}

/// A store, and what each of its commits meant for those who wait.
async fn store(on: On, folder: &tempfile::TempDir) -> (Store, Arc<Mutex<Vec<Effects>>>) {
    let seen: Arc<Mutex<Vec<Effects>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let sink = Arc::new(move |effects| sink.lock().unwrap().push(effects));
    let options = StoreOptions::of(Policy::default(), &Limits::default(), false);
    let store = match on {
        On::Sqlite => Store::sqlite(folder.path(), options, sink).unwrap(),
        On::Postgres => Store::postgres(&postgres::database().await, options, sink).await.unwrap(),
    };
    (store, seen)
}

async fn submission(store: &Store) -> Submission {
    let text = script(&["a"], "p = | a\np()\n");
    let digest = Digest::of(text.as_bytes());
    store.put_file(digest, text.clone().into_bytes().into(), 1).await.unwrap();
    let manifest = Manifest::new(vec![FileEntry { path: "t.bue".into(), digest, bytes: text.len() as u64 }]);
    struct Bare;
    impl language::Files for Bare {
        fn has(&self, _: &str) -> bool {
            false
        }
        fn paths(&self) -> Vec<String> {
            Vec::new()
        }
    }
    let plan = language::compile("t.bue", text.as_bytes(), &Bare).plan.unwrap();
    Submission { manifest, plan, key: None, random: 7, now_ms: 1 }
}

async fn a_job_that_comes_is_given_out_in_the_transaction_that_makes_it_and_wakes_nobody_else(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let (store, seen) = store(on, &folder).await;
    let submission = submission(&store).await;
    let mut first = store.demand(request(WORKER), Share::default(), || 1);
    let second = store.demand(request(OTHER), Share::default(), || 1);
    store.submit(submission.clone()).await.unwrap();
    assert_eq!(first.given().await.unwrap().unwrap().leases.len(), 1);
    assert!(second.withdraw().await.is_none(), "there was nothing left to ask it for");
    // Effects are told after the answers, and before the next change.
    assert!(store.lease(request(OTHER), Share::default(), 1).await.unwrap().leases.is_empty());
    let told = std::mem::take(&mut *seen.lock().unwrap());
    assert!(told.iter().all(|effects| effects.ready.is_empty()), "{told:?}");
    assert_eq!(told.iter().filter(|effects| effects.leased_to.contains(&WORKER)).count(), 1, "{told:?}");
    // With nobody there, those who come are told.
    store.submit(submission).await.unwrap();
    assert_eq!(store.lease(request(OTHER), Share::default(), 1).await.unwrap().leases.len(), 1);
    assert!(seen.lock().unwrap().iter().any(|effects| effects.ready.get("default") == Some(&1)));
}

async fn a_request_that_was_withdrawn_or_dismissed_is_given_nothing(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(on, &folder).await;
    let submission = submission(&store).await;
    let mut dismissed = store.demand(request(WORKER), Share::default(), || 1);
    drop(store.demand(request(WORKER), Share::default(), || 1));
    store.dismiss(WORKER);
    assert!(dismissed.given().await.is_none());
    store.submit(submission).await.unwrap();
    assert_eq!(store.lease(request(OTHER), Share::default(), 1).await.unwrap().leases.len(), 1);
}

async fn each_of_those_who_wait_is_given_as_many_as_it_has_slots(on: On) {
    let rig = Rig::new(on).await;
    let lease = |session, slots| rig.lease_as(session, &["default"], slots, LONG);
    let calls = "p = | a\np()\np()\np()\n";
    let (first, second, run) = tokio::join!(lease(WORKER, 2), lease(OTHER, 2), async {
        all_wait(&rig).await;
        rig.submit(&script(&["a"], calls)).await
    });
    assert_eq!(first.len() + second.len(), 3);
    assert!(!first.is_empty() && !second.is_empty());
    assert_eq!(rig.run(&run).await.counts.leased, 3);
}

async fn a_worker_that_says_goodbye_while_it_waits_leaves_the_job_to_others(on: On) {
    let rig = Rig::new(on).await;
    let (gone, given) = tokio::join!(rig.lease_as(WORKER, &["default"], 1, LONG), async {
        all_wait(&rig).await;
        rig.queue.goodbye(GoodbyeRequest { session: WORKER }).await.unwrap();
        rig.submit(&script(&["a"], "p = | a\np()\n")).await;
        rig.lease_as(OTHER, &["default"], 1, LONG).await
    });
    assert!(gone.is_empty());
    assert_eq!(given.len(), 1);
}

async fn a_worker_that_hangs_up_while_it_waits_leaves_the_job_to_others(on: On) {
    let rig = Rig::new(on).await;
    tokio::select! {
        given = rig.lease_as(WORKER, &["default"], 1, LONG) => panic!("{given:?}"),
        () = all_wait(&rig) => {}
    }
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    assert_eq!(rig.lease_as(OTHER, &["default"], 1, LONG).await.len(), 1);
}

async fn what_follows_an_attempt_goes_to_the_worker_that_handed_it_in(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a", "b"], "p = | a | b\np()\n")).await;
    let first = rig.next().await;
    let other = rig.lease_as(OTHER, &["default"], 1, LONG);
    let (other, given) = tokio::join!(other, async {
        all_wait(&rig).await;
        // The other one has been waiting for longer.
        let (given, settled) = tokio::join!(rig.lease_as(WORKER, &["default"], 1, LONG), async {
            all_wait(&rig).await;
            rig.settle(&first, success("1")).await
        });
        assert_eq!(settled, Settled::Settled);
        // What nobody has at hand goes to who has waited the longest.
        rig.submit(&script(&["c"], "p = | c\np()\n")).await;
        given
    });
    assert_eq!(rig.name(&given[0]).await, "b");
    assert_eq!(rig.name(&other[0]).await, "c");
}

async fn what_comes_to_a_paused_scope_is_given_out_when_it_goes_on(on: On) {
    let rig = Rig::new(on).await;
    let pause = Pause::Scope("default".to_owned());
    rig.queue.pause(pause.clone()).await.unwrap();
    let (given, ()) = tokio::join!(rig.lease_as(WORKER, &["default"], 1, LONG), async {
        all_wait(&rig).await;
        let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
        assert_eq!(rig.run(&run).await.counts.available, 1);
        rig.queue.resume(pause).await.unwrap();
    });
    assert_eq!(given.len(), 1);
}

on_both_stores! {
    a_job_that_comes_is_given_out_in_the_transaction_that_makes_it_and_wakes_nobody_else,
    a_request_that_was_withdrawn_or_dismissed_is_given_nothing,
    each_of_those_who_wait_is_given_as_many_as_it_has_slots,
    a_worker_that_says_goodbye_while_it_waits_leaves_the_job_to_others,
    a_worker_that_hangs_up_while_it_waits_leaves_the_job_to_others,
    what_follows_an_attempt_goes_to_the_worker_that_handed_it_in,
    what_comes_to_a_paused_scope_is_given_out_when_it_goes_on,
}
