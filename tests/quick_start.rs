//! The way a user takes: example files, four commands on one machine, an upload, a look at what came of it.

mod fleet;

use std::os::unix::fs::PermissionsExt;

use fleet::{Fleet, eventually};

const SCRIPT: &str = "\
people:
    python
    people
    people.py

older:
    sqlite3
    people
    `SELECT name, age + 1 AS age FROM people ORDER BY age DESC`

names:
    python
    names
    `def names(rows):
    print('there are', len(rows))
    return [row['name'] for row in rows]`

ages = people | older | names
found = ages()
";
const PEOPLE: &str = "def people(): return [{'name': 'Ada', 'age': 36}, {'name': 'Zoë', 'age': 40}]\n";

fn with_script(fleet: Fleet) -> Fleet {
    fleet.write("script/people.bue", SCRIPT);
    fleet.write("script/people.py", PEOPLE);
    fleet
}

#[test]
fn four_commands_and_an_upload_come_to_results() {
    let mut fleet = with_script(Fleet::empty()).start(1);
    let ended = fleet.bue(&["upload", "-f", "script/people.bue", "--wait"]).expect(0);
    assert!(ended.stdout.contains(r#"["Zoë","Ada"]"#), "{}", ended.stdout);
    assert!(ended.stdout.contains("found"), "{}", ended.stdout);

    let status = fleet.bue(&["status"]).expect(0);
    assert!(status.stdout.contains("3 jobs: 3 succeeded"), "{}", status.stdout);
    assert!(status.stdout.contains("script") || status.stdout.contains("people.bue"), "{}", status.stdout);
}

#[test]
fn an_upload_without_waiting_prints_the_run_and_jobs_can_be_looked_at() {
    let mut fleet = with_script(Fleet::empty()).start(1);
    let ended = fleet.bue(&["upload", "script/people.bue"]).expect(0);
    let run = ended.stdout.trim().to_owned();
    fleet::eventually("the run's end", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));

    let status = fleet.bue(&["status", &run]).expect(0);
    assert!(status.stdout.contains("older"), "{}", status.stdout);
    let value = fleet.bue(&["value", "j3"]).expect(0);
    assert_eq!(value.stdout, "[\"Zoë\",\"Ada\"]\n");
    let log = fleet.bue(&["logs", "j3"]).expect(0);
    assert!(log.stdout.contains("there are 2"), "{}", log.stdout);
    fleet.bue(&["value", "j99"]).expect(2).says(&["j99"]);
    fleet.bue(&["logs", "r1"]).expect(2).says(&["r1"]);
}

#[test]
fn the_same_key_is_the_same_run() {
    let mut fleet = with_script(Fleet::empty()).start(0);
    let first = fleet.bue(&["upload", "script/people.bue", "--key", "today"]).expect(0);
    let second = fleet.bue(&["upload", "script/people.bue", "--key", "today"]).expect(0).says(&["was uploaded before"]);
    assert_eq!(first.stdout, second.stdout);
    let third = fleet.bue(&["upload", "script/people.bue"]).expect(0);
    assert_ne!(first.stdout, third.stdout);
}

#[test]
fn a_cancelled_run_runs_nothing_more() {
    let mut fleet = with_script(Fleet::empty()).start(0);
    let run = fleet.bue(&["upload", "script/people.bue"]).expect(0).stdout.trim().to_owned();
    fleet.bue(&["cancel", &run]).expect(0).says(&["is cancelled: 3 jobs will not run"]);
    fleet.bue(&["cancel", &run]).expect(0);
    assert_eq!(fleet.run_view(&run)["counts"]["cancelled"], 3);
}

#[test]
fn a_job_that_waits_is_explained_and_paused_work_is_resumed() {
    let mut fleet = with_script(Fleet::empty()).start(0);
    let run = fleet.bue(&["upload", "script/people.bue"]).expect(0).stdout.trim().to_owned();
    let explained = fleet.bue(&["explain", "j1"]).expect(0);
    assert!(explained.stdout.contains("no worker serves its scope"), "{}", explained.stdout);
    let explained = fleet.bue(&["explain", "j2"]).expect(0);
    assert!(explained.stdout.contains("it waits for j1 (`people`"), "{}", explained.stdout);
    fleet.bue(&["pause", &run]).expect(0).says(&["is paused"]);
    fleet.start_worker(&[]);
    let status = fleet.bue(&["status"]).expect(0);
    assert!(status.stdout.contains(&format!("run {run} is paused")), "{}", status.stdout);
    assert!(status.stdout.contains("running, paused"), "{}", status.stdout);
    let way_out = format!("run {run} is paused: `bue resume {run}` ends that");
    for command in ["status", "explain"] {
        let shown = fleet.bue(&[command, &run]).expect(0).stdout;
        assert!(shown.contains("running, paused") && shown.contains(&way_out), "{shown}");
    }
    assert_eq!(fleet.run_view(&run)["paused"], serde_json::json!([{"run": run}]));
    let explained = fleet.bue(&["explain", &run, "--json"]).expect(0).stdout;
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let reasons = explained["open"][0]["reasons"].as_array().unwrap();
    assert!(reasons.contains(&serde_json::json!({"paused": {"run": run}})), "{reasons:?}");
    fleet.bue(&["resume", &run]).expect(0).says(&["no longer paused"]);
    fleet::eventually("the run's end", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));
}

