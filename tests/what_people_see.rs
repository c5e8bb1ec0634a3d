//! What commands tell people: all of it, the way on, and nothing that commands their terminal.

mod fleet;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fleet::{Fleet, eventually};

/// A pipe of one step with this code.
fn one_step(code: &str) -> String {
    format!("a:\n    python\n    f\n    `{code}`\np = | a\nv = p()\n")
}

/// A loop with this many passes.
fn passes(count: usize) -> String {
    format!(
        "numbers:\n    python\n    f\n    `def f(): return list(range({count}))`\n\
         same:\n    python\n    f\n    `def f(number): return number`\n\
         all = | numbers\none = | same\nfor number in all():\n    one(number)\n"
    )
}

#[test]
fn a_step_cannot_command_the_terminal() {
    let mut fleet = Fleet::empty();
    fleet.write(
        "x.bue",
        &one_step("def f():\n    print(chr(27) + '[2Jprinted')\n    raise ValueError(chr(27) + ']0;raised' + chr(7))"),
    );
    let ended = fleet.bue(&["run", "x.bue"]).expect(1).says(&[r"\u001b[2Jprinted", r"\u001b]0;raised\u0007"]);
    assert!(!ended.stderr.contains(['\u{1b}', '\u{7}']), "{:?}", ended.stderr);
    fleet.write("y.bue", &one_step("def f(): return chr(155) + 'returned'"));
    let ended = fleet.bue(&["run", "y.bue"]).expect(0);
    assert!(ended.stdout.contains(r"\u009breturned") && !ended.stdout.contains('\u{9b}'), "{:?}", ended.stdout);
}

#[test]
fn what_a_job_printed_and_returned_reaches_a_file_as_it_is() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", &one_step("def f():\n    print(chr(27) + '[1mbold')\n    return chr(155)"));
    fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    assert!(fleet.bue(&["logs", "j1"]).expect(0).stdout.contains("\u{1b}[1mbold"));
    let value = fleet.bue(&["value", "j1"]).expect(0).stdout;
    assert_eq!(serde_json::from_str::<String>(&value).unwrap(), "\u{9b}");
}

#[test]
fn a_run_without_a_hub_does_not_point_to_values_that_are_gone() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", &one_step("def f(): return 'x' * 1000000"));
    let ended = fleet.bue(&["run", "x.bue"]).expect(0);
    assert!(ended.stdout.contains("--json") && !ended.stdout.contains("bue value"), "{}", ended.stdout);
}

#[test]
fn a_large_run_says_how_to_see_the_rest_of_it_and_shows_it() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", &passes(130));
    let ended = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert!(ended.stdout.contains(&format!("`bue results {run} -b")), "{}", ended.stdout);

    let json = |ended: fleet::Ended| serde_json::from_str::<serde_json::Value>(&ended.expect(0).stdout).unwrap();
    let results = json(fleet.bue(&["results", &run, "--json"]));
    assert_eq!(results["results"].as_array().unwrap().len(), 130);
    assert_eq!(results["results"][129]["value"], 129);
    assert!(fleet.bue(&["results", &run]).expect(0).stdout.lines().count() > 130);

    assert!(fleet.bue(&["status", &run]).expect(0).stdout.contains("--all"));
    assert!(fleet.bue(&["status", &run, "--all"]).expect(0).stdout.lines().count() > 131);
    let status = json(fleet.bue(&["status", &run, "--json"]));
    assert_eq!(status["run"]["id"], run.as_str());
    assert!(status["jobs"].as_array().unwrap().len() > 130, "{status}");
}

