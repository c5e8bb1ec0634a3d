//! A machine that is out of memory: a step is ended for it, by name, and the worker goes on.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::fleet::{Fleet, eventually};

/// Memory that the worker and its steps have between them.
const MEMORY_BYTES: u64 = 256 << 20;

/// A control group with little memory; `None`: this user can make none, or this machine has none of version 1.
struct Group(PathBuf);

impl Group {
    fn make() -> Option<Self> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/memory/bue-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        fs::write(group.0.join("memory.limit_in_bytes"), MEMORY_BYTES.to_string()).ok()?;
        Some(group)
    }

    /// The same command, run within it.
    fn enclose(&self, own: &Command) -> Command {
        let mut command = Command::new("sh");
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        command.args(["-c", &script, "sh"]).arg(own.get_program()).args(own.get_args());
        if let Some(folder) = own.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Memory that is shared is bounded by no limit of a process before it is much.
const STEPS: &str = r#"
bomb:
    python
    step
    `
import mmap

def step():
    kept = mmap.mmap(-1, 600 << 20)
    for place in range(0, len(kept), 4096):
        kept[place] = 1
    return "all of it"
`
plain:
    python
    step
    `def step(): return 1`
p1 = | bomb
p2 = | plain
p1()
p2()
"#;

#[test]
fn where_memory_ends_it_is_the_step_that_is_ended_and_not_the_worker() {
    let Some(group) = Group::make() else { return };
    // What steps have together is no bound here.
    let fleet = Fleet::empty().with("BUE_WORKER_STEPS_MEMORY_BYTES_MAX", "64GiB");
    let mut fleet = fleet.with("BUE_WORKER_MEMORY_RESERVE_BYTES", "1").start(0);
    let own = fleet.command(&["worker", "-n", "1"]);
    let mut worker = fleet.spawn_command(group.enclose(&own), "worker");
    worker.wait_for("takes jobs");
    fleet.write("steps/steps.bue", STEPS);
    let run = fleet.bue(&["upload", "steps/steps.bue"]).stdout.trim().to_owned();
    let told = eventually("the end of a run", || {
        let told: Value = serde_json::from_str(&fleet.bue(&["status", &run, "--json"]).expect(0).stdout).unwrap();
        (told["run"]["state"] != "running").then_some(told)
    });
    let job = |name| told["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap();
    assert_eq!(job("bomb")["error"]["kind"], "memory", "{told}");
    assert_eq!(job("plain")["value"]["place"]["json"], 1, "{told}");
    assert!(!worker.has_ended(), "{}", worker.stderr());
    worker.terminate();
    eventually("the end of the worker", || worker.has_ended().then_some(()));
    eventually("an empty group", || fs::remove_dir(&group.0).is_ok().then_some(()));
}