#[test]
fn a_scope_and_everything_can_be_paused_and_who_waits_is_told() {
    let mut fleet = with_script(Fleet::empty()).start(1);
    for (words, told) in [(&["-s", "default"][..], "scope `default` is paused"), (&[][..], "everything is paused")] {
        fleet.bue(&[&["pause"], words].concat()).expect(0).says(&[told]);
        let run = fleet.bue(&["upload", "script/people.bue"]).expect(0).stdout.trim().to_owned();
        let listed = fleet.bue(&["status", &run, "--state", "available"]).expect(0).stdout;
        let job = listed
            .split_whitespace()
            .find(|word| word.strip_prefix('j').is_some_and(|number| number.parse::<u32>().is_ok()))
            .expect("a job")
            .to_owned();
        let way_out = format!("{told}: `{}` ends that", [&["bue", "resume"], words].concat().join(" "));
        for what in [&["explain", &job], &["explain", &run], &["status", &run]] {
            let shown = fleet.bue(what).expect(0).stdout;
            assert!(shown.contains(&way_out), "{shown}");
        }
        fleet.bue(&[&["resume"], words].concat()).expect(0);
        fleet::eventually("the run's end", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));
        fleet.bue(&[&["resume"], words].concat()).expect(2);
    }
}

#[test]
fn a_job_is_named_with_its_run_too() {
    let mut fleet = with_script(Fleet::empty()).start(1);
    let run = fleet.bue(&["upload", "script/people.bue", "--wait"]).expect(0).run();
    let other = fleet.bue(&["upload", "script/people.bue"]).expect(0).stdout.trim().to_owned();
    let (job, of_another) = (format!("{run}/j1"), format!("{other}/j1"));
    for words in [&["value"][..], &["value", "--head", "1"], &["logs"], &["explain"], &["reset"]] {
        fleet.bue(&[words, &[&job]].concat()).expect(0);
        let refused = fleet.bue(&[words, &[&of_another]].concat()).expect(2);
        refused.says(&[&format!("job j1 is not of run {other}, but of run {run}"), "bue status"]);
    }
    fleet.bue(&["value", "r0/j1"]).expect(2).says(&["`r0` is not a run id"]);
    fleet.bue(&["value", &format!("{run}/j99999")]).expect(2).says(&["job j99999 is not here"]);
}

#[test]
fn a_run_is_made_again_of_the_script_it_was_made_of() {
    let mut fleet = with_script(Fleet::empty()).start(1);
    let first = fleet.bue(&["upload", "script/people.bue", "--wait"]).expect(0).run();
    std::fs::remove_dir_all(fleet.path().join("script")).unwrap();
    let again = fleet.bue(&["again", &first, "--wait"]).expect(0).says(&[&format!("of run {first} is run")]);
    assert_ne!(again.run(), first);
    fleet.bue(&["again", "r00000000"]).expect(2).says(&["r00000000"]);
}

