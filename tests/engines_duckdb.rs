//! `duckdb` steps, run by the program of their own beside `bue`.

mod fleet;

use std::path::Path;

use fleet::{Ended, Fleet, eventually};
use serde_json::{Value, json};

/// A folder; its steps have the program.
fn fleet() -> Fleet {
    let program = Path::new(env!("CARGO_BIN_EXE_bue")).with_file_name("bue-duckdb");
    assert!(program.is_file(), "{} is missing: scripts/build-duckdb makes it", program.display());
    Fleet::empty()
}

/// A script of one Python step, whose value goes into one SQL step.
fn script(sql: &str) -> String {
    format!(
        "rows:\n    python\n    rows\n    rows.py\nquery:\n    duckdb\n    orders\n    `\n{sql}\n`\np = rows | query\np()\n"
    )
}

fn run(fleet: &mut Fleet, python: &str, sql: &str) -> Ended {
    fleet.write("rows.py", python);
    fleet.write("x.bue", &script(sql));
    fleet.bue(&["run", "x.bue", "--json"])
}

/// The value of a run that must succeed.
#[track_caller]
fn value(fleet: &mut Fleet, python: &str, sql: &str) -> Value {
    let document: Value = serde_json::from_str(&run(fleet, python, sql).expect(0).stdout).unwrap();
    document["results"][0]["value"].clone()
}

const ORDERS: &str = "def rows():\n    return [{'id': i, 'name': f'é{i}', 'price': i / 4, 'paid': i % 2 == 0, 'tags': ['a', i], 'day': None} for i in range(3)]\n";

#[test]
fn inputs_become_tables_and_the_last_statement_is_the_value() {
    let sql = "CREATE TABLE paid AS SELECT * FROM orders WHERE paid;\n\
               SELECT id, name, price * 2 AS price, tags, day, typeof(tags) AS t FROM paid ORDER BY id; -- done";
    let found = value(&mut fleet(), ORDERS, sql);
    assert_eq!(
        found,
        json!([
            {"id": 0, "name": "é0", "price": 0.0, "tags": ["a", 0], "day": null, "t": "JSON"},
            {"id": 2, "name": "é2", "price": 1.0, "tags": ["a", 2], "day": null, "t": "JSON"},
        ])
    );
}

#[test]
fn names_that_differ_in_case_beyond_ascii_are_two() {
    let rows = "def rows():\n    return [{'É': 1, 'é': 2}]\n";
    assert_eq!(value(&mut fleet(), rows, "SELECT * FROM orders"), json!([{"É": 1, "é": 2}]));
}

#[test]
fn secrets_of_a_step_are_kept_in_memory() {
    let sql = "CREATE SECRET mine (TYPE http, BEARER_TOKEN 'x'); SELECT count(*) AS n FROM duckdb_secrets()";
    let ended = run(&mut fleet(), ORDERS, sql);
    // Kinds of secrets come with extensions; what must not be is that a folder is missing for one.
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("stored_secrets"), "{}", ended.stderr);
    assert_eq!(value(&mut fleet(), ORDERS, "SELECT count(*) AS n FROM duckdb_secrets()"), json!([{"n": 0}]));
}

#[test]
fn a_statement_that_only_changes_rows_gives_an_empty_table() {
    let mut fleet = fleet();
    assert_eq!(value(&mut fleet, ORDERS, "INSERT INTO orders (id) VALUES (7)"), json!([]));
    assert_eq!(value(&mut fleet, ORDERS, "CREATE TABLE t AS SELECT * FROM orders"), json!([]));
    assert_eq!(value(&mut fleet, ORDERS, "DELETE FROM orders WHERE id > 1 RETURNING id"), json!([{"id": 2}]));
    assert_eq!(value(&mut fleet, ORDERS, "SELECT count(*) AS \"Count\" FROM orders"), json!([{"Count": 3}]));
}

