//! `postgres` steps on a real server.

mod fleet;
mod postgres;

use fleet::{Ended, Fleet, eventually};
use postgres::Server;
use serde_json::{Value, json};

/// A script of one Python step, whose value goes into one SQL step.
fn script(sql: &str) -> String {
    format!(
        "rows:\n    python\n    rows\n    rows.py\nquery:\n    postgres\n    orders\n    `\n{sql}\n`\np = rows | query\np()\n"
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
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    let sql = "CREATE TEMP TABLE paid AS SELECT * FROM orders WHERE paid;\n\
               SELECT id, name, price * 2 AS price, tags, day, pg_typeof(tags)::text AS t FROM paid ORDER BY id;";
    let found = value(&mut fleet, ORDERS, sql);
    assert_eq!(
        found,
        json!([
            {"id": 0, "name": "é0", "price": 0.0, "tags": ["a", 0], "day": null, "t": "jsonb"},
            {"id": 2, "name": "é2", "price": 1.0, "tags": ["a", 2], "day": null, "t": "jsonb"},
        ])
    );
}

#[test]
fn all_inputs_come_by_their_names() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    fleet.write("rows.py", "def a():\n    return [{'n': 1}]\ndef b():\n    return [{'n': 2}]\n");
    let text = "import python (a, b) rows.py\nsum:\n    postgresql\n    first\n    `\nSELECT first.n + pipe1.n AS n FROM first, pipe1\n`\n\
                pa = | a\npb = | b\nps = | sum\nx = pa()\ny = pb()\nps(x, y)\n";
    fleet.write("x.bue", text);
    let ended = fleet.bue(&["run", "x.bue", "--json"]).expect(0);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(document["results"][2]["value"], json!([{"n": 3}]), "{document:#}");
}

#[test]
fn a_database_of_this_machine_is_reached_by_its_socket() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("POSTGRES_HOST", server.sockets().to_str().unwrap());
    let sql = "SELECT count(*) AS n, inet_server_addr() IS NULL AS by_socket FROM orders";
    assert_eq!(value(&mut fleet, ORDERS, sql), json!([{"n": 3, "by_socket": true}]));
    let enclosed = fleet.bue(&["run", "x.bue", "--json", "--sandbox"]).expect(0);
    let document: Value = serde_json::from_str(&enclosed.stdout).unwrap();
    assert_eq!(document["results"][0]["value"], json!([{"n": 3, "by_socket": true}]), "{document:#}");
}

#[test]
fn a_connection_of_this_machine_is_reached_by_its_socket_from_within_the_sandbox() {
    let server = Server::shared();
    let folder = server.sockets().display().to_string().replace('/', "%2F");
    let address = format!("postgres://ada:open%20sesame@{folder}:{}/postgres", server.port());
    let mut fleet = Fleet::empty().with("BUE_CONNECTION_WAREHOUSE", &address);
    let sql = "`SELECT inet_server_addr() IS NULL AS by_socket`";
    fleet.write(
        "x.bue",
        &format!("q:\n    postgres\n    !connection warehouse\n    nothing\n    {sql}\np = | q\np()\n"),
    );
    let enclosed = fleet.bue(&["run", "x.bue", "--json", "--sandbox"]).expect(0);
    let document: Value = serde_json::from_str(&enclosed.stdout).unwrap();
    assert_eq!(document["results"][0]["value"], json!([{"by_socket": true}]), "{document:#}");
}

#[test]
fn what_a_step_writes_is_committed_at_its_end_and_never_in_part() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = server.fleet(&database);
    server.ask(&database, "CREATE TABLE warehouse (id bigint PRIMARY KEY, name text)");
    let insert = "INSERT INTO warehouse SELECT id, name FROM orders";
    let none = value(&mut fleet, ORDERS, insert);
    assert_eq!(none, json!([]));
    assert_eq!(server.ask(&database, "SELECT count(*) FROM warehouse"), "3");
    let again = "DELETE FROM warehouse;\nINSERT INTO warehouse SELECT id, name FROM orders;\nSELECT 1 / (count(*) - 3) FROM warehouse";
    run(&mut fleet, ORDERS, again).expect(1).says(&["division by zero"]);
    assert_eq!(server.ask(&database, "SELECT count(*) FROM warehouse"), "3");
    run(&mut fleet, ORDERS, "DELETE FROM warehouse;\nCOMMIT;")
        .expect(1)
        .says(&["`commit` cannot stand in a step", "line 10"]);
    assert_eq!(server.ask(&database, "SELECT count(*) FROM warehouse"), "3");
}

