//! Secrets from the command line to a step, and nowhere else.

mod fleet;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use fleet::{Ended, Fleet};

const SCRIPT: &str = "\
!secret API_TOKEN
use:
    python
    use
    `
import os

def use():
    token = os.environ['API_TOKEN']
    print('with', token)
    return len(token)
`
p = use |
p()
";

/// `bue secret set NAME` with this on its standard input.
fn set(fleet: &Fleet, name: &str, value: &str) -> Ended {
    let mut command = fleet.command(&["secret", "set", name]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The command may refuse before it reads.
    let _ = child.stdin.take().unwrap().write_all(value.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_secret_goes_from_the_command_line_to_the_step_and_is_shown_nowhere() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("script.bue", SCRIPT);
    fleet
        .bue(&["upload", "script.bue", "--wait"])
        .expect(1)
        .says(&["declares the secret API_TOKEN", "bue secret set API_TOKEN"]);

    set(&fleet, "API_TOKEN", "hunter2-hunter2\n").expect(0).says(&["secret API_TOKEN is set"]);
    assert_eq!(fleet.bue(&["secret", "list"]).expect(0).stdout, "API_TOKEN\n");
    fleet.bue(&["reset", "j1"]).expect(0);
    let ended = fleet.bue(&["upload", "script.bue", "--wait"]).expect(0);
    assert!(ended.stdout.contains("15"), "{}", ended.stdout);
    let log = fleet.bue(&["logs", "j2"]).expect(0).stdout;
    assert!(log.contains("with ***") && !log.contains("hunter2"), "{log}");

    let key = fleet.path().join(".bue/hub/secret-key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_nowhere(fleet.path(), b"hunter2");

    fleet.bue(&["secret", "remove", "API_TOKEN"]).expect(0);
    fleet.bue(&["secret", "remove", "API_TOKEN"]).expect(2).says(&["API_TOKEN"]);
    fleet.bue(&["secret", "list"]).expect(0).says(&["there are no secrets"]);
}

#[test]
fn a_name_or_a_value_that_is_none_is_refused_before_anybody_is_asked() {
    let fleet = Fleet::empty();
    set(&fleet, "a-b", "x").expect(2).says(&["`a-b`", "letters, digits and `_`"]);
    set(&fleet, "BUE_TOKEN", "x").expect(2).says(&["BUE_TOKEN"]);
    set(&fleet, "A", "\n").expect(2).says(&["no value for A"]);
}

#[test]
fn without_a_hub_a_secret_is_a_variable_of_the_user() {
    let mut fleet = Fleet::empty();
    fleet.write("script.bue", SCRIPT);
    fleet.bue(&["run", "script.bue"]).expect(1).says(&["declares the secret API_TOKEN", ".env"]);
    fleet.write(".env", "API_TOKEN=from-the-file\n");
    let ended = fleet.bue(&["run", "script.bue"]).expect(0);
    assert!(ended.stdout.contains("13") && ended.stderr.contains("with ***"), "{ended:?}");
    assert!(!ended.stderr.contains("from-the-file"), "{ended:?}");
}

/// No file of the data folder holds it.
fn assert_nowhere(folder: &std::path::Path, wanted: &[u8]) {
    for entry in fs::read_dir(folder.join(".bue")).unwrap().chain(fs::read_dir(folder.join(".logs")).unwrap()) {
        let path = entry.unwrap().path();
        let mut open = vec![path];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if let Ok(content) = fs::read(&path) {
                assert!(!content.windows(wanted.len()).any(|part| part == wanted), "{}", path.display());
            }
        }
    }
}
