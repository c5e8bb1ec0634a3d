//! What can be wrong around a command: each is a clear error with its exit code.

mod fleet;

use std::os::unix::fs::PermissionsExt;

use fleet::Fleet;

#[test]
fn a_wrong_script_is_told_with_its_place_and_nothing_is_stored() {
    let mut fleet = Fleet::empty().start(0);
    fleet.write("s/x.bue", "a:\n    python\n    f\n    `def f(): return 1`\n\np = a | b\np()\n");
    for words in [vec!["upload", "s/x.bue"], vec!["check", "s/x.bue"], vec!["run", "s/x.bue"]] {
        fleet.bue(&words).expect(2).says(&["x.bue:6:9", "`b`", "p = a | b"]);
    }
    let status = fleet.bue(&["status"]).expect(0);
    assert!(status.stdout.contains("no runs yet"), "{}", status.stdout);
}

#[test]
fn a_step_file_that_is_not_there_is_named() {
    let mut fleet = Fleet::empty().start(0);
    fleet.write("s/x.bue", "a:\n    python\n    f\n    mising.py\n\np = | a\np()\n");
    fleet.write("s/missing.py", "def f(): return 1");
    fleet.bue(&["upload", "s/x.bue"]).expect(2).says(&["mising.py", "x.bue:4:5"]);
}

#[test]
fn a_step_file_that_is_left_out_is_told_from_one_that_is_not_there() {
    let mut fleet = Fleet::empty().start(0);
    fleet.write("s/x.bue", "a:\n    python\n    f\n    steps.py\n\np = | a\np()\n");
    fleet.write("s/steps.py", "def f(): return 1");
    fleet.write("s/.bueignore", "*.py\n");
    for command in ["upload", "check", "run"] {
        fleet.bue(&[command, "s/x.bue"]).expect(2).says(&["`steps.py` is there, but", ".bueignore"]);
    }
}

#[test]
fn wrong_keys_are_refused() {
    let fleet = Fleet::empty().start(0);
    let (hub, bucket) = (fleet.noted("hub"), fleet.noted("bucket"));
    let stranger = Fleet::empty().with("AWS_ACCESS_KEY_ID", "AKIDSTRANGER").with("AWS_SECRET_ACCESS_KEY", "nonsense");
    let mut stranger = stranger.with("BUE_TOKEN", "also-nonsense");
    stranger.bue(&["worker", "-b", &hub, "-k", &bucket]).expect(4).says(&["refused", "AWS_SECRET_ACCESS_KEY"]);
    let mut half = Fleet::empty().with("AWS_ACCESS_KEY_ID", "AKIDSTRANGER");
    half.bue(&["worker", "-b", &hub, "-k", &bucket]).expect(2).says(&["AWS_SECRET_ACCESS_KEY is not"]);
}

#[test]
fn a_worker_whose_bucket_is_none_ends_before_it_takes_a_job() {
    let mut fleet = Fleet::empty().start(0);
    let hub = fleet.noted("hub");
    fleet.write("s/x.bue", "a:\n    python\n    f\n    `def f(): return 'x' * 100000`\np = | a\np()\n");
    let run = fleet.bue(&["upload", "s/x.bue"]).expect(0).stdout.trim().to_owned();
    fleet.bue(&["worker", "-k", &hub]).expect(3).says(&["is not a bucket", &hub, "-k"]);
    assert_eq!(fleet.run_view(&run)["counts"]["available"], 1);
}

#[test]
fn a_script_that_is_not_there_is_named() {
    let mut fleet = Fleet::empty();
    for command in ["upload", "check", "run"] {
        fleet.bue(&[command, "nothing.bue"]).expect(2).says(&["nothing.bue", "No such file"]);
    }
}

#[test]
fn a_hub_that_is_away_is_named_with_its_address() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", "");
    let begin = std::time::Instant::now();
    fleet.bue(&["status", "-b", "127.0.0.1:9"]).expect(3).says(&["127.0.0.1:9", "cannot be reached", "hint:"]);
    assert!(begin.elapsed().as_secs() < 30);
}

#[test]
fn a_wrong_token_is_refused() {
    let fleet = Fleet::empty().start(0);
    let place = fleet.noted("hub");
    let mut stranger = Fleet::empty().with("BUE_TOKEN", "not-the-token");
    stranger.write("s/x.bue", "");
    stranger.bue(&["status", "-b", &place]).expect(4).says(&["refuses the token", "BUE_TOKEN"]);
    stranger.bue(&["upload", "-b", &place, "s/x.bue"]).expect(4).says(&["refuses the token"]);
    let mut nobody = Fleet::empty();
    nobody.bue(&["status", "-b", &place]).expect(4).says(&["wants a token"]);
}

