//! SQL steps at their bounds, in the sandbox of a worker: each is ended by name with the way out, and the worker goes on.

mod fleet;

use fleet::Fleet;
use serde_json::Value;

/// An endless query, and one whose rows have no end either.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

type Says = &'static [&'static str];

/// An engine, a setting, a statement, the kind of the error, and what it says.
type Case = (&'static str, &'static str, String, &'static str, Says);

fn sqlite() -> Vec<Case> {
    let sqlite =
        |setting, sql: &str, kind, says: Says| ("sqlite3", setting, sql.replace("ENDLESS", ENDLESS), kind, says);
    let no_memory: Says = &["SQLite has no memory left; the step may use 128 MiB", "`!memory`"];
    let enclosed: Says = &["not allowed in an sqlite3 step (x.bue, line ", "reach nothing but its own tables"];
    vec![
        sqlite("", "SELECT hex(zeroblob(1000000000)) AS x", "sql", &["too big", "1000000000 bytes", "in several rows"]),
        sqlite("!memory 128MiB", "SELECT length(hex(zeroblob(300000000))) AS x", "memory", no_memory),
        sqlite(
            "!memory 128MiB",
            "CREATE TABLE t AS ENDLESS SELECT hex(randomblob(500)) AS h FROM n",
            "memory",
            no_memory,
        ),
        sqlite(
            "!memory 128MiB",
            "ENDLESS SELECT count(*) FROM (SELECT DISTINCT hex(randomblob(500)) FROM n)",
            "disk",
            &["a larger file than it may", "BUE_STEP_SCRATCH_BYTES_MAX"],
        ),
        sqlite(
            "!memory 64MiB",
            "ENDLESS SELECT CASE i WHEN 1 THEN 'x' END AS m, NULL AS n, CASE i WHEN 2 THEN 1 ELSE 'y' END AS v FROM n",
            "memory",
            &["SIGABRT", "no memory is left", "`!memory`"],
        ),
        sqlite(
            "",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT a.i, b.i AS j FROM n a, n b",
            "value",
            &["the result is over the limit of 8388608 bytes", "select less", "BUE_WORKER_VALUE_BYTES_MAX"],
        ),
        sqlite("!timeout 2", "ENDLESS SELECT count(*) FROM n", "timeout", &["longer than its timeout of 2 s"]),
        sqlite(
            "!cpu 1",
            "ENDLESS SELECT count(*) FROM n",
            "cpu",
            &["more time on a processor", "`!cpu` sets how much"],
        ),
        sqlite(
            "",
            "SELECT 1;\nSELECT abs(-9223372036854775808) AS n",
            "sql",
            &["integer overflow (x.bue, in the statement on line "],
        ),
        sqlite("", "ATTACH '/tmp/other' AS other", "sql", enclosed),
        sqlite("", "PRAGMA temp_store_directory = '/tmp'", "sql", enclosed),
        sqlite("", "VACUUM INTO '/tmp/stolen'", "sql", enclosed),
        sqlite("", "SELECT load_extension('x')", "sql", enclosed),
        sqlite("", "SELECT ? AS a, :b AS b", "sql", &["the parameter ?, and a step has no values", "x.bue"]),
    ]
}

fn duckdb() -> Vec<Case> {
    let duckdb = |setting, sql: &str, kind, says: Says| ("duckdb", setting, sql.to_owned(), kind, says);
    let no_memory: Says = &["Out of Memory Error", "BUE_DUCKDB_MEMORY_BYTES_MAX and a third to a half of `!memory`"];
    let enclosed: Says = &["Permission Error", "no file, no network, no extension"];
    let locked: Says = &["locked", "BUE_DUCKDB_MEMORY_BYTES_MAX, BUE_DUCKDB_THREADS_MAX"];
    vec![
        duckdb("!memory 256MiB", "SELECT list(range) AS l FROM range(50000000)", "memory", no_memory),
        duckdb(
            "",
            "SELECT range AS n FROM range(100000000)",
            "value",
            &["the result is over the limit of 8388608 bytes", "select less"],
        ),
        duckdb(
            "!timeout 2",
            "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = 1",
            "timeout",
            &["longer than its timeout of 2 s"],
        ),
        duckdb(
            "!cpu 1",
            "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = 1",
            "cpu",
            &["`!cpu` sets how much"],
        ),
        duckdb("", "COPY (SELECT 1) TO '/tmp/stolen'", "sql", enclosed),
        duckdb("", "SELECT * FROM read_csv('/etc/passwd')", "sql", enclosed),
        duckdb("", "SELECT * FROM read_parquet('https://example.com/x.parquet')", "sql", enclosed),
        duckdb("", "INSTALL httpfs", "sql", enclosed),
        duckdb("", "LOAD httpfs", "sql", enclosed),
        duckdb("", "ATTACH '/tmp/other' AS other", "sql", enclosed),
        duckdb("", "EXPORT DATABASE '/tmp/stolen'", "sql", enclosed),
        duckdb(
            "",
            "CALL enable_logging(storage='file', storage_config={'path': '/tmp/log'}); SELECT 1 AS a",
            "signal",
            &["its own program, at an error that its log names"],
        ),
        duckdb("", "SET threads = 64", "sql", locked),
        duckdb("", "SET memory_limit = '100GB'", "sql", locked),
    ]
}

fn script(cases: &[Case]) -> String {
    let step = |(number, (engine, setting, sql, ..)): (usize, &Case)| {
        let setting = if setting.is_empty() { String::new() } else { format!("    {setting}\n") };
        format!(
            "s{number}:\n    {engine}\n{setting}    nothing\n    `\n{sql}\n`\np{number} = | s{number}\np{number}()\n"
        )
    };
    cases.iter().enumerate().map(step).collect()
}

fn check(cases: &[Case]) {
    let mut fleet =
        Fleet::empty().with("BUE_WORKER_VALUE_BYTES_MAX", "8MiB").with("BUE_STEP_SCRATCH_BYTES_MAX", "64MiB").start(0);
    fleet.start_worker(&["-n", "2"]);
    fleet.write("x.bue", &script(cases));
    let run = fleet.bue(&["upload", "x.bue", "--wait"]).expect(1).run();
    let status: Value =
        serde_json::from_str(&fleet.bue(&["status", &run, "--all", "--json"]).expect(0).stdout).unwrap();
    for (number, (engine, setting, sql, kind, says)) in cases.iter().enumerate() {
        let jobs = status["jobs"].as_array().unwrap();
        let error = &jobs.iter().find(|job| job["name"] == format!("s{number}")).unwrap()["error"];
        assert_eq!(error["kind"].as_str().unwrap_or_default(), *kind, "{engine} {setting}: {sql}\n{error}");
        let message = error["message"].as_str().unwrap_or_default();
        says.iter().for_each(|part| assert!(message.contains(part), "{sql}: `{part}` is not in\n{message}"));
    }
    // The same worker, in whose slots all of them ran.
    assert!(!fleet.workers[0].has_ended());
    fleet.write("x.bue", "s:\n    sqlite3\n    nothing\n    `SELECT 1 AS n`\np = | s\np()\n");
    fleet.bue(&["upload", "x.bue", "--wait"]).expect(0);
}

fn job<'status>(status: &'status Value, name: &str) -> &'status Value {
    status["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap()
}