#[test]
fn every_type_of_the_database_has_a_form_or_is_refused_by_name() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    let sql = "SELECT 1::int2 AS a, 2::int4 AS b, 9223372036854775807 AS c, 1.5::float4 AS d, 'NaN'::float8 AS e, \
               123.450::numeric(9, 3) AS f, sum(x) AS g, true AS h, 'ü' AS i, 'x'::varchar(3) AS j, '\\x00ff'::bytea AS k, \
               '2026-02-03'::date AS l, '01:02:03.5'::time AS m, '2026-02-03 01:02:03'::timestamp AS n, \
               '2026-02-03 01:02:03+02'::timestamptz AS o, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid AS p, \
               '{\"a\": [1, null]}'::jsonb AS q, '[2]'::json AS r, '{1,NULL,3}'::int[] AS s, '{}'::text[] AS t, \
               '{2026-02-03}'::date[] AS u, NULL AS v, 'infinity'::numeric AS w, (-0.05)::numeric AS y \
               FROM (VALUES (1.25), (12345678901234567890.5)) AS numbers (x)";
    let found = value(&mut fleet, ORDERS, sql);
    let expected = json!([{"a": 1, "b": 2, "c": 9223372036854775807_i64, "d": 1.5, "e": null, "f": "123.450",
        "g": "12345678901234567891.75", "h": true, "i": "ü", "j": "x", "k": "AP8=", "l": "2026-02-03",
        "m": "01:02:03.500000", "n": "2026-02-03T01:02:03", "o": "2026-02-02T23:02:03+00:00",
        "p": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "q": {"a": [1, null]}, "r": [2], "s": [1, null, 3], "t": [],
        "u": ["2026-02-03"], "v": null, "w": "Infinity", "y": "-0.05"}]);
    assert_eq!(found, expected, "{found:#}");
    for (expression, part) in [
        ("'10.0.0.1'::inet", "has the type inet, which a table has no form for; cast it, as in x::text"),
        ("'{{1,2},{3,4}}'::int[]", "several dimensions; make JSON of them with to_jsonb"),
        ("'infinity'::timestamptz", "column `x` of the result holds an infinite date or time"),
        ("'NaN'::numeric(5, 2)", "holds NaN, which no decimal number is"),
    ] {
        run(&mut fleet, ORDERS, &format!("SELECT {expression} AS x")).expect(1).says(&[part]);
    }
}

#[test]
fn a_wrong_statement_is_named_with_its_line_and_the_databases_own_words() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    for (sql, parts) in [
        (
            "SELECT 1;\nSELECT 'é',\n  nmae FROM orders",
            &["column \"nmae\" does not exist (x.bue, line 11)", "orders.name"][..],
        ),
        ("SELEC 1", &["syntax error at or near \"SELEC\" (x.bue, line 9)"]),
        ("SELECT 1 AS a, 2 AS a", &["two columns of the result are called `a`"]),
        ("SELECT $1::int", &["line 9", "it has a parameter such as $1"]),
        ("COPY orders TO STDOUT", &["COPY from STDIN or to STDOUT has nobody to talk to"]),
        ("DO $$ BEGIN RAISE EXCEPTION 'own; words'; END $$", &["own; words (x.bue, line 9)"]),
    ] {
        run(&mut fleet, ORDERS, sql).expect(1).says(parts);
    }
}

