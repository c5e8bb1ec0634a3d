//! Steps that share an interpreter take no slots of those that have a process of their own.

mod rig;

use protocol::api::{Lease, LeaseRequest, WorkerInfo};
use rig::{On, Rig, WORKER, script};

async fn lease(rig: &Rig, slots: u32, shared_slots: u32) -> Vec<Lease> {
    let (scopes, info) = (vec!["default".to_owned()], WorkerInfo::default());
    let request = LeaseRequest { session: WORKER, scopes, slots, shared_slots, wait_ms: 0, info };
    rig.queue.lease(request).await.unwrap().leases
}

async fn steps_that_share_an_interpreter_take_places_of_their_own(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a !isolation shared", "b"], "p = a |\nq = b |\np()\np()\np()\nq()\nq()\np()\n")).await;
    let first = lease(&rig, 1, 2).await;
    let shared: Vec<bool> = first.iter().map(|lease| lease.shared).collect();
    assert_eq!(shared, [true, true], "the third would take a slot that is not for it");
    let second = lease(&rig, 2, 5).await;
    let shared: Vec<bool> = second.iter().map(|lease| lease.shared).collect();
    assert_eq!(shared, [true, false, false], "what comes after the last slot is left for the next request");
    assert_eq!(lease(&rig, 1, 5).await.len(), 1);
    assert!(lease(&rig, 1, 5).await.is_empty());
}

async fn a_worker_without_slots_gets_nothing(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&script(&["a !isolation shared"], "p = a |\np()\n")).await;
    assert!(lease(&rig, 0, 5).await.is_empty());
    assert!(!lease(&rig, 1, 0).await[0].shared, "one that knows of no shared slots has one of its own for it");
}

on_both_stores! {
    steps_that_share_an_interpreter_take_places_of_their_own,
    a_worker_without_slots_gets_nothing,
}
