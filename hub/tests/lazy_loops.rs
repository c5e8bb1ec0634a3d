//! However a loop's body looks, and whoever asks for its work: passes are made as they are claimed, a few at a time.

mod rig;

use std::time::Duration;

use protocol::api::Lease;
use protocol::{Digest, Format, JobState, Outcome, Place, RunId, RunState, ValueKind, ValueRef};
use rig::{On, Rig, WORKER, script};

/// Items of a loop that nobody could want to be made at once.
const ITEMS: u64 = 100_000;

/// Passes made at once.
const BATCH: usize = 128;

/// A list of so many items, in the bucket.
fn list(length: u64) -> Outcome {
    let place = Place::Object {
        key: "runs/x/j1/1".into(),
        format: Format::Json,
        bytes: 9,
        sha256: Digest::of(b""),
        pages: None,
    };
    Outcome::Success { value: ValueRef { kind: ValueKind::List, length: Some(length), place }, priority: None }
}

async fn lease(rig: &Rig, scopes: &[&str], slots: u32) -> Vec<Lease> {
    rig.lease_as(WORKER, scopes, slots, Duration::ZERO).await
}

/// Passes that were made, up to a few thousand.
async fn passes(rig: &Rig, run: &RunId) -> usize {
    let mut passes = 0;
    let mut after = None;
    for _ in 0..10 {
        let page = rig.queue.jobs(run.clone(), after, None, 1_000).await.unwrap();
        passes += page.jobs.iter().filter(|job| job.item).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    passes
}

/// Submits a script and gives its first job a long list.
async fn begin(rig: &Rig, steps: &[&str], rest: &str) -> RunId {
    let run = rig.submit(&script(steps, rest)).await;
    rig.settle(&rig.next_of("a").await, list(ITEMS)).await;
    run
}

async fn a_worker_that_serves_only_what_follows_in_a_pass_makes_no_passes(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | b\nr = | c\nfor x in p():\n    w = q(x)\n    r(w)\n";
    let run = begin(&rig, &["a", "b", "c !scope late"], rest).await;
    assert!(lease(&rig, &["late"], 4).await.is_empty());
    assert_eq!(passes(&rig, &run).await, 0);
    let leases = lease(&rig, &["late", "default"], 4).await;
    assert_eq!((leases.len(), passes(&rig, &run).await), (4, BATCH));
    rig.succeed(&leases[0], "1").await;
    let names = lease(&rig, &["late", "default"], 1).await;
    assert_eq!(rig.name(&names[0]).await, "c");
    assert_eq!(passes(&rig, &run).await, BATCH);
}

async fn a_call_of_higher_priority_that_waits_in_the_pass_makes_no_passes(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | b\nr = | c\nfor x in p():\n    w = q(x)\n    r(w)\n";
    let run = begin(&rig, &["a", "b", "c !priority 9"], rest).await;
    assert_eq!(lease(&rig, &["default"], 4).await.len(), 4);
    assert_eq!(passes(&rig, &run).await, BATCH);
}

async fn passes_that_wait_for_an_outer_result_are_made_when_it_is_there(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | slow\nr = | b\nv = q()\nfor x in p():\n    r(x, v)\n";
    let run = begin(&rig, &["a", "slow !scope later,!retries 0", "b"], rest).await;
    assert!(lease(&rig, &["default"], 4).await.is_empty());
    assert_eq!(passes(&rig, &run).await, 0);
    let counts = rig.run(&run).await.counts;
    assert_eq!((counts.waiting, counts.total()), (ITEMS, ITEMS + 2));

    let slow = lease(&rig, &["later"], 1).await;
    rig.settle(&slow[0], rig::error("ValueError: no")).await;
    assert_eq!(rig.run(&run).await.state, RunState::Failed, "nothing of it can run");
    rig.queue.reset_failed(run.clone()).await.unwrap();
    let waiting = rig.lease_as(WORKER, &["default"], 4, Duration::from_secs(10));
    let (leases, ()) = tokio::join!(waiting, async {
        let slow = lease(&rig, &["later"], 1).await;
        rig.succeed(&slow[0], "9").await;
    });
    assert_eq!((leases.len(), passes(&rig, &run).await), (4, BATCH));
    assert_eq!(rig.run(&run).await.state, RunState::Running);
    rig.queue.cancel(run.clone()).await.unwrap();
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.waiting, view.counts.total()), (RunState::Cancelled, 0, ITEMS + 2));
}

async fn a_call_that_waits_for_an_outer_result_leaves_the_other_calls_of_the_pass_alone(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | slow\nr = | b\ns = | c\nv = q()\nfor x in p():\n    r(x, v)\n    s(x)\n";
    let run = begin(&rig, &["a", "slow !scope later", "b !scope first", "c"], rest).await;
    let leases = lease(&rig, &["first", "default"], 4).await;
    assert_eq!((leases.len(), passes(&rig, &run).await), (4, BATCH));
    assert_eq!(rig.name(&leases[0]).await, "c");
    let slow = lease(&rig, &["later"], 1).await;
    rig.succeed(&slow[0], "9").await;
    let leases = lease(&rig, &["first"], 200).await;
    assert_eq!((leases.len(), passes(&rig, &run).await), (200, 2 * BATCH));
}