#[test]
fn every_type_of_the_database_has_a_form_or_is_refused_by_name() {
    let mut fleet = fleet();
    let sql = "SELECT 1::TINYINT AS a, 2::UINTEGER AS b, 9223372036854775807 AS c, 1.5::FLOAT AS d, 'NaN'::DOUBLE AS e, \
               123.450::DECIMAL(9, 3) AS f, sum(1) AS g, true AS h, 'ü' AS i, '\\x00\\xFF'::BLOB AS k, \
               DATE '2026-02-03' AS l, TIME '01:02:03.5' AS m, TIMESTAMP '2026-02-03 01:02:03' AS n, \
               '2026-02-03 01:02:03+02'::TIMESTAMPTZ AS o, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID AS p, \
               '{\"a\": [1, null]}'::JSON AS q, [1, NULL, 3] AS s, {'x': 1, 'y': [DATE '2026-02-03']} AS t, \
               MAP {'k': 2} AS u, NULL AS v, 'b'::ENUM ('a', 'b') AS w";
    let found = value(&mut fleet, ORDERS, sql);
    let expected = json!([{"a": 1, "b": 2, "c": 9223372036854775807_i64, "d": 1.5, "e": null, "f": "123.450",
        "g": 1, "h": true, "i": "ü", "k": "AP8=", "l": "2026-02-03",
        "m": "01:02:03.500000", "n": "2026-02-03T01:02:03", "o": "2026-02-02T23:02:03+00:00",
        "p": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "q": {"a": [1, null]}, "s": [1, null, 3],
        "t": {"x": 1, "y": ["2026-02-03"]}, "u": {"k": 2}, "v": null, "w": "b"}]);
    assert_eq!(found, expected, "{found:#}");
    let words = ["column `x` of the result has the type", "which a table has no form for; cast it, as in x::text"];
    for (sql, word) in [
        ("SELECT INTERVAL 1 DAY AS x", "Interval"),
        ("SELECT '01:02:03+02'::TIMETZ AS x", "TIMETZ"),
        ("SELECT 1::UHUGEINT AS x", "UHUGEINT"),
        ("SELECT '101'::BIT AS x", "BIT"),
        ("SELECT 1::BIGNUM AS x", "BIGNUM"),
        ("SELECT [{'a': '101'::BIT}] AS x", "BIT"),
    ] {
        run(&mut fleet, ORDERS, sql).expect(1).says(&words).says(&[word]);
    }
    for infinite in ["DATE 'infinity'", "'-infinity'::TIMESTAMP", "'infinity'::TIMESTAMPTZ", "[DATE '-infinity']"] {
        let told = ["column `x` of the result holds an infinite date", "cast it, as in x::text"];
        run(&mut fleet, ORDERS, &format!("SELECT {infinite} AS x")).expect(1).says(&told);
    }
    let huge = value(&mut fleet, ORDERS, "SELECT sum(9223372036854775807) AS s FROM orders");
    assert_eq!(huge, json!([{"s": "27670116110564327421"}]));
}

#[test]
fn a_whole_number_that_no_decimal_has_room_for_is_refused_with_its_column() {
    let mut fleet = fleet();
    let (most, least) = ("170141183460469231731687303715884105727", "-170141183460469231731687303715884105728");
    let longest = "99999999999999999999999999999999999999";
    for (sql, number, way_out) in [
        (format!("SELECT {most}::HUGEINT AS x"), most, "cast it, as in x::text or x::double"),
        (format!("SELECT '{least}'::HUGEINT AS x"), least, "cast it, as in x::text or x::double"),
        (format!("SELECT [NULL, {{'a': {most}::HUGEINT}}] AS x"), most, "cast it, as in x::text"),
        (format!("SELECT MAP {{'k': [{most}::HUGEINT]::HUGEINT[1]}} AS x"), most, "cast it, as in x::text"),
        (format!("SELECT id::HUGEINT + {longest} AS x FROM orders"), "1000", "cast it, as in x::text or x::double"),
    ] {
        let words = [&format!("column `x` of the result holds {number}"), "more than 38 digits", way_out];
        run(&mut fleet, ORDERS, &sql).expect(1).says(&words);
    }
    for nested in ["[1::UHUGEINT]", "{'a': [1::UHUGEINT]}", "MAP {1::UHUGEINT: 1}", "[1::UHUGEINT]::UHUGEINT[1]"] {
        run(&mut fleet, ORDERS, &format!("SELECT {nested} AS x")).expect(1).says(&["`x`", "the type UHUGEINT"]);
    }
    let sql = format!("SELECT {longest}::HUGEINT AS a, [-{longest}::HUGEINT] AS b, {most}::HUGEINT::text AS c");
    let found = value(&mut fleet, ORDERS, &sql);
    assert_eq!(found, json!([{"a": longest, "b": [format!("-{longest}")], "c": most}]));
}

#[test]
fn a_wrong_statement_is_named_with_its_line_and_the_databases_own_words() {
    let mut fleet = fleet();
    for (sql, parts) in [
        ("SELECT 1;\nSELECT 'é',\n  nmae FROM orders", &["\"nmae\" not found", "\"name\"", "(x.bue, line 11)"][..]),
        ("SELECT 1;\n\nSELEC 1", &["syntax error at or near \"SELEC\" (x.bue, line 11)"]),
        ("SELECT 1 AS a, 2 AS a", &["two columns of the result are called `a`"]),
        ("SELECT $1::int", &["x.bue, line 9"]),
    ] {
        run(&mut fleet, ORDERS, sql).expect(1).says(parts);
    }
}

