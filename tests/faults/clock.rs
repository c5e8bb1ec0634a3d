//! The clock of the hub's machine is set, while it runs and between its starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fleet::{Fleet, Process, eventually};
use crate::load::{Load, Queue};
use crate::postgres::Server;

/// A clock that can be set, for one process.
struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One in a folder that is ahead by `offset`, such as `+3d`.
    fn at(folder: &Path, offset: &str) -> Self {
        let clock = Self { file: folder.join("clock") };
        clock.set(offset);
        clock
    }

    /// What a process needs to go by it. The time of day only: what counts from the start of the machine goes on as it does when a clock
    /// is set.
    fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset}\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Starts a hub that goes by this clock: on any port, or on the one it had before.
    fn start_hub(&self, fleet: &mut Fleet) -> Process {
        let place = fleet.noted("hub");
        let mut command = fleet.command(&["hub", "-b", &place]);
        command.envs(self.variables());
        let mut hub = fleet.spawn_command(command, "hub");
        hub.wait_for("hub listens on http://");
        hub
    }
}

/// The library that sets the clock of one process.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("faketime"));
    let mut found = folders.map(|folder| folder.join("libfaketimeMT.so.1")).filter(|file| file.exists());
    found.next().expect("libfaketime is needed: scripts/install-test-tools installs it")
}

/// The date that many days from now, as logs show it.
fn date_in(days: i32) -> String {
    let said = Command::new("date").args(["-u", "+%F", "-d", &format!("{days} days")]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_clock_that_is_set_while_the_hub_runs_costs_no_lease_and_keeps_no_job() {
    let mut fleet = Fleet::unenclosed().with("BUE_LAPSE", "3s").with("BUE_BEAT", "500ms");
    fleet.start_bucket();
    let clock = Clock::at(fleet.path(), "+0d");
    let hub = clock.start_hub(&mut fleet);
    fleet.start_worker(&["-n", "4"]);
    let mut load = Load::start(&mut fleet, 60, &[]);
    for offset in ["+3d", "-3d", "+3d"] {
        assert!(load.advances_by(10), "the load was over too early");
        clock.set(offset);
    }
    let queue = Queue::of(&fleet);
    load.ends_well(&mut fleet, &[], &queue);
    fleet.bue(&["upload", "load/load.bue"]).expect(0);
    let log = hub.stderr();
    assert!(log.contains(&date_in(3)), "the clock was not set:\n{log}");
    assert!(!log.contains("worker lost") && !log.contains("took"), "{log}");
}

#[test]
fn a_job_parked_under_a_clock_that_was_ahead_comes_again_soon_after_a_restart() {
    let mut fleet = Fleet::unenclosed().with("BUE_PENDING_FIRST", "500ms").with("BUE_PENDING_MAX", "500ms");
    fleet.start_bucket();
    let clock = Clock::at(fleet.path(), "+30d");
    let mut hub = clock.start_hub(&mut fleet);
    fleet.start_worker(&[]);
    let folder = fleet.path().display().to_string();
    let script = format!(
        "\
ask:
    python
    ask
    `from buelon.core.step import StepStatus

def ask():
    import os
    open('{folder}/asked-' + os.environ['BUE_ATTEMPT'], 'w').close()
    if os.path.exists('{folder}/ready'):
        return os.environ['BUE_ATTEMPT']
    return StepStatus.pending, None`

p = | ask
v = p()
"
    );
    fleet.write("s/x.bue", &script);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let asked = fleet.path().join("asked-1");
    eventually("a first attempt", || asked.exists().then_some(()));
    let pending = r#""pending": 1"#;
    eventually("a pending job", || fleet.bue(&["status", "--json"]).expect(0).stdout.contains(pending).then_some(()));
    hub.kill();
    clock.set("+0d");
    fleet.write("ready", "");
    let mut hub = clock.start_hub(&mut fleet);
    hub.wait_for("the clock was set back: parked jobs are brought forward");
    upload.end().expect(0);
}

#[test]
fn a_database_whose_clock_is_set_back_and_forth_costs_no_lease_and_hides_no_lost_worker() {
    let mut clock = None;
    let server = Server::with(|folder| clock.insert(Clock::at(folder, "+0d")).variables());
    let clock = clock.unwrap();
    let database = server.database();
    let mut fleet = Fleet::unenclosed()
        .with("BUE_POSTGRES", &server.address(&database))
        .with("BUE_TOKEN", "a-token-of-all-hubs")
        .with("BUE_LAPSE", "3s")
        .with("BUE_BEAT", "500ms");
    fleet.start_bucket();
    let bucket = fleet.noted("bucket");
    fleet.start_hub();
    let of_first = fleet.noted("hub");
    fleet.start_worker(&["-b", &of_first, "-n", "2"]);
    fleet.start_worker(&["-b", &of_first, "-n", "2"]);
    let mut load = Load::start(&mut fleet, 300, &["-b", &of_first]);
    let mut others = Vec::new();
    for (number, offset) in ["-3d", "+3d"].into_iter().enumerate() {
        assert!(load.advances_by(10), "the load was over too early");
        clock.set(offset);
        let data = format!("other-{number}");
        let mut other = fleet.spawn(&["--data-dir", &data, "hub", "-b", "127.0.0.1:0", "-k", &bucket]);
        other.wait_for("hub listens on http://");
        let address = fs::read_to_string(fleet.path().join(data).join("hub/address")).unwrap().trim().to_owned();
        fleet.start_worker(&["-b", &address, "-n", "2"]);
        others.push(other);
    }
    assert!(load.advances_by(10), "the load was over too early");
    clock.set("-3d");
    assert!(load.advances_by(10), "the load was over too early");
    fleet.workers.remove(0).kill();
    load.ends_well(&mut fleet, &[], &Queue::Database(&server, &database));
    let logs: Vec<String> = others.iter().chain(fleet.hub.as_ref()).map(Process::stderr).collect();
    let all = logs.concat();
    assert!(all.contains("worker lost: its jobs are available again"), "{all}");
    assert!(!all.contains("the clock was set back") && !all.contains("took leases back"), "{all}");
}