async fn an_outer_result_that_starts_over_stops_the_passes_until_it_is_there_again(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | early\nr = | b\nv = q()\nfor x in p():\n    r(x, v)\n";
    let run = rig.submit(&script(&["a", "early !priority 1", "b"], rest)).await;
    let early = rig.next_of("early").await;
    rig.succeed(&early, "1").await;
    rig.settle(&rig.next_of("a").await, list(ITEMS)).await;
    assert_eq!(lease(&rig, &["default"], 4).await.len(), 4);
    rig.queue.reset_job(early.job).await.unwrap();
    let leases = lease(&rig, &["default"], 200).await;
    assert_eq!((leases.len(), passes(&rig, &run).await), (1, BATCH), "the outer job alone");
    rig.succeed(&leases[0], "2").await;
    let leases = lease(&rig, &["default"], 200).await;
    assert_eq!((leases.len(), passes(&rig, &run).await), (200, 2 * BATCH));
}

async fn passes_of_a_cancelled_outer_result_are_made_one_batch_for_each_request(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | gone\nr = b | c\nv = q()\nfor x in p():\n    r(x, v)\n";
    let run = rig.submit(&script(&["a !priority 2", "gone !priority 1", "b", "c"], rest)).await;
    rig.settle(&rig.next_of("a").await, list(300)).await;
    rig.settle(&rig.next_of("gone").await, Outcome::Cancel).await;
    for made in [BATCH, 2 * BATCH, 300] {
        assert!(lease(&rig, &["default"], 4).await.is_empty());
        assert_eq!(passes(&rig, &run).await, made);
    }
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.cancelled, view.counts.waiting), (RunState::Succeeded, 601, 0));
}

async fn a_worker_goes_on_by_itself_while_batches_of_passes_give_it_nothing(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | gone\nr = | b\ns = | last\nv = q()\nfor x in p():\n    r(x, v)\ns()\n";
    let run = rig.submit(&script(&["a !priority 2", "gone !priority 1", "b !priority 1", "last"], rest)).await;
    rig.settle(&rig.next_of("a").await, list(1_000)).await;
    rig.settle(&rig.next_of("gone").await, Outcome::Cancel).await;
    rig.succeed(&rig.next_of("last").await, "1").await;
    let view = rig.run(&run).await;
    assert_eq!((view.state, view.counts.cancelled), (RunState::Succeeded, 1_001));
}

async fn of_many_loops_only_those_are_begun_that_a_worker_needs(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | inner\nr = | b\nfor x in p():\n    for y in q(x):\n        r(y)\n";
    let run = rig.submit(&script(&["a", "inner !priority 1", "b"], rest)).await;
    rig.settle(&rig.next_of("a").await, list(100)).await;
    let sources = rig.lease(100).await;
    assert_eq!(sources.len(), 100);
    for source in &sources {
        rig.settle(source, list(ITEMS)).await;
    }
    assert_eq!(rig.lease(1).await.len(), 1);
    assert_eq!(passes(&rig, &run).await, 100 + BATCH);
    assert_eq!(rig.lease(BATCH as u32).await.len(), BATCH);
    assert_eq!(passes(&rig, &run).await, 100 + 2 * BATCH);
}

async fn inner_loops_wait_for_a_result_of_the_outermost_block(on: On) {
    let rig = Rig::new(on).await;
    let rest =
        "p = | a\nq = | inner\nr = | slow\ns = | b\nv = r()\nfor x in p():\n    for y in q(x):\n        s(y, v)\n";
    let run = rig.submit(&script(&["a", "inner", "slow !scope later", "b"], rest)).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2]").await;
    for source in rig.lease(2).await {
        rig.succeed(&source, "[1, 2, 3]").await;
    }
    assert!(rig.lease(10).await.is_empty());
    assert_eq!(passes(&rig, &run).await, 2);
    let rig = rig.restart().await;
    let slow = lease(&rig, &["later"], 1).await;
    rig.succeed(&slow[0], "9").await;
    let leases = rig.lease(10).await;
    assert_eq!(leases.len(), 6);
    for lease in &leases {
        rig.succeed(lease, "0").await;
    }
    assert_eq!(rig.run(&run).await.state, RunState::Succeeded);
    assert!(rig.jobs(&run).await.iter().all(|job| job.state == JobState::Succeeded));
}

async fn a_paused_run_whose_outer_result_comes_goes_on_when_it_is_resumed(on: On) {
    let rig = Rig::new(on).await;
    let rest = "p = | a\nq = | slow\nr = | b\nv = q()\nfor x in p():\n    r(x, v)\n";
    let run = rig.submit(&script(&["a", "slow !scope later", "b"], rest)).await;
    let slow = lease(&rig, &["later"], 1).await;
    rig.succeed(&rig.next_of("a").await, "[1, 2, 3]").await;
    rig.queue.pause(protocol::api::Pause::Run(run.clone())).await.unwrap();
    rig.succeed(&slow[0], "1").await;
    assert!(rig.lease(10).await.is_empty());
    rig.queue.resume(protocol::api::Pause::Run(run.clone())).await.unwrap();
    assert_eq!(rig.lease(10).await.len(), 3);
}

on_both_stores! {
    a_worker_that_serves_only_what_follows_in_a_pass_makes_no_passes,
    a_call_of_higher_priority_that_waits_in_the_pass_makes_no_passes,
    passes_that_wait_for_an_outer_result_are_made_when_it_is_there,
    a_call_that_waits_for_an_outer_result_leaves_the_other_calls_of_the_pass_alone,
    an_outer_result_that_starts_over_stops_the_passes_until_it_is_there_again,
    passes_of_a_cancelled_outer_result_are_made_one_batch_for_each_request,
    a_worker_goes_on_by_itself_while_batches_of_passes_give_it_nothing,
    of_many_loops_only_those_are_begun_that_a_worker_needs,
    inner_loops_wait_for_a_result_of_the_outermost_block,
    a_paused_run_whose_outer_result_comes_goes_on_when_it_is_resumed,
}
