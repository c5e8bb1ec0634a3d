//! A machine without user namespaces: what the level still promises holds, and nobody is told more.

use std::process::Command;

use serde_json::Value;

use crate::fleet::{Fleet, Process, eventually};

/// In a user namespace of its own a limit of namespaces is one's own to set.
const SCRIPT: &str = r#"echo 0 > /proc/sys/user/max_user_namespaces && exec "$@""#;

/// A `bue` that can make no user namespaces.
fn without_namespaces(fleet: &mut Fleet, words: &[&str]) -> Process {
    let own = fleet.command(words);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", SCRIPT, "sh"]);
    command.arg(own.get_program()).args(own.get_args()).current_dir(fleet.path());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    fleet.spawn_command(command, words[0])
}

#[test]
fn a_worker_that_must_have_all_layers_does_not_start_without_them() {
    let mut fleet = Fleet::empty();
    let ended = without_namespaces(&mut fleet, &["worker", "--check", "--sandbox", "strict"]).end();
    assert_ne!(ended.code, Some(0));
    assert!(ended.stdout.contains("user.max_user_namespaces"), "{}", ended.stdout);
    ended.says(&["lacks users, processes, files, attempts, network", "--sandbox standard"]);
}

const STEPS: &str = r#"
token:
    python
    step
    `
def step():
    try:
        return open('{data}/hub/token').read()
    except OSError as error:
        return f'refused: {error}'
`
trace:
    python
    step
    `
def step():
    import ctypes
    return ctypes.CDLL(None).ptrace(0, 0, 0, 0)
`
offline:
    !network off
    python
    step
    `def step(): return 1`
plain:
    python
    step
    `def step(): return 1`
p1 = | token
p2 = | trace
p3 = | offline
p4 = | plain
p1()
p2()
p3()
p4()
"#;

#[test]
fn without_namespaces_steps_are_still_kept_from_what_the_other_layers_guard() {
    let mut fleet = Fleet::empty().start(0);
    let mut worker = without_namespaces(&mut fleet, &["worker", "-n", "2"]);
    worker.wait_for("sandbox: without users, processes, files, attempts, network");
    let data = fleet.path().join(".bue");
    fleet.write("steps/steps.bue", &STEPS.replace("{data}", &data.display().to_string()));
    let run = fleet.bue(&["upload", "steps/steps.bue"]).stdout.trim().to_owned();
    let told = eventually("the end of a run", || {
        let told = fleet.bue(&["status", &run, "--json"]).expect(0);
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        (told["run"]["state"] != "running").then_some(told)
    });
    let job = |name| told["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap();
    let value = |name| job(name)["value"]["place"]["json"].clone();
    assert!(value("token").as_str().is_some_and(|text| text.starts_with("refused")), "{told}");
    assert_eq!(value("trace"), -1, "{told}");
    assert_eq!(value("plain"), 1, "{told}");
    let log = fleet.bue(&["logs", job("plain")["id"].as_str().unwrap()]).stdout;
    assert!(log.contains("the sandbox of this attempt is without users, processes, files"), "{log}");
    let error = &job("offline")["error"];
    assert_eq!(error["kind"], "start", "{told}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("bue worker --check")), "{told}");
    assert!(!worker.stderr().contains("no warm interpreter"), "{}", worker.stderr());
}
