//! Attempts that are ended while they run, by people or by the hub: they stay in the history, with what they printed.

mod fleet;

use std::io::Write;
use std::process::Stdio;

use fleet::{Fleet, eventually};
use serde_json::Value;

const SCRIPT: &str = "\
!secret API_TOKEN
wait:
    python
    wait
    `
import os, time

def wait():
    print('begun with', os.environ['API_TOKEN'])
    print('attempt', os.environ['BUE_ATTEMPT'], flush=True)
    time.sleep(600)
`
p = wait |
p()
";

fn set_secret(fleet: &Fleet) {
    let mut command = fleet.command(&["secret", "set", "API_TOKEN"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hunter2-hunter2\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// A fleet in which the step's first attempt has printed all it will.
fn begun() -> (Fleet, String) {
    let mut fleet = Fleet::empty().with("BUE_BEAT", "200ms").start(1);
    set_secret(&fleet);
    fleet.write("script.bue", SCRIPT);
    let run = fleet.bue(&["upload", "script.bue"]).expect(0).run();
    prints(&mut fleet, "Z attempt 1\n");
    (fleet, run)
}

/// Waits until `bue logs` shows a line; the whole of what it shows then.
fn prints(fleet: &mut Fleet, line: &str) -> String {
    eventually(line, || Some(fleet.bue(&["logs", "j1"]).expect(0).stdout).filter(|log| log.contains(line)))
}

/// Waits until an attempt that is over has its log.
fn log_of_attempt(fleet: &mut Fleet, number: &str) -> String {
    let words = ["logs", "j1", "--attempt", number];
    eventually("the log of an ended attempt", || Some(fleet.bue(&words).expect(0).stdout).filter(|log| !log.is_empty()))
}

#[test]
fn a_step_that_is_cancelled_while_it_runs_leaves_what_it_printed_until_then() {
    let (mut fleet, run) = begun();
    fleet.bue(&["cancel", &run]).expect(0);
    let log = log_of_attempt(&mut fleet, "1");
    assert!(log.contains("Z begun with ***\n") && log.contains("Z attempt 1\n"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    assert_eq!(fleet.bue(&["logs", "j1"]).expect(0).stdout, log);
    let explained = fleet.bue(&["explain", "j1"]).expect(0).stdout;
    assert!(
        explained.contains("is cancelled") && explained.contains("cancelled: cancelled while it ran"),
        "{explained}"
    );
    let status: Value = serde_json::from_str(&fleet.bue(&["status", "--json"]).expect(0).stdout).unwrap();
    let sandbox = status["workers"][0]["info"]["sandbox"].as_str().unwrap();
    assert!(explained.contains(&format!(" {sandbox} ")), "not {sandbox}: {explained}");
    let view = fleet.run_view(&run);
    assert_eq!((&view["state"], &view["counts"]["cancelled"]), (&"cancelled".into(), &1.into()), "{view:#}");
}

#[test]
fn a_step_whose_job_is_started_over_leaves_the_log_of_the_attempt_that_was_ended() {
    let (mut fleet, _) = begun();
    fleet.bue(&["reset", "j1"]).expect(0);
    let log = log_of_attempt(&mut fleet, "1");
    assert!(log.contains("Z attempt 1\n"), "{log}");
    let log = prints(&mut fleet, "Z attempt 2\n");
    assert!(!log.contains("attempt 1\n"), "{log}");
}

/// Processes that print this are there, among all of this machine.
fn processes_with(word: &str) -> usize {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let environment = |folder: std::fs::DirEntry| std::fs::read(folder.path().join("environ")).ok();
    folders.filter_map(environment).filter(|text| String::from_utf8_lossy(text).contains(word)).count()
}

#[test]
fn many_attempts_that_are_cancelled_at_once_are_all_gone_and_the_worker_goes_on() {
    const COUNT: u64 = 120;
    let mut fleet = Fleet::empty().with("BUE_BEAT", "200ms").start(0);
    fleet.start_worker(&["-n", "121"]);
    let sleep = format!(
        "items:\n    python\n    items\n    `def items(): return list(range({COUNT}))`\n\
         wait:\n    python\n    wait\n    `\nimport subprocess, sys\n\ndef wait(number):\n    subprocess.run(['sleep', '600'], env={{'WAITS': 'for-{0}'}})\n`\n\
         source = | items\nwork = | wait\nfor item in source():\n    work(item)\n",
        std::process::id()
    );
    fleet.write("sleep.bue", &sleep);
    fleet.write("one.bue", "one:\n    python\n    one\n    `def one(): return 1`\np = | one\np()\n");
    let mark = format!("WAITS=for-{}", std::process::id());
    let run = fleet.bue(&["upload", "sleep.bue"]).expect(0).run();
    eventually("all of them run", || (processes_with(&mark) == COUNT as usize).then_some(()));
    fleet.bue(&["cancel", &run]).expect(0);
    fleet.bue(&["upload", "one.bue", "--wait"]).expect(0).says(&["1"]);
    eventually("none of their processes is left", || (processes_with(&mark) == 0).then_some(()));
    let view = fleet.run_view(&run);
    assert_eq!(view["counts"]["cancelled"], COUNT, "{view:#}");
    let worker = &fleet.workers[0];
    let said = worker.stderr();
    assert!(said.matches("revoked by the hub").count() < 10, "{said}");
    assert!(!said.contains("warm interpreter"), "{said}");
    let status = fleet.bue(&["status", "--json"]).expect(0).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["workers"][0]["info"]["slots"], 121, "{status:#}");
}
