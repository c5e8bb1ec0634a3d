//! Scopes of a worker's list: earlier ones go first, and none starves.

mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::api::Settled;
use rig::{OTHER, On, Rig, WORKER, script, success};

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

async fn a_worker_that_waits_for_work_is_alive_by_its_beats_alone(on: On) {
    let rig = Rig::with(on, |config| config.limits.lapse = Duration::from_millis(1_500)).await;
    rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let given = rig.lease_beating(WORKER, &[&lease], Duration::from_millis(3_500)).await;
    assert!(given.is_empty(), "{given:?}");
    // Frozen, its request stays open until it is missed. What it had is given to another one, although that asks after it.
    let (frozen, again) = tokio::join!(
        biased;
        rig.lease_as(WORKER, &["default"], 1, Duration::from_secs(20)),
        rig.lease_beating(OTHER, &[], Duration::from_secs(20)),
    );
    assert!(frozen.is_empty(), "{frozen:?}");
    assert_eq!(again.iter().map(|lease| (lease.job, lease.attempt)).collect::<Vec<_>>(), [(lease.job, 2)]);
    assert_eq!(rig.settle(&lease, success("1")).await, Settled::Stale);
    rig.settle_as(OTHER, &again[0], success("1")).await;
    // Thawed, it is heard from, and given work as before.
    rig.submit(&script(&["b"], "p = | b\np()\n")).await;
    assert_eq!(rig.lease_as(WORKER, &["default"], 1, Duration::from_secs(20)).await.len(), 1);
}

on_both_stores! {
    each_scope_of_a_worker_gets_its_share_in_turn,
    a_worker_with_many_slots_gets_as_many_shares,
    a_hub_can_keep_to_the_order_of_scopes,
    a_worker_that_waits_for_work_is_alive_by_its_beats_alone,
}
