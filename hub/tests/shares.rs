//! Scopes of a worker's list: earlier ones go first, and none starves.

mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use rig::{On, Rig, WORKER, script};

/// Many jobs in the first scope, a few in the others.
fn busy() -> String {
    let mut rest = "p = a |\nq = b |\nr = c |\n".to_owned();
    rest.push_str(&"p()\n".repeat(60));
    rest.push_str(&"q()\nr()\n".repeat(2));
    script(&["a !scope first", "b !scope second", "c !scope third"], &rest)
}

/// Names of the jobs that a worker is given, in order, `slots` at once.
async fn given(rig: &Rig, requests: usize, slots: u32) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..requests {
        for lease in rig.lease_as(WORKER, &["first", "second", "third"], slots, Duration::ZERO).await {
            names.push(rig.name(&lease).await);
        }
    }
    names
}

async fn each_scope_of_a_worker_gets_its_share_in_turn(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&busy()).await;
    let names = given(&rig, 64, 1).await;
    let others: BTreeMap<usize, &str> =
        names.iter().enumerate().filter(|(_, name)| *name != "a").map(|(place, name)| (place, name.as_str())).collect();
    // Jobs 61 to 64 are in order: the first scope has no more.
    assert_eq!(others, BTreeMap::from([(15, "b"), (31, "c"), (47, "b"), (63, "c")]));
}

async fn a_worker_with_many_slots_gets_as_many_shares(on: On) {
    let rig = Rig::new(on).await;
    rig.submit(&busy()).await;
    let names = given(&rig, 1, 50).await;
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    assert_eq!((count("a"), count("b"), count("c")), (47, 2, 1));
    assert_eq!(names[..3], ["b", "c", "b"]);
}

async fn a_hub_can_keep_to_the_order_of_scopes(on: On) {
    let rig = Rig::with(on, |config| config.limits.scope_share = 0).await;
    rig.submit(&busy()).await;
    assert!(given(&rig, 1, 60).await.iter().all(|name| name == "a"));
}

async fn a_worker_that_waits_for_work_is_alive(on: On) {
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_millis(300)).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    assert!(rig.lease_as(WORKER, &["default"], 1, Duration::from_millis(1_500)).await.is_empty());
    rig.succeed(&lease, "1").await;
}

on_both_stores! {
    each_scope_of_a_worker_gets_its_share_in_turn,
    a_worker_with_many_slots_gets_as_many_shares,
    a_hub_can_keep_to_the_order_of_scopes,
    a_worker_that_waits_for_work_is_alive,
}
