//! A worker that ends in good order is forgotten at once.

mod fleet;

use fleet::Fleet;
use serde_json::Value;

fn workers(fleet: &mut Fleet) -> Vec<i64> {
    let status: Value = serde_json::from_str(&fleet.bue(&["status", "--json"]).expect(0).stdout).unwrap();
    status["workers"].as_array().unwrap().iter().map(|worker| worker["info"]["pid"].as_i64().unwrap()).collect()
}

#[test]
fn a_worker_that_is_told_to_stop_is_no_longer_shown_when_it_has_ended() {
    // Nobody is silent for long enough to be forgotten for that.
    let mut fleet = Fleet::empty().with("BUE_LAPSE", "1h").start(2);
    fleet.write("x.bue", "a:\n    python\n    f\n    `def f(): return 1`\np = | a\np()\n");
    fleet.bue(&["upload", "x.bue", "--wait"]).expect(0);
    let pids: Vec<i64> = fleet.workers.iter().map(|worker| worker.pid().into()).collect();
    let mut both = pids.clone();
    both.sort_unstable();
    // One of them may have ended the run before the hub has heard of the other.
    fleet::eventually("both workers are shown", || {
        let mut shown = workers(&mut fleet);
        shown.sort_unstable();
        (shown == both).then_some(())
    });
    let worker = fleet.workers.remove(0);
    worker.terminate();
    worker.end().expect(0);
    assert_eq!(workers(&mut fleet), [pids[1]]);
}