#[test]
fn a_port_in_use_is_named_with_the_way_to_find_who_has_it() {
    let mut fleet = Fleet::empty().start(0);
    let (hub, bucket) = (fleet.noted("hub"), fleet.noted("bucket"));
    let port = hub.rsplit(':').next().unwrap();
    fleet.bue(&["--data-dir", "other", "hub", "-b", &hub]).expect(5).says(&[
        &format!("port {port}"),
        "in use",
        "ss -ltnp",
    ]);
    fleet.bue(&["--data-dir", "other", "bucket", "-b", &bucket]).expect(5).says(&["in use"]);
}

#[test]
fn two_services_of_one_data_folder_do_not_harm_each_other() {
    let mut fleet = Fleet::empty().start(0);
    let place = fleet.noted("hub");
    fleet.bue(&["hub", "-b", "127.0.0.1:0"]).expect(5).says(&["in use by another hub"]);
    fleet.bue(&["bucket", "-b", "127.0.0.1:0"]).expect(5).says(&["in use by another bucket"]);
    assert_eq!(fleet.noted("hub"), place);
    fleet.bue(&["status"]).expect(0);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let mut fleet = Fleet::empty();
    fleet.write("file", "");
    for command in ["hub", "bucket", "worker"] {
        let words = ["--data-dir", "file/state", command, "-b", "127.0.0.1:0"];
        let words =
            if command == "worker" { ["--data-dir", "file/state", command, "-b", "127.0.0.1:9"] } else { words };
        fleet.bue(&words).expect(5).says(&["file/state", "--data-dir"]);
    }
}

#[test]
fn a_missing_or_old_python_is_named() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", "a:\n    python\n    f\n    `def f(): return 1`\np = | a\np()\n");
    for command in [vec!["worker"], vec!["run", "x.bue"], vec!["demo"]] {
        let words = [command.clone(), vec!["--python", "/nowhere/python3"]].concat();
        fleet.bue(&words).expect(5).says(&["/nowhere/python3", "3.9"]);
    }
    let old = fleet.write("old-python", "#!/bin/sh\necho 3.8.1\necho /usr/bin/old-python\n");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut fleet = fleet.with("BUE_PYTHON", old.to_str().unwrap());
    fleet.bue(&["run", "x.bue"]).expect(5).says(&["3.8.1", "3.9"]);
}

#[test]
fn a_malformed_setting_is_named_with_its_origin() {
    let mut fleet = Fleet::empty().with("N_WORKER_PROCESSES", "many");
    let expected = "from the environment is `many`, expected a whole number from 1 to 10000";
    fleet.bue(&["worker"]).expect(2).says(&[&format!("N_WORKER_PROCESSES {expected}"), "docs/settings.md"]);
    let mut fleet = Fleet::empty();
    fleet.write(".env", "PIPELINE_PORT=70000\n");
    fleet.bue(&["status"]).expect(2).says(&["PIPELINE_PORT", ".env", "`70000`"]);
    fleet.write(".env", "BUE_TOKEN=two words\n");
    let ended = fleet.bue(&["status"]).expect(2).says(&[".env"]);
    assert!(!ended.stderr.contains("two words"), "{}", ended.stderr);
}

