//! `bue demo`: a whole fleet for one run, of which nothing is left.

mod fleet;

use std::fs;

use fleet::{Fleet, Process, eventually, is_alive};

/// Processes whose command line has `text`.
fn processes_with(text: &str) -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text) && is_alive(*pid)
        })
        .collect()
}

/// A fleet whose temporary files are in a folder of its own, so that its processes can be told from others.
fn with_own_temporary_folder() -> Fleet {
    let fleet = Fleet::empty();
    let folder = fleet.path().join("tmp");
    fs::create_dir(&folder).unwrap();
    fleet.with("TMPDIR", folder.to_str().unwrap())
}

fn temporary_folder(fleet: &Fleet) -> String {
    fleet.path().join("tmp").display().to_string()
}

#[test]
fn the_demo_shows_results_and_leaves_nothing_running() {
    let mut fleet = with_own_temporary_folder();
    let ended = fleet.bue(&["demo"]).expect(0);
    assert!(ended.stdout.contains("Account 001") && ended.stdout.contains("each exactly once"), "{}", ended.stdout);
    assert_eq!(processes_with(&temporary_folder(&fleet)), Vec::<i32>::new());
    assert_eq!(fs::read_dir(fleet.path().join("tmp")).unwrap().count(), 0, "files are left");
}

/// What the demo printed as the command that starts `name` again, and its process.
fn printed(demo: &Process, name: &str) -> (i32, String) {
    eventually("the fleet's description", || {
        let text = demo.stderr();
        let line = text.lines().find(|line| line.starts_with(&format!("  {name} (pid ")))?;
        let (pid, command) = line.split_once("(pid ")?.1.split_once("): ")?;
        Some((pid.parse().ok()?, command.to_owned()))
    })
}

#[test]
fn a_kept_fleet_survives_the_kill_of_its_hub() {
    let mut fleet = with_own_temporary_folder();
    let mut demo = fleet.spawn(&["demo", "--keep"]);
    let (pid, command) = printed(&demo, "hub");
    eventually("the middle of the run", || {
        demo.stderr().lines().any(|line| line.starts_with("run r") && line.contains("parked")).then_some(())
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    demo.wait_for("this starts it again");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("exec {command}"));
    let mut hub = fleet.spawn_command(shell, "hub-by-hand");
    hub.wait_for("hub listens on");
    demo.wait_for("the fleet stays up");
    assert!(demo.stdout().contains("each exactly once"), "{}", demo.stdout());
    assert!(!processes_with(&temporary_folder(&fleet)).is_empty());
    demo.terminate();
    demo.end().expect(0);
    let by_hand = hub.pid();
    hub.kill();
    eventually("the end of all processes", || {
        processes_with(&temporary_folder(&fleet)).iter().all(|pid| *pid == by_hand).then_some(())
    });
}

#[test]
fn a_killed_demo_takes_its_fleet_with_it() {
    let mut fleet = with_own_temporary_folder();
    let mut demo = fleet.spawn(&["demo", "--keep"]);
    printed(&demo, "worker 3");
    assert!(processes_with(&temporary_folder(&fleet)).len() >= 6);
    demo.kill();
    eventually("the end of all processes", || processes_with(&temporary_folder(&fleet)).is_empty().then_some(()));
}

#[test]
fn a_demo_that_is_stopped_stops_its_fleet() {
    let mut fleet = with_own_temporary_folder();
    let mut demo = fleet.spawn(&["demo"]);
    demo.wait_for("is run r");
    demo.terminate();
    demo.end().expect(1).says(&["stopped before the run had ended"]);
    eventually("the end of all processes", || processes_with(&temporary_folder(&fleet)).is_empty().then_some(()));
}
