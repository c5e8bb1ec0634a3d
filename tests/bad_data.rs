//! Data that is wrong, lost or has no room: each is named, and no row and no job is lost.

mod fleet;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fleet::{Ended, Fleet, Process, eventually};
use serde_json::{Value, json};

fn script(python: &str, engine: &str, sql: &str) -> String {
    format!(
        "rows:\n    python\n    rows\n    `{python}`\nquery:\n    {engine}\n    t\n    `{sql}`\np = rows | query\nv = p()\n"
    )
}

fn run(fleet: &mut Fleet, script: &str) -> Ended {
    fleet.write("x.bue", script);
    fleet.bue(&["run", "x.bue", "--json"])
}

#[track_caller]
fn value(fleet: &mut Fleet, script: &str) -> Value {
    let document: Value = serde_json::from_str(&run(fleet, script).expect(0).stdout).unwrap();
    document["results"][0]["value"].clone()
}

#[test]
fn what_is_no_table_is_named_with_what_came() {
    let mut fleet = Fleet::empty();
    for engine in ["sqlite3", "duckdb"] {
        for (returned, part) in [
            ("{'a': 1}", "a dict came"),
            ("7", "a number came"),
            ("'text'", "a string came"),
            ("None", "None came"),
            ("[1, 2]", "[0] is a number"),
            ("[{'a': 1}, 'x']", "[1] is a string"),
            ("[]", "is an empty list, so its columns are unknown"),
            ("[{'n': 2 ** 63}]", "64 bit"),
        ] {
            let script = script(&format!("def rows(): return {returned}"), engine, "SELECT * FROM t");
            run(&mut fleet, &script).expect(1).says(&[part]);
        }
    }
}

#[test]
fn no_row_is_lost_where_values_are_mixed_or_no_numbers() {
    let mut fleet = Fleet::empty();
    let rows = "def rows(): return [{'n': 1, 'f': float('nan')}, {'n': 'x', 'f': float('inf')}, {'n': None, 'f': 0.5}]";
    for (engine, first) in [("sqlite3", json!(1)), ("duckdb", json!("1"))] {
        let expected = json!([{"n": first, "f": null}, {"n": "x", "f": null}, {"n": null, "f": 0.5}]);
        assert_eq!(value(&mut fleet, &script(rows, engine, "SELECT n, f FROM t")), expected, "{engine}");
    }
}

#[test]
fn names_and_texts_that_no_table_has_are_named() {
    let mut fleet = Fleet::empty();
    for (engine, sql, parts) in [
        ("sqlite3", "SELECT 1 AS a, 2 AS a", ["two columns", "`a`"]),
        ("duckdb", "SELECT 1 AS a, 2 AS a", ["two columns", "`a`"]),
        ("sqlite3", "SELECT CAST(x'ff41' AS TEXT) AS t FROM t", ["column `t`", "no UTF-8, in [0]"]),
    ] {
        run(&mut fleet, &script("def rows(): return [{'a': 1}]", engine, sql)).expect(1).says(&parts);
    }
    let half = "def rows(): return [{'a': chr(0xd800)}]";
    run(&mut fleet, &script(half, "sqlite3", "SELECT * FROM t"))
        .expect(1)
        .says(&["[0].a is text with half of a surrogate pair", "encode"]);
    let large = script("def rows(): return [{'a': 'x' * 1000}] * 1000", "sqlite3", "SELECT * FROM t");
    let mut narrow = Fleet::empty().with("BUE_WORKER_VALUE_BYTES_MAX", "64KiB");
    run(&mut narrow, &large).expect(1).says(&["over the limit of 65536"]);
}

/// A step that makes a large list, and one that waits for a file before it takes it.
const TWO: &str = "\
make:
    python
    make
    `def make(): return ['x' * 50_000]`

take:
    python
    take
    `def take(texts): return len(texts[0])`

p = make | take
v = p()
";

fn run_of(upload: &Process) -> String {
    let line = eventually("a run", || upload.stderr().lines().next().map(str::to_owned));
    line.rsplit(' ').next().unwrap().to_owned()
}

fn jobs(fleet: &mut Fleet, run: &str) -> Vec<Value> {
    let status: Value = serde_json::from_str(&fleet.bue(&["status", run, "--json"]).expect(0).stdout).unwrap();
    status["jobs"].as_array().unwrap().clone()
}

