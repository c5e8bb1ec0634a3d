//! Logs of real steps: followed while they run, kept afterwards.

mod fleet;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use fleet::{Fleet, eventually};

const SCRIPT: &str = "\
work:
    python
    work
    `
import os, time

def work():
    print('begun', flush=True)
    while not os.path.exists('GATE'):
        time.sleep(0.01)
    print('going on')
    raise ValueError('no') if os.environ['BUE_ATTEMPT'] == '1' else SystemExit(0)
`
!retries 1 !backoff 1ms..1ms
p = work |
p()
";

/// A fleet in which the step waits for a file, at a place that is told.
fn at_the_gate() -> (Fleet, std::path::PathBuf) {
    let mut fleet = Fleet::unenclosed().start(1);
    let gate = fleet.path().join("gate");
    let script = SCRIPT.replace("GATE", &gate.display().to_string()).replace("`\n!retries", "`\n    !retries");
    fleet.write("script.bue", &script);
    fleet.bue(&["upload", "script.bue"]).expect(0);
    (fleet, gate)
}

#[test]
fn a_log_is_followed_from_attempt_to_attempt_until_the_job_has_ended() {
    let (mut fleet, gate) = at_the_gate();
    let follower = fleet.spawn(&["logs", "j1", "-f"]);
    eventually("the first line while the step runs", || follower.stdout().contains("Z begun\n").then_some(()));
    assert!(!follower.stdout().contains("going on"));
    let shown = fleet.bue(&["logs", "j1"]).expect(0).says(&["is running attempt 1"]);
    assert!(shown.stdout.contains("Z begun\n"), "{}", shown.stdout);
    std::fs::write(gate, "").unwrap();
    let ended = follower.end().expect(1).says(&["attempt 2", "job j1 has failed"]);
    assert_eq!(ended.stdout.matches("Z begun\n").count(), 2, "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("Z going on\n").count(), 2, "{}", ended.stdout);

    let first = fleet.bue(&["logs", "j1", "--attempt", "1"]).expect(0).stdout;
    let last = fleet.bue(&["logs", "j1"]).expect(0).stdout;
    assert!(first.contains("Z going on\n") && first != last, "{first}\n{last}");
    let status = fleet.bue(&["status", "--json"]).expect(0).stdout;
    let run = serde_json::from_str::<serde_json::Value>(&status).unwrap()["runs"][0]["id"].as_str().unwrap().to_owned();
    let whole = fleet.bue(&["logs", &run]).expect(0).stdout;
    assert!(whole.starts_with("--- j1 work\n") && whole.ends_with(&last), "{whole}");
}

#[test]
fn who_follows_ends_without_a_word_when_nobody_reads_on() {
    let (fleet, gate) = at_the_gate();
    let mut command = fleet.command(&["logs", "j1", "-f"]);
    let mut follower = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(follower.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.ends_with("Z begun\n"), "{line}");
    std::fs::write(gate, "").unwrap();
    let mut told = String::new();
    follower.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!((follower.wait().unwrap().code(), told.as_str()), (Some(0), ""));
}

#[test]
fn what_has_left_no_log_says_so() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", "a:\n    python\n    f\n    `def f(): return 1`\np = | a\np()\n");
    let run = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0).run();
    fleet.bue(&["logs", "j1"]).expect(0).says(&["job j1 has printed nothing\n"]);
    fleet.bue(&["logs", "j1", "--attempt", "1"]).expect(0).says(&["attempt 1 of job j1 has left no log"]);
    fleet.bue(&["logs", &run]).expect(0).says(&["no job of run", "has left a log\n"]);
    for number in ["0", "2", "99"] {
        let told = format!("job j1 (`a`) has no attempt {number}: there is attempt 1 only");
        fleet.bue(&["logs", "j1", "--attempt", number]).expect(2).says(&[&told, "bue explain j1"]);
    }
}