#[test]
fn an_input_that_is_no_table_of_the_database_is_an_error_that_says_why() {
    let mut fleet = fleet();
    let select = "SELECT * FROM orders";
    for (returned, part) in [
        ("{'a': 1}", "a table is needed, and a dict came"),
        ("[{'a': 1}, 2]", "[1] is a number"),
        ("[{'a': 1, 'A': 2}]", "only in case; DuckDB cannot tell them apart"),
        ("[{'a': 2 ** 63}]", "whole number beyond signed 64 bit"),
    ] {
        let python = format!("def rows():\n    return {returned}\n");
        run(&mut fleet, &python, select).expect(1).says(&["input `orders` cannot be made a table", part]);
    }
    let empty = "def rows():\n    return []\n";
    run(&mut fleet, empty, select).expect(1).says(&["`orders` is an empty list, so its columns are unknown"]);
    let mixed = "def rows():\n    return [{'a': 1}, {'a': 'x'}]\n";
    assert_eq!(value(&mut fleet, mixed, select), json!([{"a": "1"}, {"a": "x"}]));
}

#[test]
fn statements_reach_nothing_but_their_own_database() {
    let mut fleet = fleet();
    let stolen = fleet.path().join("stolen");
    for (sql, word) in [
        ("SELECT * FROM read_text('x.bue')".to_owned(), "disabled"),
        (format!("COPY orders TO '{}'", stolen.display()), "disabled"),
        (format!("ATTACH '{}' AS other", stolen.display()), "disabled"),
        ("INSTALL httpfs".to_owned(), "disabled"),
        ("LOAD httpfs".to_owned(), "disabled"),
        ("SET enable_external_access = true".to_owned(), "locked"),
        ("SET memory_limit = '100GB'".to_owned(), "locked"),
        ("SET temp_directory = '/tmp'".to_owned(), "locked"),
    ] {
        let ended = run(&mut fleet, ORDERS, &sql).expect(1);
        assert!(ended.stderr.contains(word) || ended.stderr.contains("Cannot"), "{sql}:\n{}", ended.stderr);
    }
    assert!(!stolen.exists());
}

#[test]
fn bounds_of_memory_and_of_a_value_hold_and_what_does_not_fit_spills() {
    let mut narrow = fleet().with("BUE_DUCKDB_MEMORY_BYTES_MAX", "32MiB").with("BUE_WORKER_VALUE_BYTES_MAX", "64KiB");
    let sorted = "SELECT count(*) AS n FROM (SELECT range AS i, hash(range) AS h FROM range(6000000) ORDER BY h)";
    assert_eq!(value(&mut narrow, ORDERS, sorted), json!([{"n": 6_000_000}]));
    let words = ["the result is over the limit of 65536 bytes"];
    run(&mut narrow, ORDERS, "SELECT range AS n FROM range(100000)").expect(1).says(&words);
    let mut nothing = fleet().with("BUE_DUCKDB_MEMORY_BYTES_MAX", "32MiB").with("BUE_DUCKDB_SPILL_BYTES_MAX", "1MiB");
    run(&mut nothing, ORDERS, "SELECT list(range) AS l FROM range(20000000)").expect(1).says(&["Out of Memory Error"]);
}

#[test]
fn large_tables_go_through_the_bucket_and_past_it() {
    for at_hand in ["0", "512MiB"] {
        large_tables_go_through(fleet().with("BUE_WORKER_TABLES_BYTES_MAX", at_hand));
    }
}

fn large_tables_go_through(mut fleet: Fleet) {
    let python =
        "def rows():\n    return [{'id': i, 'name': f'é{i}' if i % 3 else None, 'f': i / 8} for i in range(150000)]\n";
    fleet.write("rows.py", python);
    fleet.write(
        "more.py",
        "def check(rows):\n    return [len(rows), rows[0], rows[-1], sum(row['id'] for row in rows)]\n",
    );
    let sql = "SELECT id, name, f FROM orders ORDER BY id DESC";
    let text =
        script(sql).replace("p = rows | query", "check:\n    python\n    check\n    more.py\np = rows | query | check");
    fleet.write("x.bue", &text);
    let document: Value = serde_json::from_str(&fleet.bue(&["run", "x.bue", "--json"]).expect(0).stdout).unwrap();
    let first = json!({"id": 149999, "name": "é149999", "f": 18749.875});
    let last = json!({"id": 0, "name": null, "f": 0.0});
    assert_eq!(document["results"][0]["value"], json!([150000, first, last, 11249925000_i64]), "{document:#}");
}