#[test]
fn an_input_that_is_no_table_of_the_database_is_an_error_that_says_why() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    let select = "SELECT * FROM orders";
    for (returned, part) in [
        ("{'a': 1}", "a table is needed, and a dict came"),
        ("[{'a': 1}, 2]", "[1] is a number"),
        ("[{'a': 'x\\x00y'}]", "column `a` holds text with a NUL character, which PostgreSQL does not store, in [0]"),
        ("[{'a' * 64: 1}]", "longer than PostgreSQL's 63 bytes"),
        ("[{'a': 2 ** 63}]", "whole number beyond signed 64 bit"),
    ] {
        let python = format!("def rows():\n    return {returned}\n");
        run(&mut fleet, &python, select).expect(1).says(&["input `orders` cannot be made a table", part]);
    }
    let empty = "def rows():\n    return []\n";
    run(&mut fleet, empty, "SELECT id FROM orders")
        .expect(1)
        .says(&["`orders` is an empty list, so its columns are unknown"]);
    assert_eq!(value(&mut fleet, empty, "SELECT count(*) AS n FROM orders"), json!([{"n": 0}]));
    let mixed = "def rows():\n    return [{'a': 1}, {'a': 'x'}]\n";
    assert_eq!(value(&mut fleet, mixed, select), json!([{"a": "1"}, {"a": "x"}]));
}

#[test]
fn a_database_that_is_not_there_is_named_with_its_address() {
    let server = Server::shared();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut away = server.fleet("postgres").with("POSTGRES_PORT", &free);
    let words = [&format!("failed to connect to PostgreSQL at 127.0.0.1:{free}") as &str, "refused", "POSTGRES_HOST"];
    run(&mut away, ORDERS, "SELECT 1").expect(1).says(&words);
    let mut wrong = server.fleet("postgres").with("POSTGRES_PASSWORD", "wrong secret");
    let ended = run(&mut wrong, ORDERS, "SELECT 1").expect(1).says(&["password authentication failed"]);
    assert!(!ended.stderr.contains("wrong secret"));
    run(&mut Fleet::empty(), ORDERS, "SELECT 1")
        .expect(1)
        .says(&["no POSTGRES_HOST, no POSTGRES_USER, no POSTGRES_DATABASE"]);
    run(&mut Fleet::empty().with("POSTGRES_HOST", "h"), ORDERS, "SELECT 1").expect(1).says(&["no POSTGRES_USER"]);
}

#[test]
fn a_query_that_takes_too_long_is_cancelled_in_the_database_too() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = server.fleet(&database);
    let sql = "SELECT count(*) AS forever FROM generate_series(1, 1000000000000)";
    let text = script(sql).replace("    postgres\n", "    postgres\n    !timeout 3\n");
    fleet.write("rows.py", ORDERS);
    fleet.write("x.bue", &text);
    let running = fleet.spawn(&["run", "x.bue"]);
    eventually("the query", || (count(&server, "forever") == "1").then_some(()));
    running.end().expect(1).says(&["timeout of 3 s"]);
    nobody_runs(&server, "forever");
}

#[test]
fn a_query_ends_with_the_worker_that_asked_it() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = server.fleet(&database);
    fleet.write("rows.py", ORDERS);
    fleet.write("x.bue", &script("SELECT count(*) AS orphan FROM generate_series(1, 1000000000000)"));
    let mut running = fleet.spawn(&["run", "x.bue"]);
    eventually("the query", || (count(&server, "orphan") == "1").then_some(()));
    running.terminate();
    eventually("the end of the run", || running.has_ended().then_some(()));
    nobody_runs(&server, "orphan");
}

/// A script of one statement.
fn statement(settings: &str, sql: &str) -> String {
    format!("query:\n    postgres\n{settings}    nothing\n    `\n{sql}\n`\np = | query\np()\n")
}

/// Uploads a script and waits until the database runs the statement with this word.
fn upload(server: &Server, fleet: &mut Fleet, text: &str, word: &str) -> String {
    fleet.write("x.bue", text);
    let run = fleet.bue(&["upload", "x.bue"]).expect(0).run();
    eventually("the statement", || (count(server, word) == "1").then_some(()));
    run
}

/// A fleet of one worker with one slot, and the database of its steps.
fn fleet_of_one_slot(server: &Server) -> (Fleet, String) {
    let database = server.database();
    let mut fleet = server.fleet(&database).start(0);
    fleet.start_worker(&["-n", "1"]);
    (fleet, database)
}

/// No step is connected any more.
fn nobody_is_there(server: &Server, database: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND application_name LIKE 'bue step%'"
    );
    eventually("the end of the session", || (server.ask("postgres", &sql) == "0").then_some(()));
}