#[test]
fn jobs_that_failed_alike_are_told_of_once() {
    let mut fleet = Fleet::empty();
    let code = "def f(number): raise ValueError(f'account {number} is closed' if number else 'it is new')";
    let script = passes(14).replace("def f(number): return number", code);
    fleet.write("x.bue", &script);
    let ended = fleet.bue(&["run", "x.bue"]).expect(1);
    assert_eq!(ended.stderr.matches("failed after 1 attempt: ValueError: it is new").count(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("failed after 1 attempt: ValueError: account").count(), 1, "{}", ended.stderr);
    let others =
        ended.stderr.lines().find(|line| line.contains("12 other jobs failed the same way: j")).expect("the others");
    assert!(others.matches(", j").count() == 7 && others.ends_with(", …"), "{others}");
    assert!(!ended.stderr.contains(" more failed"), "{}", ended.stderr);
}

#[test]
fn the_error_of_an_attempt_is_shown_to_its_end() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", &one_step("def f(): raise ValueError('too long ' * 30 + 'and at its end the way out')"));
    fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(1);
    let explained = fleet.bue(&["explain", "j1"]).expect(0).stdout;
    let table: Vec<&str> = explained.lines().filter(|line| line.starts_with(['│', '┌'])).collect();
    let cells: Vec<&str> = table.iter().filter_map(|line| line.split('┆').nth(4)).map(str::trim).collect();
    assert!(cells.join(" ").contains("exception: ValueError: too long"), "{explained}");
    assert!(cells.join(" ").ends_with("and at its end the way out") && cells.len() > 3, "{explained}");
    assert!(table.iter().all(|line| line.chars().count() < 180), "{explained}");
}

#[test]
fn a_failed_call_has_its_error_beside_the_others() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", &passes(3).replace("return number", "return 6 // number"));
    let run = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(1).run();
    let mut json = |command: &str| -> serde_json::Value {
        serde_json::from_str(&fleet.bue(&[command, &run, "--json"]).expect(0).stdout).unwrap()
    };
    let (results, status) = (json("results"), json("status"));
    let results = results["results"].as_array().unwrap();
    let failed = |entry: &&serde_json::Value| !entry["error"].is_null();
    let job = status["jobs"].as_array().unwrap().iter().find(failed).unwrap();
    assert_eq!((&results[0]["error"], results[0]["job"].as_str()), (&job["error"], job["id"].as_str()));
    assert_eq!(results[0]["error"]["kind"], "exception");
    assert!(results[0]["error"]["message"].as_str().unwrap().starts_with("ZeroDivisionError"), "{results:?}");
    assert_eq!(results.iter().filter(failed).count(), 1, "{results:?}");
}

#[test]
fn all_results_are_shown_however_few_the_hub_gives_at_once() {
    let mut fleet = Fleet::empty().with("BUE_RESULTS_MAX", "2").start(1);
    fleet.write("s/x.bue", &passes(5));
    let run = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0).run();
    let told: serde_json::Value =
        serde_json::from_str(&fleet.bue(&["results", &run, "--json"]).expect(0).stdout).unwrap();
    let results = told["results"].as_array().unwrap();
    let jobs: std::collections::BTreeSet<&str> = results.iter().filter_map(|result| result["job"].as_str()).collect();
    assert_eq!((results.len(), jobs.len()), (5, 5), "{told}");
    let shown = fleet.bue(&["results", &run]).expect(0).stdout;
    assert!(jobs.iter().all(|job| shown.contains(job)), "{shown}");
}

#[test]
fn states_are_asked_for_by_the_words_that_are_shown() {
    let mut fleet = Fleet::empty().with("BUE_PENDING_FIRST", "1h").with("BUE_PENDING_MAX", "1h").start(1);
    let code = "from buelon.core.step import Result, StepStatus\ndef f(): return Result(status=StepStatus.pending)";
    fleet.write("s/x.bue", &one_step(code));
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).run();
    eventually("the pause", || {
        let listed = fleet.bue(&["status", &run, "--state", "parked"]).expect(0).stdout;
        // The counts and the jobs are two answers of the hub.
        (listed.contains("parked, again in") && listed.contains("1 job: 1 parked")).then_some(())
    });
    assert!(fleet.bue(&["status", &run, "--state", "available"]).expect(0).stdout.contains("parked, again in"));
    assert!(!fleet.bue(&["status", &run, "--state", "leased"]).expect(0).stdout.contains("again in"));
    fleet.bue(&["status", &run, "--state", "pending"]).expect(2).says(&["leased", "parked"]);
}

#[test]
fn names_in_the_environment_that_are_no_settings_are_told_of_by_services() {
    let mut fleet = Fleet::empty().with("BUE_NOSUCH", "5").with("BUE_LAPS", "9s").with("BUE_TEST_THING", "1");
    fleet.start_hub();
    let told = fleet.hub.as_ref().unwrap().stderr();
    assert!(told.contains("`BUE_NOSUCH` is no setting") && told.contains("did you mean `BUE_LAPSE`?"), "{told}");
    assert!(!told.contains("BUE_TEST_THING"), "{told}");
    let status = fleet.bue(&["status"]).expect(0);
    assert!(!status.stderr.contains("is no setting"), "{}", status.stderr);
}