#[test]
fn a_large_result_is_stored_as_it_is_written_and_is_what_the_query_returned() {
    let mut fleet = fleet().with("BUE_LOG", "bue_bucket=debug");
    let sums = "SELECT count(*) AS rows, sum(n) AS n, sum(length(text)) AS letters FROM t";
    let cases = [
        ("duckdb", 1_500_000_i64, "SELECT range AS n, sha256(range::text) AS text FROM range(1500000)"),
        (
            "sqlite3",
            300_000,
            "WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r LIMIT 300000) SELECT n, printf('%064d', n) AS text FROM r",
        ),
    ];
    for (engine, count, rows) in cases {
        let step = |name: &str, sql: &str| format!("{name}:\n    {engine}\n    t\n    `{sql}`\n");
        let steps = step("rows", rows) + &step("sums", sums);
        fleet.write("x.bue", &format!("{steps}p = | rows | sums\np()\n"));
        let ended = fleet.bue(&["run", "x.bue", "--json"]).expect(0);
        let ended = ended.says(&["the table was stored as it was written"]);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let expected = json!([{"rows": count, "n": count * (count - 1) / 2, "letters": count * 64}]);
        assert_eq!(document["results"][0]["value"], expected, "{document:#}");
    }
}

#[test]
fn steps_of_one_worker_share_neither_tables_nor_settings_nor_random_numbers() {
    let mut fleet = fleet().start(1);
    let look = "SELECT uuid()::TEXT AS id, random() AS number, (SELECT count(*) FROM duckdb_tables()) AS tables, \
                current_setting('memory_limit') AS memory";
    let step = |name: &str, memory: &str| {
        format!("{name}:\n    duckdb\n    orders\n{memory}    `CREATE TABLE mine AS SELECT 1 AS a; {look}`\n")
    };
    let steps = step("first", "    !memory 512MiB\n") + &step("second", "") + &step("third", "");
    fleet.write("s/rows.py", ORDERS);
    let pipes = "p = rows | first\nq = rows | second\nr = rows | third\np()\nq()\nr()\n";
    fleet.write("s/x.bue", &format!("rows:\n    python\n    rows\n    rows.py\n{steps}{pipes}"));
    let run = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0).run();
    let told: Value = serde_json::from_str(&fleet.bue(&["results", &run, "--json"]).expect(0).stdout).unwrap();
    let rows: Vec<&Value> = told["results"].as_array().unwrap().iter().map(|result| &result["value"][0]).collect();
    let different =
        |of: &str| rows.iter().map(|row| row[of].to_string()).collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!((rows.len(), different("id"), different("number"), different("memory")), (3, 3, 3, 2), "{told:#}");
    assert!(rows.iter().all(|row| row["tables"] == 2), "{told:#}");
}

#[test]
fn a_query_ends_with_its_timeout_and_without_the_program_a_step_says_what_is_missing() {
    let mut fleet = fleet();
    // A copy of its own, so that its processes are known.
    let beside = Path::new(env!("CARGO_BIN_EXE_bue"));
    let own = fleet.path().canonicalize().unwrap().join("bue-duckdb");
    std::fs::copy(beside.with_file_name("bue-duckdb"), &own).unwrap();
    std::os::unix::fs::symlink(beside.with_file_name("libduckdb.so"), own.with_file_name("libduckdb.so")).unwrap();
    fleet = fleet.with("BUE_DUCKDB", own.to_str().unwrap());
    fleet.write("rows.py", ORDERS);
    let sql = "SELECT count(*) AS n FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = 1";
    fleet.write("x.bue", &script(sql).replace("    duckdb\n", "    duckdb\n    !timeout 3\n"));
    fleet.write(".bueignore", "*duckdb*\n");
    let running = fleet.spawn(&["run", "x.bue"]);
    eventually("the query", || is_running(&own).then_some(()));
    running.end().expect(1).says(&["timeout of 3 s"]);
    eventually("the end of the query", || (!is_running(&own)).then_some(()));
    std::fs::remove_file(&own).unwrap();
    let missing = format!("DuckDB needs the program bue-duckdb, and {} is not there", own.display());
    run(&mut fleet, ORDERS, "SELECT 1").expect(1).says(&[&missing, "scripts/build-duckdb", "BUE_DUCKDB"]);
}

/// Whether a process of this program runs.
fn is_running(program: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| std::fs::read_link(process.path().join("exe")).is_ok_and(|exe| exe == program))
}