/// The only slot of a fleet is free again.
fn another_goes_through(fleet: &mut Fleet) {
    fleet.write("x.bue", &statement("", "SELECT 1 AS n"));
    fleet.bue(&["upload", "x.bue", "--wait"]).expect(0);
}

#[test]
fn a_statement_whose_run_is_cancelled_ends_in_the_database_and_frees_its_slot() {
    let server = Server::shared();
    let (mut fleet, database) = fleet_of_one_slot(&server);
    // The second one takes no notice of being cancelled, only of nobody being there.
    let stubborn = "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(600), 'cancelled';\n\
                    EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$";
    for sql in ["SELECT pg_sleep(600), 'cancelled'", stubborn] {
        let run = upload(&server, &mut fleet, &statement("", sql), "cancelled");
        fleet.bue(&["cancel", &run]).expect(0);
        nobody_is_there(&server, &database);
        another_goes_through(&mut fleet);
        assert_eq!(fleet.run_view(&run)["state"], "cancelled");
    }
}

#[test]
fn a_statement_whose_time_is_over_ends_in_the_database_and_frees_its_slot() {
    let server = Server::shared();
    let (mut fleet, database) = fleet_of_one_slot(&server);
    let run = upload(&server, &mut fleet, &statement("    !timeout 2\n", "SELECT pg_sleep(600), 'overdue'"), "overdue");
    nobody_is_there(&server, &database);
    another_goes_through(&mut fleet);
    let jobs: Value = serde_json::from_str(&fleet.bue(&["status", &run, "--json"]).expect(0).stdout).unwrap();
    let error = &jobs["jobs"][0]["error"];
    assert_eq!(error["kind"], "timeout", "{error}");
    assert!(error["message"].as_str().unwrap().contains("timeout of 2 s"), "{error}");
}

fn count(server: &Server, word: &str) -> String {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name LIKE 'bue%' AND query LIKE";
    server.ask("postgres", &format!("{sql} '%{word}%'"))
}

fn nobody_runs(server: &Server, word: &str) {
    eventually("the end of the query", || (count(server, word) == "0").then_some(()));
}

#[test]
fn large_tables_go_through_and_the_limit_of_a_value_holds() {
    let server = Server::shared();
    let database = server.database();
    let mut fleet = server.fleet(&database);
    let python =
        "def rows():\n    return [{'id': i, 'name': f'é{i}' if i % 3 else None, 'f': i / 8} for i in range(150000)]\n";
    let sql = "SELECT id, name, f, id * 0.25 AS q FROM orders ORDER BY id DESC";
    fleet.write(
        "more.py",
        "def check(rows):\n    return [len(rows), rows[0], rows[-1], sum(row['id'] for row in rows)]\n",
    );
    fleet.write("rows.py", python);
    let text =
        script(sql).replace("p = rows | query", "check:\n    python\n    check\n    more.py\np = rows | query | check");
    fleet.write("x.bue", &text);
    let document: Value = serde_json::from_str(&fleet.bue(&["run", "x.bue", "--json"]).expect(0).stdout).unwrap();
    let first = json!({"id": 149999, "name": "é149999", "f": 18749.875, "q": "37499.75"});
    let last = json!({"id": 0, "name": null, "f": 0.0, "q": "0.00"});
    assert_eq!(document["results"][0]["value"], json!([150000, first, last, 11249925000_i64]), "{document:#}");
    let mut narrow = server.fleet(&database).with("BUE_WORKER_VALUE_BYTES_MAX", "64KiB");
    let words = ["the result is over the limit of 65536 bytes"];
    run(&mut narrow, ORDERS, "SELECT generate_series(1, 100000) AS n").expect(1).says(&words);
}

#[test]
fn python_steps_do_not_see_the_database() {
    let server = Server::shared();
    let mut fleet = server.fleet("postgres").start(1);
    let python = "import os\ndef rows():\n    seen = [name for name in os.environ if 'POSTGRES' in name or 'sesame' in os.environ[name]]\n    assert not seen, seen\n    return [{'n': 1}]\n";
    fleet.write("rows.py", python);
    fleet.write("x.bue", &script("SELECT n FROM orders"));
    fleet.bue(&["upload", "-f", "x.bue", "--wait"]).expect(0);
}