#[test]
fn the_log_of_a_running_job_is_announced() {
    let mut fleet = Fleet::unenclosed().start(1);
    let folder = fleet.path().display().to_string();
    fleet.write(
        "s/x.bue",
        &one_step(&format!(
            "def f():\n    import os, time\n    print('hello')\n    open('{folder}/here', 'w').close()\n    \
             while not os.path.exists('{folder}/go'):\n        time.sleep(0.01)"
        )),
    );
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    eventually("the step", || fleet.path().join("here").exists().then_some(()));
    fleet.bue(&["logs", "j1"]).expect(0).says(&["is running attempt 1", "bue logs j1 -f"]);
    fleet.write("go", "");
    upload.end().expect(0);
    assert!(fleet.bue(&["logs", "j1"]).expect(0).stdout.contains("hello"));
}

#[test]
fn a_worker_tells_a_wrong_token_from_what_is_no_hub() {
    let fleet = Fleet::empty().start(0);
    let keys = fs::read_to_string(fleet.path().join(".bue/bucket/credentials")).unwrap();
    let key = |name: &str| keys.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_prefix("= ")).unwrap();
    let stranger = Fleet::empty().with("AWS_ACCESS_KEY_ID", key("aws_access_key_id"));
    let stranger = stranger.with("AWS_SECRET_ACCESS_KEY", key("aws_secret_access_key"));
    let mut stranger = stranger.with("BUE_TOKEN", "not-the-token");
    let (hub, bucket) = (fleet.noted("hub"), fleet.noted("bucket"));
    stranger.start_worker(&["-b", &hub, "-k", &bucket]);
    let refused = format!("hub at {hub} refuses the token");
    stranger.workers.remove(0).end().expect(4).says(&[&refused, "set BUE_TOKEN"]);
    stranger.start_worker(&["-b", &bucket, "-k", &bucket]);
    stranger.workers[0].wait_for(&format!("what answers at http://{bucket} is not a hub"));
    stranger.bue(&["status", "-b", &bucket]).expect(3).says(&[&bucket, "is not a hub", "-b"]);
}

#[test]
fn doubtful_settings_are_warned_of() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", "");
    fleet.write(".env", "PIPELINE_PROT=7\nDATABASE_URL=x\n");
    let ended = fleet.bue(&["check", "x.bue"]).expect(0).says(&["warning:", ".env", "`PIPELINE_PORT`"]);
    assert!(!ended.stderr.contains("DATABASE_URL"), "{}", ended.stderr);
    fs::remove_file(fleet.path().join(".env")).unwrap();
    fs::create_dir(fleet.path().join(".env")).unwrap();
    fleet.bue(&["check", "x.bue"]).expect(0).says(&["warning:", ".env is a folder"]);
    fleet.bue(&["status", "-b", "nonsense:1:2"]).expect(2).says(&["nonsense:1:2", "host:port"]);
}

#[test]
fn a_token_file_is_held_to_what_a_token_must_be() {
    let mut fleet = Fleet::empty();
    for text in ["short", "with some blanks"] {
        fleet.write(".bue/hub/token", text);
        let ended = fleet.bue(&["hub", "-b", "127.0.0.1:0", "-k", "file:///tmp"]).expect(5);
        let ended = ended.says(&["hub/token", "8 to 512 visible ASCII characters", "remove it"]);
        assert!(!ended.stderr.contains(text), "{}", ended.stderr);
    }
    let token = fleet.write(".bue/hub/token", "long-enough-for-a-token\n");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let mut hub = fleet.spawn(&["hub", "-b", "127.0.0.1:0"]);
    hub.wait_for("hub listens on");
    assert!(hub.stderr().contains("others can read"), "{}", hub.stderr());
}

#[test]
fn a_step_file_outside_of_the_bundle_is_told_once() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", "a:\n    python\n    f\n    /etc/passwd\np = | a\np()\n");
    let ended = fleet.bue(&["check", "x.bue"]).expect(2).says(&["/etc/passwd"]);
    assert!(!ended.stderr.contains("does not travel"), "{}", ended.stderr);
}