/// Files of objects, wherever the bucket keeps them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_value_that_was_changed_or_removed_is_named_and_made_again_by_a_reset() {
    let mut fleet = Fleet::empty().with("BUE_WORKER_PATIENCE", "2s");
    let values = fleet.path().join("values");
    let url = format!("file://{}", values.display());
    fleet = fleet.with("BUE_BUCKET", &url);
    fleet.start_hub();
    fleet.start_worker(&["-s", "default"]);
    // Nobody serves the second step, until its input is spoiled.
    fleet.write("s/x.bue", &TWO.replace("    take\n    `", "    take\n    !scope later\n    `"));
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = run_of(&upload);
    let object = eventually("a value", || {
        let done = jobs(&mut fleet, &run)[0]["state"] == "succeeded";
        done.then(|| files(&values.join("runs").join(&run)).into_iter().next()).flatten()
    });
    fs::write(&object, "[\"something else\"]").unwrap();
    fleet.start_worker(&["-s", "later"]);
    upload.end().expect(1).says(&["runs/", "were written"]);
    let (make, take) = (jobs(&mut fleet, &run)[0]["id"].clone(), jobs(&mut fleet, &run)[1]["id"].clone());
    fs::remove_file(&object).unwrap();
    fleet.bue(&["reset", take.as_str().unwrap()]).expect(0);
    eventually("a word of what is missing", || {
        let error = jobs(&mut fleet, &run)[1]["error"].to_string();
        error.contains(&format!("`bue reset {}`", make.as_str().unwrap())).then_some(())
    });
    fleet.bue(&["value", make.as_str().unwrap()]).expect(1).says(&["is lost", "reset"]);
    fleet.bue(&["reset", &run]).expect(0).says(&["2 jobs start over"]);
    eventually("the end", || (jobs(&mut fleet, &run)[1]["state"] == "succeeded").then_some(()));
}

#[test]
fn an_item_of_a_list_that_is_lost_names_the_only_way_to_have_it_again() {
    let mut fleet = Fleet::empty();
    let values = fleet.path().join("values");
    let url = format!("file://{}", values.display());
    fleet = fleet.with("BUE_BUCKET", &url);
    fleet.start_hub();
    fleet.start_worker(&["-s", "default"]);
    fleet.write(
        "s/x.bue",
        "texts:\n    python\n    a\n    `def a(): return [str(n) * 100_000 for n in range(2)]`\n\
         length:\n    python\n    !scope later\n    a\n    `def a(text): return len(text)`\n\
         all = | texts\none = | length\nfor text in all():\n    one(text)\n",
    );
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = run_of(&upload);
    let objects = eventually("a list", || {
        let done = jobs(&mut fleet, &run)[0]["state"] == "succeeded";
        Some(files(&values.join("runs").join(&run))).filter(|files| done && !files.is_empty())
    });
    objects.iter().for_each(|object| fs::remove_file(object).unwrap());
    fleet.start_worker(&["-s", "later"]);
    let way = format!("`bue again {run}`");
    upload.end().expect(1).says(&["a loop's items stay what they were", &way]);
    let status = fleet.bue(&["status", &run, "--all", "--json"]).expect(0).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    let item = status["jobs"].as_array().unwrap().iter().find(|job| job["item"] == true).unwrap()["id"].clone();
    fleet.bue(&["value", item.as_str().unwrap()]).expect(1).says(&["is lost", &way]);
}

