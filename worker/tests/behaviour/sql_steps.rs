//! SQL steps, run for real by a child process.

use bue_worker::Postgres;
use protocol::{ErrorKind, Language, Outcome};

use crate::fake_hub::{Fleet, log_text, python, sqlite};

const ORDERS: &str = r#"[{"id": 1, "spend": 2, "sales": 0}, {"id": 2, "spend": 3, "sales": 4, "note": "x"}]"#;

#[tokio::test]
async fn the_first_input_has_the_steps_name_and_the_others_are_numbered() {
    let fleet = Fleet::start();
    let sql = "SELECT o.id, o.note, p.name, q.n\nFROM orders o JOIN pipe1 p ON p.id = o.id, pipe2 q -- done";
    let work = sqlite(sql).input(ORDERS).input(r#"[{"id": 2, "name": "é"}]"#).input(r#"[{"n": null}]"#);
    assert_eq!(fleet.value(work).await, r#"[{"id":2,"note":"x","name":"é","n":null}]"#);
    assert_eq!(fleet.value(sqlite("select 1 as a, 'b' as b")).await, r#"[{"a":1,"b":"b"}]"#);
}

#[tokio::test]
async fn values_keep_their_types_on_the_way_through_sqlite() {
    let fleet = Fleet::start();
    let input =
        r#"[{"t": true, "n": [1, {"a": 2.50}], "i": 9223372036854775807, "r": 1.0, "d": "2026-01-02", "z": null}]"#;
    let value = fleet.value(sqlite("SELECT * FROM orders").input(input)).await;
    assert_eq!(
        value,
        r#"[{"t":1,"n":"[1, {\"a\": 2.50}]","i":9223372036854775807,"r":1.0,"d":"2026-01-02","z":null}]"#
    );
}

#[tokio::test]
async fn whole_and_decimal_numbers_of_a_column_become_decimal_and_other_mixtures_stay() {
    let fleet = Fleet::start();
    let sql = "SELECT id, CASE WHEN sales = 0 THEN 0 ELSE spend * 1.0 / sales END AS acos FROM orders ORDER BY id";
    let value = fleet.value(sqlite(sql).input(ORDERS)).await;
    assert_eq!(value, r#"[{"id":1,"acos":0.0},{"id":2,"acos":0.75}]"#);
    let value = fleet.value(sqlite("SELECT 1 AS a UNION ALL SELECT 'x' UNION ALL SELECT NULL")).await;
    assert_eq!(value, r#"[{"a":1},{"a":"x"},{"a":null}]"#);
}

#[tokio::test]
async fn the_last_of_several_statements_counts() {
    let fleet = Fleet::start();
    let sql = "UPDATE orders SET spend = spend + 1;\n;; -- nothing\nSELECT sum(spend) AS s FROM orders;\n-- end\n";
    assert_eq!(fleet.value(sqlite(sql).input(ORDERS)).await, r#"[{"s":7}]"#);
    let value = fleet.stored(sqlite("SELECT 1 AS a; DELETE FROM orders").input(ORDERS)).await;
    assert_eq!(value.passes(), Some(0));
}

#[tokio::test]
async fn tables_go_from_python_to_sqlite_and_back() {
    let fleet = Fleet::start();
    let code = "def step():\n    return [{'n': i, 's': f'é{i}' if i % 2 else None, 'f': i / 4, 'b': i > 50} for i in range(20000)]\n";
    let table = fleet.stored(python(code)).await;
    let sql = "SELECT b, count(*) AS n, sum(n) AS total, max(s) AS s, sum(f) AS f FROM orders GROUP BY b ORDER BY b";
    let result = fleet.stored(sqlite(sql).value(table)).await;
    let check = "def step(rows):\n    return rows\n";
    let value = fleet.value(python(check).value(result)).await;
    assert_eq!(
        value,
        r#"[{"b":0,"n":51,"total":1275,"s":"é9","f":318.75},{"b":1,"n":19949,"total":199988725,"s":"é9999","f":49997181.25}]"#
    );
}

#[tokio::test]
async fn settings_and_fresh_ids_are_filled_in() {
    let fleet = Fleet::start();
    let sql = "CREATE TABLE \"{{uuid|t}}\" (a); SELECT '{{scope}}' AS s, {{timeout}} AS t, '{{other}}' AS o, \
               (SELECT count(*) FROM \"{{uuid:t}}\") AS c, '{{uuid|u}}' = '{{uuid|t}}' AS same";
    let value = fleet.value(sqlite(sql)).await;
    assert_eq!(value, r#"[{"s":"default","t":1200,"o":"{{other}}","c":0,"same":0}]"#);
}

#[tokio::test]
async fn an_input_that_is_no_table_is_an_error_that_says_what_came() {
    let fleet = Fleet::start();
    for (input, part) in [
        (r#"{"a": 1}"#, "a dict came"),
        ("7", "a number came"),
        (r#""x""#, "a string came"),
        ("null", "None came"),
        (r#"[{"a": 1}, 2]"#, "a list came whose element [1] is a number"),
        (
            r#"[{"a": 9223372036854775808}]"#,
            "column `a` of input `orders` holds an integer beyond signed 64 bit, in [0]",
        ),
        (r#"[{"a": 1e400}]"#, "column `a` of input `orders` holds a number beyond a 64-bit float, in [0]"),
        (r#"[{"a": 1, "A": 2}]"#, "differ only in case"),
    ] {
        let error = fleet.error(sqlite("SELECT * FROM orders").input(input)).await;
        assert_eq!(error.kind, ErrorKind::Input, "{error:?}");
        assert!(error.message.contains(part) && error.message.contains("orders"), "{error:?}");
    }
}

#[tokio::test]
async fn an_empty_list_is_a_table_whose_columns_nobody_knows() {
    let fleet = Fleet::start();
    let error = fleet.error(sqlite("SELECT * FROM orders").input("[]")).await;
    assert_eq!(error.kind, ErrorKind::Input);
    assert!(error.message.contains("`orders` is an empty list, so its columns are unknown"), "{error:?}");
    let empty = fleet.stored(sqlite("SELECT id, note FROM orders WHERE 0").input(ORDERS)).await;
    let value = fleet.value(sqlite("SELECT count(note) AS n FROM orders").value(empty)).await;
    assert_eq!(value, r#"[{"n":0}]"#);
}

#[tokio::test]
async fn a_wrong_statement_is_named_with_its_line() {
    let fleet = Fleet::start();
    let error = fleet.error(sqlite("SELECT 1;\nSELECT id,\n  nmae FROM orders").input(ORDERS)).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Sql, "no such column: nmae (script.bue, line 7)"));
    let error = fleet.error(sqlite("").in_file("q/bad.sql").file("q/bad.sql", "\nSELEC 1")).await;
    assert_eq!(error.message, "near \"SELEC\": syntax error (q/bad.sql, line 2)");
    let error = fleet.error(sqlite("SELECT 1 AS a, 2 AS a")).await;
    assert_eq!(error.kind, ErrorKind::Sql);
    assert!(error.message.contains("two columns of the result are called `a`"), "{error:?}");
}

#[tokio::test]
async fn statements_reach_nothing_but_their_own_database() {
    let fleet = Fleet::start();
    let file = fleet.folder.path().join("stolen.db");
    let shown = file.display();
    for (sql, what, instead) in [
        (
            format!("ATTACH '{shown}' AS other"),
            "ATTACH and DETACH are not allowed",
            "Python step before it read the database",
        ),
        ("DETACH main".to_owned(), "ATTACH and DETACH are not allowed", "pass the rows"),
        (format!("VACUUM INTO '{shown}'"), "VACUUM is not allowed", "the step's value"),
        ("SELECT load_extension('x')".to_owned(), "load_extension() is not allowed", "Python step"),
        (format!("SELECT writefile('{shown}', 'x')"), "there is no writefile()", "one after it write"),
        ("PRAGMA temp_store_directory = '/tmp'".to_owned(), "PRAGMA temp_store_directory is not allowed", "table_info"),
        ("PRAGMA writable_schema = 1".to_owned(), "PRAGMA writable_schema is not allowed", "of PRAGMAs there are"),
    ] {
        let error = fleet.error(sqlite(&format!("SELECT 1;\n-- one; two\n;{sql}"))).await;
        assert_eq!(error.kind, ErrorKind::Sql, "{sql}: {error:?}");
        let start =
            format!("{what} in an sqlite3 step (script.bue, line 7): its statements reach nothing but its own tables");
        assert!(error.message.starts_with(&start) && error.message.contains(instead), "{sql}: {error:?}");
    }
    assert!(!file.exists());
    assert!(fleet.value(sqlite("PRAGMA table_info(orders)").input(ORDERS)).await.contains("\"name\":\"id\""));
}

#[tokio::test]
async fn infinities_that_become_null_are_told_in_the_log() {
    let fleet = Fleet::start();
    for sql in ["SELECT 9e999 AS x UNION ALL SELECT 1", "SELECT 9e999 AS x UNION ALL SELECT 'text'"] {
        let settlement = fleet.run(sqlite(sql)).await;
        let log = log_text(&settlement);
        assert!(log.contains("warning: column `x` of the result has infinities, which became null"), "{log}");
    }
}

#[tokio::test]
async fn a_job_whose_engine_the_worker_lacks_is_left_to_others() {
    let fleet = Fleet::start();
    let settlement = fleet.run(sqlite("SELECT 1").language(Language::Postgres)).await;
    let Outcome::Release { reason, delay_ms } = settlement.outcome else { panic!("{settlement:?}") };
    assert!(reason.contains("postgres"), "{reason}");
    assert!(delay_ms > 0, "at once it would come back to the same worker");
}

#[tokio::test]
async fn a_job_whose_database_does_not_answer_is_handed_back() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fleet = Fleet::with(|config| {
        let [host, user, database] = ["127.0.0.1", "nobody", "none"].map(|word| Some(word.to_owned()));
        config.engines.postgres = Postgres { host, port: Some(nobody), user, database, ..Postgres::default() };
    });
    let settlement = fleet.run(sqlite("SELECT 1").language(Language::Postgres)).await;
    let Outcome::Release { reason, delay_ms } = settlement.outcome else { panic!("{settlement:?}") };
    assert!(reason.contains(&format!("127.0.0.1:{nobody}")) && reason.contains("refused"), "{reason}");
    assert!(delay_ms > 0, "a database that is away is not asked all the time");
}

#[tokio::test]
async fn a_query_that_never_ends_ends_with_its_timeout() {
    let fleet = Fleet::start();
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let settlement = fleet.run(sqlite(sql).timeout(std::time::Duration::from_millis(300))).await;
    assert!(matches!(&settlement.outcome, Outcome::Error(error) if error.kind == ErrorKind::Timeout), "{settlement:?}");
    assert!(settlement.log.is_none() || !log_text(&settlement).is_empty());
}

#[tokio::test]
async fn tables_for_words_and_ranges_are_there() {
    let fleet = Fleet::start();
    let words = "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('hello world'), ('other'); SELECT a FROM f WHERE f MATCH 'world'";
    assert_eq!(fleet.value(sqlite(words)).await, r#"[{"a":"hello world"}]"#);
    let ranges = "CREATE VIRTUAL TABLE r USING rtree(id, low, high); INSERT INTO r VALUES (1, 2, 4), (2, 6, 8); SELECT id FROM r WHERE low > 5";
    assert_eq!(fleet.value(sqlite(ranges)).await, r#"[{"id":2}]"#);
}

#[tokio::test]
async fn there_are_functions_for_what_is_computed() {
    let fleet = Fleet::start();
    let sql = "SELECT sqrt(16.0) AS root, pow(2, 10) AS power, floor(2.7) AS floor, round(pi(), 4) AS pi, median(column1) AS median FROM (VALUES (1), (2), (9))";
    let expected = r#"[{"root":4.0,"power":1024.0,"floor":2.0,"pi":3.1416,"median":2.0}]"#;
    assert_eq!(fleet.value(sqlite(sql)).await, expected);
}

/// The programs that stay and fork themselves for the SQL steps of a fleet.
fn programs(fleet: &Fleet) -> Vec<i32> {
    let folder = fleet.folder.path().to_str().unwrap();
    let has = |pid: i32, file: &str, part: &str| {
        let content = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&content).contains(part)
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let are_forked_from = |pid: &i32| has(*pid, "cmdline", "sql-step\0warm") && has(*pid, "environ", folder);
    let all: Vec<i32> = pids.filter(are_forked_from).collect();
    // A fork looks like what it is forked from.
    let parent = |pid: i32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok())
    };
    all.iter().copied().filter(|pid| parent(*pid).is_none_or(|parent| !all.contains(&parent))).collect()
}

#[tokio::test]
async fn a_step_is_forked_from_a_program_that_stays_and_is_started_again_when_it_ends() {
    let fleet = Fleet::start();
    let answer = async || fleet.value(sqlite("SELECT sum(id) AS s FROM orders").input(ORDERS)).await;
    assert_eq!(answer().await, r#"[{"s":3}]"#);
    let first = programs(&fleet);
    assert_eq!(answer().await, r#"[{"s":3}]"#);
    assert_eq!((first.len(), programs(&fleet)), (1, first.clone()));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
    crate::fake_hub::until("the end of the program", || programs(&fleet).is_empty()).await;
    assert_eq!(answer().await, r#"[{"s":3}]"#);
    assert!(programs(&fleet) != first, "{first:?}");
}

#[tokio::test]
async fn a_step_whose_program_ends_under_it_is_handed_back() {
    let fleet = Fleet::start();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let running = fleet.add(sqlite(endless));
    crate::fake_hub::until("the program", || programs(&fleet).len() == 1).await;
    let program = programs(&fleet)[0];
    let forks = || std::fs::read_to_string(format!("/proc/{program}/task/{program}/children")).unwrap_or_default();
    crate::fake_hub::until("the step", || !forks().trim().is_empty()).await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(program), nix::sys::signal::Signal::SIGKILL).unwrap();
    let settlement = fleet.hub.settlement(running.job).await;
    assert!(matches!(settlement.outcome, Outcome::Release { .. }), "{:?}", settlement.outcome);
}

#[tokio::test]
async fn a_fresh_process_is_there_for_who_wants_one() {
    let fleet = Fleet::start();
    let fresh = sqlite("SELECT 1 AS a").set(|settings| settings.runtime.isolation = Some(protocol::Isolation::Fresh));
    assert_eq!(fleet.value(fresh).await, r#"[{"a":1}]"#);
    assert!(programs(&fleet).is_empty());
}