#[test]
fn every_kind_of_setting_says_what_it_expects() {
    let told = |command: &[&str], name: &str, text: &str, expected: &str| {
        let mut fleet = Fleet::empty().with(name, text);
        fleet.bue(command).expect(2).says(&[&format!("{name} from the environment is "), expected]).stderr
    };
    for (command, name, text, expected) in [
        ("hub", "BUE_FILE_BYTES_MAX", "64MB", "`64MB`, expected a size such as 4096, 512KiB, 64MiB or 1GiB"),
        ("hub", "BUE_LAPSE", "12 parsecs", "`12 parsecs`, expected a time such as 500ms, 20s, 5m or 1h"),
        ("hub", "BUE_LAPSE", "0", "from 1ms to ten years (units: ms, s, m, h, d; seconds where none is given)"),
        ("hub", "BUE_FILE_BYTES_MAX", "0", "from 1 on (units: B, KiB, MiB, GiB; bytes where none is given)"),
        ("hub", "BUE_PAGE_MAX", "1KiB", "`1KiB`, expected a whole number from 1 on"),
        ("hub", "REVERSE_PRIORITY", "maybe", "`maybe`, expected `true` or `false`"),
        ("status", "PIPELINE_PORT", "70000", "`70000`, expected a port (0 to 65535)"),
        ("status", "PIPELINE_HOST", "a:b:c", "`a:b:c`, expected a host name"),
        (
            "hub",
            "BUE_BUCKET",
            "ftp://x",
            "`ftp://x`, expected `host:port` of a `bue bucket`, `file:///folder` or `s3://",
        ),
        ("hub", "BUE_BUCKET", "file://relative", "three slashes"),
        ("hub", "BUE_LOG", "loud", "`loud`, expected `error`, `warn`, `info`, `debug`, or filters"),
        ("worker", "BUE_SANDBOX", "tight", "`tight`, expected `strict`, `standard` or `off`"),
        ("worker", "BUE_STEP_USER", "nobody", "`nobody`, expected a whole number"),
        ("worker", "BUE_STEP_READABLE", "data", "`data`, expected absolute paths"),
        ("worker", "BUE_STEP_WRITABLE", "/tmp:/", "none of them `/`, which is the whole machine"),
        (
            "worker",
            "BUE_STEP_MEMORY_BYTES_MAX",
            "1MiB",
            "`1MiB`, expected a size such as 64MiB or 1GiB, from 16000000 on",
        ),
        ("worker", "POSTGRES_SSLMODE", "maybe", "`maybe`, expected disable, prefer, require or verify-full"),
        ("worker", "N_WORKER_PROCESSES", "64MiB", "`64MiB`, expected a whole number from 1 to 10000"),
    ] {
        let words: &[&str] = match command {
            "hub" => &["hub", "-b", "127.0.0.1:0"],
            "worker" => &["worker", "-b", "127.0.0.1:9"],
            other => &[other],
        };
        told(words, name, text, expected);
    }
    for (name, text, expected) in [
        ("BUE_POSTGRES", "mysql://me:hush@db", "`postgres://user:password@host:port/database`"),
        ("BUE_SECRET_KEY", "hush", "keys of 64 hex digits each"),
    ] {
        let said = told(&["hub", "-b", "127.0.0.1:0", "-k", "file:///tmp"], name, text, expected);
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn a_bucket_that_cannot_be_opened_is_told_with_who_names_it() {
    let mut fleet = Fleet::empty();
    let place = "file:///proc/nowhere";
    let words = ["cannot open the bucket that", "/proc/nowhere", "name a folder"];
    for command in ["hub", "worker"] {
        let flag = fleet.bue(&[command, "-b", "127.0.0.1:9", "-k", place]).expect(2);
        flag.says(&words).says(&["that -k names"]);
    }
    fleet.write(".env", &format!("BUE_BUCKET={place}\n"));
    fleet.bue(&["hub", "-b", "127.0.0.1:0"]).expect(2).says(&words).says(&["that BUE_BUCKET from ", ".env names"]);
}

#[test]
fn an_address_that_is_none_is_told_before_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let mut fleet = Fleet::empty();
    let told = fleet.bue(&["hub", "-b", &place, "-p", "foo"]).expect(2);
    let told = told.says(&["the PostgreSQL address of the queue cannot be used", "-p, or BUE_POSTGRES"]);
    assert!(!told.stderr.contains("in use"), "{}", told.stderr);
}

#[test]
fn folders_for_steps_that_are_missing_or_are_everything_are_named() {
    let mut fleet = Fleet::empty()
        .with("BUE_STEP_READABLE", "/nowhere/models:/usr")
        .with("BUE_STEP_WRITABLE", "/nowhere/out")
        .with("BUE_SANDBOX", "standard");
    fleet.write("x.bue", "a:\n    python\n    f\n    `def f(): return 1`\np = | a\np()\n");
    let told = "which steps do not see: No such file";
    let missing = [("READABLE", "/nowhere/models"), ("WRITABLE", "/nowhere/out")]
        .map(|(name, path)| format!("warning: BUE_STEP_{name} names {path}, {told}"));
    fleet.bue(&["worker", "-b", "127.0.0.1:9", "--writable", "/nowhere/x"]).expect(2).says(&["--writable /nowhere/x"]);
    let all = fleet.bue(&["worker", "-b", "127.0.0.1:9", "--writable", "/usr/.."]).expect(2);
    let all = all.says(&["--writable /usr/.. opens the whole machine", &missing[0], &missing[1]]);
    assert!(!all.stderr.contains("names /usr"), "{}", all.stderr);
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let mut fleet = Fleet::empty();
    fleet.bue(&["upload"]).expect(2);
    fleet.bue(&["hub", "-b", "what is this"]).expect(2).says(&["what is this"]);
    fleet.bue(&["hub", "-k", "ftp://x"]).expect(2).says(&["ftp://x"]);
    fleet.bue(&["worker", "-n", "0"]).expect(2).says(&["0"]);
    fleet.bue(&["frobnicate"]).expect(2).says(&["frobnicate"]);
}

#[test]
fn a_bundle_over_a_limit_names_the_largest_offenders() {
    let mut fleet = Fleet::empty().with("BUE_BUNDLE_BYTES_MAX", "1KiB").start(0);
    fleet.write("s/x.bue", "");
    fleet.write("s/data/large.csv", &"x".repeat(2_000));
    fleet.bue(&["upload", "s/x.bue"]).expect(2).says(&["data/", "1 KiB", ".bueignore", "BUE_BUNDLE_BYTES_MAX"]);
    fleet.bue(&["check", "s/x.bue"]).expect(0).says(&["`bue upload` refuses this script", "data/"]);
    fleet.write("s/.bueignore", "data\n");
    let checked = fleet.bue(&["check", "s/x.bue"]).expect(0);
    assert!(!checked.stderr.contains("refuses"), "{}", checked.stderr);
}

#[test]
fn data_beside_a_script_of_any_size_is_no_hindrance_where_steps_run_in_its_folder() {
    let mut fleet = Fleet::empty().with("BUE_BUNDLE_BYTES_MAX", "1KiB").with("BUE_BUNDLE_FILES_MAX", "3");
    let script = "a:\n    python\n    size\n    steps.py\np = | a\nv = p()\n";
    fleet.write("s/x.bue", script);
    fleet.write("s/steps.py", "import os\nimport other\ndef size(): return other.of('data/large.csv')\n");
    fleet.write("s/other.py", "import os\ndef of(path): return os.path.getsize(path)\n");
    fleet.write("s/data/large.csv", &"x".repeat(2_000));
    let ended = fleet.bue(&["run", "s/x.bue"]).expect(0);
    assert!(ended.stdout.contains("2000"), "{}", ended.stdout);
    fleet.bue(&["run", "--sandbox", "s/x.bue"]).expect(2).says(&["data/", "BUE_BUNDLE", "a bucket"]);
}

#[test]
fn a_step_that_misbehaves_fails_by_name_and_the_others_go_on() {
    let mut fleet = Fleet::empty();
    fleet.write("x.bue", MISBEHAVING);
    let ended = fleet.bue(&["run", "x.bue", "--json"]).expect(1).says(&["garbage: "]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let message = |name: &str| {
        let jobs = document["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["name"] == name).unwrap();
        assert_eq!(job["status"], "error", "{name}");
        job["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(message("exits").contains("exit code 3"));
    assert!(message("dies").contains("SIGKILL"));
    assert!(message("odd").contains("[1].user"), "{}", message("odd"));
    assert!(message("nothing").contains("`missing`"));
    assert!(message("slow").contains("timeout of 1 s"));
    assert!(message("raises").contains("ValueError: no report"));
    assert!(message("query").contains("no such table: nowhere"));
    let garbage = document["results"].as_array().unwrap().iter().find(|result| result["pipe"] == "p_garbage").unwrap();
    assert_eq!((&garbage["status"], &garbage["value"]), (&"success".into(), &1.into()));
    assert_eq!(document["error"]["kind"], "step");
}

const MISBEHAVING: &str = "\
garbage:
    python
    f
    `def f():
    import os
    print('{\"type\": \"result\"}')
    os.write(1, bytes([255, 10]))
    return 1`
exits:
    python
    f
    `def f():
    import os
    os._exit(3)`
dies:
    python
    f
    `def f():
    import os
    os.kill(os.getpid(), 9)`
odd:
    python
    f
    `def f(): return [0, {'user': object()}]`
nothing:
    python
    missing
    `def f(): return 1`
slow:
    python
    !timeout 1
    f
    `def f():
    import time
    time.sleep(1000)`
raises:
    python
    f
    `def f(): raise ValueError('no report')`
query:
    sqlite3
    t
    `SELECT * FROM nowhere`
p_garbage = | garbage
p_exits = | exits
p_dies = | dies
p_odd = | odd
p_nothing = | nothing
p_slow = | slow
p_raises = | raises
p_query = | query
p_garbage()
p_exits()
p_dies()
p_odd()
p_nothing()
p_slow()
p_raises()
p_query()
";