#[test]
fn a_table_that_its_worker_has_at_hand_is_taken_while_the_bucket_is_away() {
    let mut fleet = Fleet::empty().start(0);
    fleet.start_worker(&["-s", "default,later"]);
    fleet.write(
        "s/x.bue",
        "rows:\n    python\n    rows\n    `def rows(): return [{'n': n} for n in range(20_000)]`\n\
         sums:\n    sqlite3\n    !scope later\n    t\n    `SELECT sum(n) AS n FROM t`\n\
         length:\n    python\n    !scope later\n    length\n    `def length(rows): return [len(rows), rows[-1]]`\n\
         a = rows | sums\nb = rows | length\nx = a()\ny = b()\n",
    );
    fleet.bue(&["pause", "--scope", "later"]).expect(0);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = run_of(&upload);
    eventually("tables", || {
        let jobs = jobs(&mut fleet, &run);
        (jobs.iter().filter(|job| job["state"] == "succeeded").count() == 2).then_some(())
    });
    fleet.bucket.as_mut().unwrap().kill();
    fleet.bue(&["resume", "--scope", "later"]).expect(0);
    upload.end().expect(0);
    let results = fleet.bue(&["results", &run, "--json"]).expect(0).stdout;
    let results: Value = serde_json::from_str(&results).unwrap();
    let values: Vec<&Value> = results["results"].as_array().unwrap().iter().map(|result| &result["value"]).collect();
    assert_eq!(values, [&json!([{"n": 199_990_000}]), &json!([20_000, {"n": 19_999}])]);
}

#[test]
fn jobs_wait_for_a_bucket_that_is_away_longer_than_an_attempt_waits() {
    let quick = Fleet::empty().with("BUE_WORKER_PATIENCE", "1s").with("BUE_WORKER_RELEASE_DELAY", "200ms");
    let mut fleet = quick.start(0);
    fleet.start_worker(&["-s", "default"]);
    fleet.write("s/x.bue", &TWO.replace("    take\n    `", "    take\n    !scope later\n    `"));
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    let run = run_of(&upload);
    eventually("a value", || (jobs(&mut fleet, &run)[0]["state"] == "succeeded").then_some(()));
    fleet.bucket.as_mut().unwrap().kill();
    fleet.start_worker(&["-s", "later"]);
    eventually("further attempts", || (jobs(&mut fleet, &run)[1]["attempts"].as_u64()? >= 2).then_some(()));
    fleet.start_bucket();
    upload.end().expect(0);
    let job = jobs(&mut fleet, &run)[1].clone();
    assert_eq!((&job["state"], &job["value"]["place"]["json"]), (&json!("succeeded"), &json!(50_000)));
    assert_eq!(fleet.run_view(&run)["counts"]["failed"], 0);
}

#[test]
fn a_bucket_whose_disk_is_full_holds_jobs_up_and_loses_none() {
    let mut fleet = Fleet::empty().with("BUE_WORKER_PATIENCE", "1s").with("BUE_WORKER_RELEASE_DELAY", "200ms");
    let (mut bucket, inside) = fleet.spawn_on_small_disk(".bue/bucket", 8, &["bucket", "-b", "127.0.0.1:0"]);
    bucket.wait_for("bucket listens on http://");
    let keys = fs::read_to_string(inside.join("credentials")).unwrap();
    let key = |name: &str| {
        let line = keys.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches([' ', '=']).to_owned()
    };
    let address = fs::read_to_string(inside.join("address")).unwrap().trim().to_owned();
    let port = address.rsplit(':').next().unwrap().to_owned();
    fleet = fleet
        .with("AWS_ACCESS_KEY_ID", &key("aws_access_key_id"))
        .with("AWS_SECRET_ACCESS_KEY", &key("aws_secret_access_key"))
        .with("BUCKET_CLIENT_PORT", &port);
    let mut ballast = fs::File::create(inside.join("ballast")).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while ballast.write_all(&vec![7; size]).is_ok() {}
    }
    drop(ballast);
    fleet.start_hub();
    fleet.start_worker(&[]);
    fleet.write("s/x.bue", TWO);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    eventually("a word of the disk", || bucket.stderr().contains("the disk is full").then_some(()));
    fs::remove_file(inside.join("ballast")).unwrap();
    let run = run_of(&upload);
    upload.end().expect(0);
    assert_eq!(fleet.run_view(&run)["counts"]["failed"], 0);
    assert_eq!(jobs(&mut fleet, &run)[1]["value"]["place"]["json"], 50_000);
}