#[test]
fn an_input_for_which_a_step_has_no_memory_is_no_fault_of_the_input() {
    let mut fleet = Fleet::empty().with("BUE_DUCKDB_SPILL_BYTES_MAX", "1MiB").start(1);
    let table = "table:\n    duckdb\n    nothing\n    `SELECT range AS n, repeat('text ' || range, 9) AS s FROM range(600_000)`\n";
    let records = "records:\n    python\n    records\n    `def records(): return [{'n': n, 's': f'text {n}' * 9} for n in range(600_000)]`\n";
    // What a single query goes through need not become a table.
    let (query, two) = ("SELECT count(*) AS n, sum(n) AS s FROM t", "SELECT 1; SELECT count(*) AS n FROM t");
    let cases = [
        ("sqlite", "sqlite3", "table", two),
        ("duckdb", "duckdb", "table", two),
        ("sqlite_records", "sqlite3", "records", two),
        ("reads", "duckdb", "table", query),
        ("scans", "sqlite3", "table", query),
    ];
    let step = |(name, engine, source, sql): &(&str, &str, &str, &str)| {
        let step = format!("{name}:\n    {engine}\n    !memory 64MiB\n    t\n    `{sql}`\n");
        format!("{step}{name}_pipe = {source} | {name}\n{name}_pipe()\n")
    };
    fleet.write("x.bue", &format!("{table}{records}{}", cases.iter().map(step).collect::<String>()));
    let run = fleet.bue(&["upload", "x.bue", "--wait"]).expect(1).run();
    let status: Value =
        serde_json::from_str(&fleet.bue(&["status", &run, "--all", "--json"]).expect(0).stdout).unwrap();
    for (name, ..) in &cases[..3] {
        let error = &job(&status, name)["error"];
        let (kind, message) = (error["kind"].as_str(), error["message"].as_str().unwrap_or_default());
        let is_of_bound = kind == Some("memory") || (kind == Some("disk") && *name == "duckdb");
        assert!(is_of_bound && message.contains("`!memory`"), "{:#}", job(&status, name));
    }
    for (name, ..) in &cases[3..] {
        let reads = job(&status, name);
        assert_eq!(reads["state"], "succeeded", "{reads:#}");
    }
}

#[test]
fn bounds_of_sqlite_are_named_with_the_way_out_and_the_worker_goes_on() {
    check(&sqlite());
}

#[test]
fn bounds_of_duckdb_are_named_with_the_way_out_and_the_worker_goes_on() {
    check(&duckdb());
}
