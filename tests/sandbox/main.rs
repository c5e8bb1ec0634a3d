//! Hostile steps, run for real through hub and worker: none gets anything, none stays, each is reported by its name, and the
//! worker goes on. As root and as an ordinary user.
//!
//! - `attacks/*.py`: what is tried. [`expected`]: what must come of each.
//! - [`range`]: the fleet that is attacked, with things planted where nobody may look.
//! - [`lesser`]: a machine that lacks layers.

#[path = "../fleet/mod.rs"]
mod fleet;

mod expected;
mod lesser;
mod range;

use expected::{ATTACKS, Attack, End};
use fleet::{Fleet, eventually};
use range::{CANARY, Range, User, processes_with};

/// Attacks that are tried at least.
const COUNT_MIN: usize = 40;

fn attack_as(user: User) {
    let mut range = Range::prepare(user);
    let report = range.attack();
    let mut faults = Vec::new();
    for attack in ATTACKS {
        let Some(end) = report.of(attack.name) else {
            faults.push(format!("{}: did not run", attack.name));
            continue;
        };
        if !is_as_expected(attack, end) {
            faults.push(format!("{}: expected {:?}, ended {end:?}", attack.name, attack.end));
        }
    }
    assert!(faults.is_empty(), "{} of {} attacks:\n{}", faults.len(), ATTACKS.len(), faults.join("\n"));
    for secret in [CANARY, &range.token()] {
        assert!(!report.text.contains(secret), "a value or an error holds {secret}:\n{}", report.text);
        assert_eq!(range.logs_with(secret), Vec::<String>::new());
    }
    assert_eq!(range.lingering(), Vec::<i32>::new());
    range.expect_work_as_before();
}

fn is_as_expected(attack: &Attack, end: &range::Ended) -> bool {
    match attack.end {
        End::Refused => end.value.as_deref().is_some_and(|value| value.starts_with("refused")),
        End::Named(kinds) => end.kind.as_deref().is_some_and(|kind| kinds.contains(&kind)),
    }
}

#[test]
fn no_attack_on_a_worker_of_an_ordinary_user_gets_through() {
    attack_as(User::Ordinary);
}

#[test]
fn no_attack_on_a_worker_of_root_gets_through() {
    match nix::unistd::geteuid().is_root() {
        true => attack_as(User::Root),
        // Then the other test has shown all that this user can show.
        false => assert!(ATTACKS.len() >= COUNT_MIN),
    }
}

/// Starts a process that leaves its group and its session, and goes on itself.
const DAEMON: &str = r#"
step:
    python
    step
    `
import subprocess, sys, time

def step():
    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', 'MARK'], start_new_session=True)
    time.sleep(600)
`
p = | step
p()
"#;

#[test]
fn nothing_of_a_step_outlives_a_worker_that_is_killed() {
    let mut fleet = Fleet::empty().start(1);
    let mark = format!("left-by-{}", fleet.path().file_name().unwrap().display());
    fleet.write("daemon/daemon.bue", &DAEMON.replace("MARK", &mark));
    fleet.bue(&["upload", "daemon/daemon.bue"]).expect(0);
    eventually("the daemon of a step", || (!processes_with(&mark).is_empty()).then_some(()));
    fleet.workers[0].kill();
    eventually("the end of all of it", || processes_with(&mark).is_empty().then_some(()));
}

#[test]
fn there_are_enough_attacks_and_none_is_named_twice() {
    let mut names: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
    assert!(names.len() >= COUNT_MIN, "{}", names.len());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ATTACKS.len());
}
