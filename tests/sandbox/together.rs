//! What all steps of a worker have between them: bounded by control groups, where the machine lets the worker make any.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fleet::{Fleet, Process, eventually, is_alive};

/// Each of them is within the bounds of a step; all of them together are not within those of the worker.
const STEPS: &str = r#"
large:
    python
    step
    !retries 0
    `
import time

def step():
    kept = bytearray(b"1") * (180 << 20)
    time.sleep(4)
    return len(kept)
`
many:
    python
    step
    !retries 0
    `
from crowd import crowd, member

def step():
    with crowd() as members:
        while len(members) < 150:
            members.append(member())
        return len(members)
`
hog:
    python
    step
    !retries 0
    `
import time
from crowd import crowd, member

def step():
    with crowd() as members:
        try:
            while True:
                members.append(member())
        except OSError:
            time.sleep(4)
    return "all of them"
`
plain:
    python
    step
    !retries 0
    `def step(): return 1`
beside:
    python
    step
    !isolation shared
    !retries 0
    `async def step(): return 1`
p5 = | beside
p1 = | large
p2 = | many
p3 = | plain
p4 = | hog
"#;

/// Processes of a step, which end with what they are there for.
const CROWD: &str = r#"
import contextlib, subprocess

@contextlib.contextmanager
def crowd():
    members = []
    try:
        yield members
    finally:
        for each in members:
            each.kill()
            each.wait()

def member():
    return subprocess.Popen(["sleep", "60"])
"#;

/// A worker whose steps have 400 MiB and 120 processes together; `None`: it says that it can make no groups here.
fn bounded(fleet: &mut Fleet) -> Option<(Process, Vec<PathBuf>)> {
    let command = fleet.command(&["worker", "-n", "4"]);
    let mut worker = fleet.spawn_command(command, "worker");
    worker.wait_for("takes jobs");
    let told = worker.stderr();
    if !told.contains("steps together: at most 0.4 GiB of memory and 120 processes") {
        let check = fleet.bue(&["worker", "--check"]).expect(0);
        assert!(check.stdout.contains("all steps together: no bound, for "), "{told}\n{}", check.stdout);
        return None;
    }
    let groups = groups_of(worker.pid());
    assert!(!groups.is_empty());
    Some((worker, groups))
}

/// The folders of the groups that a worker has made for its steps.
fn groups_of(worker: i32) -> Vec<PathBuf> {
    fn look(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    found.push(entry.path());
                }
                look(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), &format!("bue-steps-{worker}"), &mut found);
    found
}

fn fleet() -> Fleet {
    let fleet = Fleet::empty().with("BUE_WORKER_STEPS_MEMORY_BYTES_MAX", "400MiB");
    let fleet = fleet.with("BUE_WORKER_STEPS_PROCESSES_MAX", "120").with("BUE_WORKER_MEMORY_RESERVE_BYTES", "1");
    fleet.with("BUE_WORKER_RELEASE_DELAY", "1s").start(0)
}

fn outcome(fleet: &mut Fleet, calls: &str) -> Vec<Value> {
    let run = begin(fleet, calls);
    end_of(fleet, &run)
}

fn begin(fleet: &mut Fleet, calls: &str) -> String {
    fleet.write("steps/crowd.py", CROWD);
    fleet.write("steps/steps.bue", &format!("{STEPS}{calls}"));
    fleet.bue(&["upload", "steps/steps.bue"]).expect(0).stdout.trim().to_owned()
}

fn end_of(fleet: &mut Fleet, run: &str) -> Vec<Value> {
    let told = eventually("the end of a run", || {
        let told: Value = serde_json::from_str(&fleet.bue(&["status", run, "--json"]).expect(0).stdout).unwrap();
        (told["run"]["state"] != "running").then_some(told)
    });
    told["jobs"].as_array().unwrap().clone()
}

#[test]
fn steps_that_have_too_much_memory_between_them_are_ended_one_by_one_and_the_worker_goes_on() {
    let mut fleet = fleet();
    let Some((mut worker, groups)) = bounded(&mut fleet) else { return };
    let jobs = outcome(&mut fleet, "p1()\np1()\np1()\n");
    let ended = jobs.iter().filter(|job| job["error"]["kind"] == "memory").count();
    let succeeded = jobs.iter().filter(|job| job["value"]["place"]["json"] == 180 << 20).count();
    assert!(ended >= 1 && succeeded >= 1 && ended + succeeded == 3, "{jobs:?}");
    assert_eq!(outcome(&mut fleet, "p3()\n")[0]["value"]["place"]["json"], 1);
    worker.terminate();
    eventually("the end of the worker", || worker.has_ended().then_some(()));
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?} are left");
}

#[test]
fn steps_that_start_too_many_processes_between_them_are_told_and_the_worker_goes_on() {
    let mut fleet = fleet();
    let Some((mut worker, groups)) = bounded(&mut fleet) else { return };
    let jobs = outcome(&mut fleet, "p2()\n");
    assert_eq!(jobs[0]["error"]["kind"], "processes", "{jobs:?}");
    assert_eq!(outcome(&mut fleet, "p3()\n")[0]["value"]["place"]["json"], 1);
    // One that is killed leaves its groups behind; the next one removes them.
    let pid = worker.pid();
    worker.kill();
    eventually("the end of all that it started", || {
        let inside = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        groups.iter().all(|group| inside(group).is_empty()).then_some(())
    });
    assert!(!is_alive(pid) && groups.iter().any(|group| group.exists()));
    let (worker, _) = bounded(&mut fleet).unwrap();
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?} are left");
    drop(worker);
}

#[test]
fn a_step_that_holds_all_processes_costs_no_other_step_an_attempt() {
    let mut fleet = fleet();
    let Some((worker, groups)) = bounded(&mut fleet) else { return };
    let held = |group: &PathBuf| fs::read_to_string(group.join("pids.current")).ok()?.trim().parse::<u64>().ok();
    let hog = begin(&mut fleet, "p4()\n");
    eventually("a step that has all processes", || {
        groups.iter().filter_map(held).any(|held| held >= 118).then_some(())
    });
    let jobs = outcome(&mut fleet, "p3()\np3()\np3()\np5()\np5()\n");
    assert!(jobs.iter().all(|job| job["value"]["place"]["json"] == 1), "{jobs:?}");
    assert_eq!(end_of(&mut fleet, &hog)[0]["value"]["place"]["json"], "all of them");
    drop(worker);
}
