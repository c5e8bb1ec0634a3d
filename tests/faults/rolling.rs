//! An upgrade while work goes on: each process is told to stop in turn, and another one takes its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::{Fleet, eventually};
use crate::load::{Queue, ask, history};

const PASSES: usize = 300;

/// A loop over numbers, of which every fifth takes longer; each pass notes its beginning and its end.
fn script(journal: &Path) -> String {
    let journal = journal.display();
    format!(
        "\
numbers:
    python
    numbers
    `def numbers(): return list(range({PASSES}))`

work:
    python
    work
    `def work(number):
    import time
    def note(word):
        with open('{journal}', 'a') as file:
            file.write(f'{{word}} {{number}}\\n')
    note('begun')
    time.sleep(1.5 if number % 5 == 0 else 0.02)
    note('ended')
    return number`

all_numbers = | numbers
one = | work
for number in all_numbers():
    one(number)
"
    )
}

struct Journal(PathBuf);

impl Journal {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until that many further passes have begun or ended.
    fn advances_by(&self, lines: usize) {
        let target = self.lines().len() + lines;
        eventually("the run to go on", || (self.lines().len() >= target).then_some(()));
    }
}

#[test]
fn a_fleet_is_replaced_process_by_process_and_no_attempt_is_lost() {
    let mut fleet = Fleet::unenclosed().start(0);
    fleet.start_worker(&["-n", "4"]);
    fleet.start_worker(&["-n", "4"]);
    let journal = Journal(fleet.path().join("journal"));
    fleet.write("s/x.bue", &script(&journal.0));
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    for _ in 0..2 {
        journal.advances_by(40);
        let old = fleet.workers.remove(0);
        old.terminate();
        fleet.start_worker(&["-n", "4"]);
        old.end().expect(0);
    }
    journal.advances_by(40);
    // One that ends in good order takes its note of it along.
    let place = fleet.noted("hub");
    let hub = fleet.hub.take().unwrap();
    hub.terminate();
    hub.end().expect(0);
    let mut hub = fleet.spawn(&["hub", "-b", &place]);
    hub.wait_for("hub listens on http://");
    fleet.hub = Some(hub);
    assert!(journal.lines().len() < 2 * PASSES, "the run was over before the fleet was replaced");

    let run = upload.end().expect(0).run();
    let view = fleet.run_view(&run);
    assert_eq!((&view["state"], &view["counts"]["succeeded"]), (&"succeeded".into(), &(PASSES + 1).into()), "{view:#}");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    journal.lines().into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    assert_eq!(counts.len(), 2 * PASSES, "passes that have begun and ended");
    assert!(counts.values().all(|count| *count == 1), "passes that ran again: {counts:?}");
    let queue = Queue::of(&fleet);
    assert_eq!(history(&mut fleet, &queue), (PASSES + 1, 0), "jobs with a success, and with more than one");
    let others = ask(&mut fleet, &queue, "SELECT count(*) FROM attempts WHERE outcome <> 'success'");
    assert_eq!(others, 0, "attempts that failed or were handed back");

    let status: Value = serde_json::from_str(&fleet.bue(&["status", "--json"]).expect(0).stdout).unwrap();
    let mut shown: Vec<i64> =
        status["workers"].as_array().unwrap().iter().map(|worker| worker["info"]["pid"].as_i64().unwrap()).collect();
    let mut there: Vec<i64> = fleet.workers.iter().map(|worker| worker.pid().into()).collect();
    shown.sort_unstable();
    there.sort_unstable();
    assert_eq!(shown, there, "the workers that took the places of the first ones");
    for worker in fleet.workers.drain(..) {
        worker.terminate();
        worker.end().expect(0);
    }
}