#[test]
fn failed_jobs_start_over_when_asked() {
    let mut fleet = Fleet::unenclosed().start(1);
    let folder = fleet.path().display().to_string();
    fleet.write(
        "s/x.bue",
        &format!("a:\n    python\n    f\n    `def f(): return open('{folder}/late').read()`\np = | a\nv = p()\n"),
    );
    let ended = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(1);
    let ended = ended.says(&["FileNotFoundError", "bue logs j1", "1 job of 1 ended in an error"]);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    fleet.write("late", "here");
    fleet.bue(&["reset", &run]).expect(0).says(&["1 job starts over"]);
    fleet::eventually("the run's end", || (fleet.run_view(&run)["state"] == "succeeded").then_some(()));
    fleet.bue(&["reset", &run]).expect(0).says(&["no failed jobs"]);
}

#[test]
fn services_may_be_started_in_any_order() {
    let mut fleet = with_script(Fleet::empty());
    // The worker has neither keys nor token nor a hub; the hub has no bucket.
    let (hub, bucket) = (free_place(), free_place());
    let mut worker = fleet.spawn(&["worker", "-b", &hub, "-k", &bucket]);
    worker.wait_for("no keys for the bucket");
    let mut hub_process = fleet.spawn(&["hub", "-b", &hub, "-k", &bucket]);
    hub_process.wait_for("hub listens on");
    let mut bucket_process = fleet.spawn(&["bucket", "-b", &bucket]);
    bucket_process.wait_for("bucket listens on");
    fleet.bue(&["upload", "-b", &hub, "script/people.bue", "--wait"]).expect(0);
    drop((worker, hub_process, bucket_process));
}

#[test]
fn a_folder_can_be_the_bucket() {
    let mut fleet = with_script(Fleet::empty());
    let values = format!("file://{}/values", fleet.path().display());
    let hub = free_place();
    let mut hub_process = fleet.spawn(&["hub", "-b", &hub, "-k", &values]);
    hub_process.wait_for("hub listens on");
    fleet.start_worker(&["-b", &hub, "-k", &values]);
    fleet.write("s/x.bue", "a:\n    python\n    f\n    `def f(): return 'x' * 1000000`\np = | a\nv = p()\n");
    let ended = fleet.bue(&["upload", "-b", &hub, "s/x.bue", "--wait"]).expect(0);
    assert!(ended.stdout.contains("a string of 1,000,000 characters"), "{}", ended.stdout);
    let value = fleet.bue(&["value", "-b", &hub, "j1"]).expect(0);
    assert_eq!(value.stdout.trim_end().len(), 1_000_002);
    assert!(fleet.path().join("values/runs").is_dir());
    drop(hub_process);
}

#[test]
fn services_end_cleanly_when_asked() {
    let mut fleet = Fleet::empty().start(1);
    let worker = fleet.workers.remove(0);
    for (process, word) in [
        (worker, "worker stopped"),
        (fleet.hub.take().unwrap(), "hub stopped"),
        (fleet.bucket.take().unwrap(), "bucket stopped"),
    ] {
        process.terminate();
        process.end().expect(0).says(&[word]);
    }
    assert_eq!(fleet.noted("hub"), "127.0.0.1:0", "the note of the address stays behind");
}