/// Runs a script of so many jobs on a worker whose disk has room for their folders, and for a part only of what each returns, until
/// all have been handed back; then there is room.
fn are_handed_back_until_there_is_room(count: usize, script: &str) {
    let mut fleet = Fleet::unenclosed().with("BUE_WORKER_RELEASE_DELAY", "200ms").start(0);
    let (mut worker, inside) = fleet.spawn_on_small_disk(".bue/worker", 40, &["worker", "-n", "1"]);
    worker.wait_for("takes jobs from");
    let mut ballast = fs::File::create(inside.join("ballast")).unwrap();
    while ballast.write_all(&vec![7; 1 << 12]).is_ok() {}
    ballast.set_len(ballast.metadata().unwrap().len() - (3 << 20)).unwrap();
    fleet.write("s/x.bue", script);
    let upload = fleet.spawn(&["upload", "s/x.bue", "--wait"]);
    eventually("a word of the disk", || worker.stderr().contains("the worker's disk is full").then_some(()));
    eventually("a word of the disk in the status", || {
        let status = fleet.bue(&["status"]).expect(0).stdout;
        (status.contains("waits:") && status.contains("disk is full")).then_some(())
    });
    let run = run_of(&upload);
    eventually("attempts of all", || {
        jobs(&mut fleet, &run).iter().all(|job| job["attempts"].as_u64().is_some_and(|count| count >= 2)).then_some(())
    });
    drop(ballast);
    fs::remove_file(inside.join("ballast")).unwrap();
    upload.end().expect(0);
    let view = fleet.run_view(&run);
    assert_eq!((&view["counts"]["failed"], &view["counts"]["succeeded"]), (&json!(0), &json!(count)), "{view}");
}

#[test]
fn python_steps_for_whose_values_a_workers_disk_has_no_room_are_handed_back_until_it_has() {
    let step = |name: &str, value: &str| {
        format!(
            "{name}:\n    python\n    !retries 0\n    {name}\n    `def {name}(): return {value}`\np_{name} = | {name}\np_{name}()\n"
        )
    };
    let table = step("rows", "[{'n': n, 's': f'{n:070}'} for n in range(100_000)]");
    let text = step("text", "[f'{n:070}' for n in range(100_000)]");
    let shared = step("both", "['x' * 8_000_000]").replace("!retries 0", "!retries 0\n    !isolation shared");
    let shared = shared.replace("def both", "async def both");
    are_handed_back_until_there_is_room(3, &format!("{table}{text}{shared}"));
}

#[test]
fn sql_steps_for_which_a_workers_disk_has_no_room_are_handed_back_until_it_has() {
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i, hex(randomblob(200)) AS h FROM n";
    let duckdb = "SELECT range AS i, repeat('x' || range, 80) AS h FROM range(20000)";
    let step = |engine: &str, sql: &str| format!("{engine}:\n    {engine}\n    t\n    `{sql}`\n");
    let pipes = "p = | sqlite3\nq = | duckdb\np()\nq()\n";
    are_handed_back_until_there_is_room(2, &format!("{}{}{pipes}", step("sqlite3", sql), step("duckdb", duckdb)));
}

#[test]
fn what_workers_wait_for_is_told_and_other_jobs_go_on() {
    let mut fleet = Fleet::empty();
    let (values, away) = (fleet.path().join("values"), fleet.path().join("away"));
    let url = format!("file://{}", values.display());
    fleet = fleet.with("BUE_BUCKET", &url);
    fleet.start_hub();
    let mut worker = fleet.spawn(&["worker"]);
    worker.wait_for("takes jobs from");
    fs::rename(&values, &away).unwrap();
    fleet.write("s/large.bue", "a:\n    python\n    a\n    `def a(): return ['x' * 100_000]`\np = | a\nv = p()\n");
    fleet.write("s/small.bue", "a:\n    python\n    a\n    `def a(): return 7`\np = | a\nv = p()\n");
    let upload = fleet.spawn(&["upload", "s/large.bue", "--wait"]);
    let run = run_of(&upload);
    let words = ["waits for what it needs", &url, "lacks the file .bue-bucket"];
    let is_told = |ended: Ended| words.iter().all(|word| ended.stdout.contains(word)).then_some(());
    eventually("a word of the bucket in the run", || is_told(fleet.bue(&["explain", &run]).expect(0)));
    let job = jobs(&mut fleet, &run)[0]["id"].as_str().unwrap().to_owned();
    is_told(fleet.bue(&["explain", &job]).expect(0)).expect("a word of the bucket in the job");
    let status = fleet.bue(&["status"]).expect(0).stdout;
    assert!(status.contains(&format!("waits: the bucket {url}")), "{status}");
    let small = fleet.bue(&["upload", "s/small.bue", "--wait"]).expect(0).stdout;
    assert!(small.contains("7"), "{small}");
    let log = worker.stderr();
    assert!(log.contains(&url) && !log.contains("is back"), "a value that needs no bucket says nothing of it: {log}");
    fs::rename(&away, &values).unwrap();
    upload.end().expect(0);
    worker.wait_for("the bucket is back after");
    eventually("no word of it any more", || {
        let status = fleet.bue(&["status"]).expect(0).stdout;
        (!status.contains("waits:")).then_some(())
    });
}

