//! Hostile steps, run for real through hub and worker: none gets anything, none stays, each is reported by its name, and the
//! worker goes on. As root and as an ordinary user.
//!
//! - `attacks/*.py`: what is tried. [`expected`]: what must come of each.
//! - [`range`]: the fleet that is attacked, with things planted where nobody may look.
//! - [`neighbour`]: an attempt beside a hostile one.
//! - [`lesser`]: a machine that lacks layers. [`pressure`]: one that lacks memory. [`together`]: what steps have between them.

#[path = "../fleet/mod.rs"]
mod fleet;

mod expected;
mod lesser;
mod neighbour;
mod pressure;
mod range;
mod reuse;
mod together;

use expected::{ATTACKS, Attack, End, OPEN_TO_ALL, OPEN_TO_ROOT};
use fleet::{Fleet, eventually};
use range::{CANARY, Range, SHARED, User, processes_with};

/// Attacks that are tried at least.
const COUNT_MIN: usize = 40;

fn attack_as(user: User) {
    let mut range = Range::prepare(user);
    let forked: Vec<&Attack> = ATTACKS.iter().collect();
    expect_refusals(&mut range, &forked, "");
    // What reaches out and does not wear out: the same walls stand around a new interpreter.
    let reaching: Vec<&Attack> =
        ATTACKS.iter().filter(|attack| matches!(attack.file, "files" | "kernel" | "network")).collect();
    expect_refusals(&mut range, &reaching, "!isolation fresh");
    // Nor is there more to reach from an interpreter that steps share, but for their own files.
    let is_refused = |attack: &&Attack| matches!(attack.end, End::Refused) && attack.name != "find_file_of_last_step";
    let shared: Vec<&Attack> = reaching.into_iter().filter(is_refused).collect();
    expect_refusals(&mut range, &shared, SHARED);
    range.expect_work_as_before();
}

fn expect_refusals(range: &mut Range, attacks: &[&Attack], settings: &str) {
    let report = range.attack(attacks, settings);
    let mut faults = Vec::new();
    for attack in attacks {
        let Some(end) = report.of(attack.name) else {
            faults.push(format!("{}: did not run", attack.name));
            continue;
        };
        if !is_as_expected(attack, end) {
            faults.push(format!("{}: expected {:?}, ended {end:?}", attack.name, attack.end));
        }
    }
    assert!(faults.is_empty(), "{} of {} attacks {settings}:\n{}", faults.len(), attacks.len(), faults.join("\n"));
    for secret in [CANARY, &range.token()] {
        assert!(!report.text.contains(secret), "a value or an error holds {secret}:\n{}", report.text);
        assert_eq!(range.logs_with(secret), Vec::<String>::new());
    }
    assert_eq!(range.lingering(), Vec::<i32>::new());
}

/// An attack that no machine lets through would show nothing about the sandbox. Left out are those that would harm this one.
#[test]
fn attacks_get_through_where_there_is_no_sandbox() {
    let (user, needs_root) = match nix::unistd::geteuid().is_root() {
        true => (User::Root, true),
        false => (User::Ordinary, false),
    };
    let mut range = Range::prepare_without_sandbox(user);
    let named = |names: &'static [&'static str]| ATTACKS.iter().filter(|attack| names.contains(&attack.name));
    let attacks: Vec<&Attack> = named(OPEN_TO_ALL).chain(named(OPEN_TO_ROOT).filter(|_| needs_root)).collect();
    let report = range.attack(&attacks, "");
    let failed = attacks.iter().filter_map(|attack| {
        let end = report.of(attack.name);
        let is_through = end.and_then(|end| end.value.as_deref()).is_some_and(|value| value.starts_with("BROKE OUT"));
        (!is_through).then(|| format!("{}: {end:?}", attack.name))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
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