#[test]
fn secrets_are_for_their_user_alone() {
    let fleet = Fleet::empty().start(0);
    let state = fleet.path().join(".bue");
    for (path, mode) in
        [("", 0o700), ("hub", 0o700), ("bucket", 0o700), ("hub/token", 0o600), ("bucket/credentials", 0o600)]
    {
        let found = std::fs::metadata(state.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
}

#[test]
fn the_example_is_written_once_and_is_a_right_script() {
    let mut fleet = Fleet::empty();
    fleet.bue(&["example"]).expect(0);
    fleet.bue(&["check", "example.bue"]).expect(0);
    let before = std::fs::read_to_string(fleet.path().join("example.py")).unwrap();
    fleet.write("example.py", "mine");
    fleet.bue(&["example"]).expect(2).says(&["example.py", ".env", "--force"]);
    assert_eq!(std::fs::read_to_string(fleet.path().join("example.py")).unwrap(), "mine");
    fleet.bue(&["example", "--force"]).expect(0);
    assert_eq!(std::fs::read_to_string(fleet.path().join("example.py")).unwrap(), before);
}

#[test]
fn the_version_is_told_by_both_flags() {
    let mut fleet = Fleet::empty();
    let version = format!("bue {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(fleet.bue(&["--version"]).expect(0).stdout, version);
    assert_eq!(fleet.bue(&["-v"]).expect(0).stdout, version);
}

#[test]
fn settings_of_the_folder_hold_and_flags_beat_them() {
    let place = free_place();
    let port = place.rsplit(':').next().unwrap();
    let mut fleet = with_script(Fleet::empty());
    fleet.write(".env", &format!("PIPELINE_PORT={port}\nBUE_DATA_DIR=state\nBUE_TOKEN=a-token-of-my-own\n"));
    let mut hub = fleet.spawn(&["hub"]);
    hub.wait_for(&format!("hub listens on http://{place}"));
    assert!(fleet.path().join("state/hub").is_dir());
    fleet.bue(&["upload", "script/people.bue"]).expect(0);
    let fleet_two = Fleet::empty();
    let mut elsewhere = fleet_two;
    elsewhere.bue(&["status", "-b", &place]).expect(4);
    let mut elsewhere = elsewhere.with("BUE_TOKEN", "a-token-of-my-own");
    elsewhere.bue(&["status", "-b", &place]).expect(0);
}

/// An address that nobody has at this moment.
fn free_place() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn what_steps_import_is_loaded_and_compiled_once_for_all_attempts() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("had.bue", "had:\n    python\n    had\n    had.py\np = | had\np()\n");
    fleet.write("helper.py", "import os\n\nis_compiled = os.path.exists(__cached__)\n");
    let step = "import sys\nbefore = 'xml.dom.minidom' in sys.modules\nimport xml.dom.minidom\nimport helper\n\n\ndef had():\n    \
                return f'loaded: {before}, compiled: {helper.is_compiled}'\n";
    fleet.write("had.py", step);
    let said = fleet.bue(&["upload", "had.bue", "--wait"]).expect(0).stdout;
    assert!(said.contains("loaded: False, compiled: False"), "{said}");
    eventually("a step finds what it imports", || {
        let said = fleet.bue(&["upload", "had.bue", "--wait"]).expect(0).stdout;
        said.contains("loaded: True, compiled: True").then_some(())
    });
}

/// A table, taken by steps of each kind.
const BESIDE: &str = "
numbers:
    sqlite3
    numbers
    `SELECT 1 AS id, 'a' AS name`
forked:
    python
    step
    steps.py
fresh:
    python
    step
    !isolation fresh
    steps.py
shared:
    python
    later
    !isolation shared
    steps.py
p = numbers | forked
q = numbers | fresh
r = numbers | shared
p()
q()
r()
";
const STEPS: &str = "\
import json, datetime, decimal, logging
def step(rows):
    return [rows, [module.OWN for module in (json, datetime, decimal, logging)]]
async def later(rows):
    return step(rows)
";

#[test]
fn modules_beside_a_script_are_its_own_whatever_they_are_called() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", BESIDE);
    fleet.write("s/steps.py", STEPS);
    // Some are loaded before any program by what is installed on a machine; these then stay what they are, and do no harm.
    for name in ["json", "struct", "datetime", "decimal", "types", "logging"] {
        fleet.write(&format!("s/{name}.py"), "OWN = True\n");
    }
    let expected = "[[{\"id\":1,\"name\":\"a\"}],[true,true,true,true]]";
    let local = fleet.bue(&["run", "s/x.bue"]).expect(0);
    assert_eq!(local.stdout.matches(expected).count(), 3, "{}", local.stdout);
    let run = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0).run();
    let results = fleet.bue(&["results", &run]).expect(0);
    assert_eq!(results.stdout.matches(expected).count(), 3, "{}", results.stdout);
}