#[test]
fn a_lost_value_hides_no_other_and_one_that_is_elsewhere_is_not_called_lost() {
    let mut fleet = Fleet::empty();
    let values = fleet.path().join("values");
    let url = format!("file://{}", values.display());
    fleet = fleet.with("BUE_BUCKET", &url).start(1);
    fleet.write(
        "s/x.bue",
        "large:\n    python\n    a\n    `def a(): return [{'n': n} for n in range(50_000)]`\n\
         small:\n    python\n    a\n    `def a(): return 'here'`\np = | large\nq = | small\nv = p()\nw = q()\n",
    );
    let ended = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let folder = fleet.path().join("other");
    let other = format!("file://{}", folder.display());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(".bue-bucket"), "another").unwrap();
    let query = ["query", &run, "SELECT count(*) AS rows FROM large"];
    assert!(fleet.bue(&query).expect(0).stdout.contains("50000"));
    let elsewhere = fleet.bue(&[&query[..], &["-k", &other]].concat()).expect(2);
    elsewhere.says(&[&format!("is not in {other}, but where the hub finds it"), "-k, or BUE_BUCKET"]);
    let large = jobs(&mut fleet, &run)[0]["id"].as_str().unwrap().to_owned();
    files(&values.join("runs")).iter().for_each(|object| fs::remove_file(object).unwrap());
    let way = format!("`bue reset {large}`");
    let ended = fleet.bue(&["results", &run]).expect(1).says(&["1 value is lost", &way]);
    assert!(ended.stdout.contains("lost") && ended.stdout.contains("here"), "{}", ended.stdout);
    let ended = fleet.bue(&["results", &run, "--json"]).expect(1).says(&["1 value is lost", &way]);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(document["results"][0]["value_error"].to_string().contains("is lost"), "{document}");
    assert_eq!(document["results"][1]["value"], "here");
    fleet.bue(&query).expect(1).says(&[&way]);
}

#[test]
fn the_end_of_a_run_is_told_though_the_hub_cannot_show_its_values() {
    let mut fleet = Fleet::empty();
    let (values, other) = (fleet.path().join("values"), fleet.path().join("other"));
    fleet = fleet.with("BUE_BUCKET", &format!("file://{}", values.display()));
    let mut hub = fleet.spawn(&["hub", "-b", "127.0.0.1:0", "-k", &format!("file://{}", other.display())]);
    hub.wait_for("hub listens on http://");
    fs::rename(&other, fleet.path().join("away")).unwrap();
    fleet.start_worker(&[]);
    fleet.write(
        "s/x.bue",
        "large:\n    python\n    a\n    `def a(): return ['x' * 100_000]`\n\
         small:\n    python\n    a\n    `def a(): return 'here'`\np = | large\nq = | small\nv = p()\nw = q()\n",
    );
    let ended = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    assert!(ended.stdout.contains("a list of 1 element") && ended.stdout.contains("here"), "{}", ended.stdout);
    ended.says(&["not all values are shown", "lacks the file .bue-bucket"]);
    // Of one that is too large for its cell the first rows are asked for.
    fleet.write("s/y.bue", "a:\n    python\n    a\n    `def a(): return ['x' * 1_000_000] * 2`\np = | a\nv = p()\n");
    let ended = fleet.bue(&["upload", "s/y.bue", "--wait"]).expect(0);
    assert!(ended.stdout.contains("a list of 2 elements"), "{}", ended.stdout);
    ended.says(&["not all values are shown", "lacks the file .bue-bucket"]);
}
