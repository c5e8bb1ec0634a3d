//! Looking at the data of a run: values at a glance and in files, queries over the tables of its steps.

mod fleet;

use std::path::Path;
use std::process::Command;

use fleet::Fleet;
use serde_json::{Value, json};

const SCRIPT: &str = "\
orders:
    python
    orders
    `def orders():
    return [{'id': n, 'shop': f'shop {n % 3}', 'cents': n * 10, 'tags': [n]} for n in range(50_000)]`

names:
    python
    names
    `def names():
    return ['a long name'] * 5_000`

shops:
    python
    shops
    `def shops():
    return ['north', 'south']`

daily:
    python
    daily
    `def daily(shop):
    row = {'shop': shop, 'sum': len(shop)}
    return [row] if shop == 'north' else [{**row, 'note': 'late'}]`

count:
    python
    count
    `def count():
    return 7`

all_orders = | orders
numbers = | count
all_names = | names
all_shops = | shops
one_day = | daily
o = all_orders()
n = numbers()
w = all_names()
for shop in all_shops():
    one_day(shop)
";

/// A fleet with one run that has ended, and the run's id.
fn ended() -> (Fleet, String) {
    let program = Path::new(env!("CARGO_BIN_EXE_bue")).with_file_name("bue-duckdb");
    assert!(program.is_file(), "{} is missing: scripts/build-duckdb makes it", program.display());
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", SCRIPT);
    let ended = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    let run = ended.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    (fleet, run)
}

fn job(fleet: &mut Fleet, run: &str, name: &str) -> String {
    let status = fleet.bue(&["status", run, "--json"]).expect(0);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
}

fn answer(fleet: &mut Fleet, run: &str, sql: &str) -> Value {
    serde_json::from_str(&fleet.bue(&["query", run, sql, "--json"]).expect(0).stdout).unwrap()
}

#[test]
fn the_first_rows_of_a_value_are_shown() {
    let (mut fleet, run) = ended();
    let orders = job(&mut fleet, &run, "orders");
    let head = fleet.bue(&["value", &orders, "--head", "3"]).expect(0).stdout;
    for part in ["shop 2", "cents", "[1]", "… 50000 rows in all"] {
        assert!(head.contains(part) || head.replace(',', "").contains(part), "`{part}` is not in:\n{head}");
    }
    assert!(!head.contains("shop 3") && !head.contains("[3]"), "{head}");
    let count = job(&mut fleet, &run, "count");
    assert_eq!(fleet.bue(&["value", &count, "--head", "3"]).expect(0).stdout.trim(), "7");
    fleet.bue(&["value", &orders, "--head", "0"]).expect(2);
}

#[test]
fn a_table_is_written_as_csv_arrow_and_parquet() {
    let (mut fleet, run) = ended();
    let orders = job(&mut fleet, &run, "orders");
    fleet.bue(&["value", &orders, "--csv", "o.csv", "--arrow", "o.arrow", "--parquet", "o.parquet"]).expect(0);
    let csv = std::fs::read_to_string(fleet.path().join("o.csv")).unwrap();
    assert_eq!(csv.lines().count(), 50_001);
    assert_eq!(csv.lines().take(3).collect::<Vec<_>>(), ["id,shop,cents,tags", "0,shop 0,0,[0]", "1,shop 1,10,[1]"]);
    let parquet = std::fs::read(fleet.path().join("o.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let stream = std::io::BufReader::new(std::fs::File::open(fleet.path().join("o.arrow")).unwrap());
    let rows: usize = bucket::table::read_stream(stream).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 50_000);
    // The same to standard output, and nothing else.
    for (flag, file) in [("--csv", "o.csv"), ("--arrow", "o.arrow"), ("--parquet", "o.parquet")] {
        let piped = fleet.command(&["value", &orders, flag, "-"]).output().unwrap();
        assert_eq!(piped.status.code(), Some(0), "{}", String::from_utf8_lossy(&piped.stderr));
        let written = std::fs::read(fleet.path().join(file)).unwrap();
        assert!(piped.stdout == written, "{flag}: {} bytes, not {}", piped.stdout.len(), written.len());
    }
    let asked = fleet.bue(&["query", &run, "SELECT id FROM orders WHERE id < 2 ORDER BY id", "--csv", "-"]).expect(0);
    assert_eq!(asked.stdout, "id\n0\n1\n");
    fleet.bue(&["value", &orders, "--csv", "-", "--arrow", "-"]).expect(2).says(&["only one form"]);
    let count = job(&mut fleet, &run, "count");
    fleet.bue(&["value", &count, "--csv", "n.csv"]).expect(2).says(&["a number, which has no columns"]);
}

#[test]
fn the_tables_of_a_run_are_asked_by_the_names_of_their_steps() {
    let (mut fleet, run) = ended();
    let sql = "SELECT shop, count(*) AS n, sum(cents)::BIGINT AS cents FROM orders GROUP BY shop ORDER BY shop LIMIT 1";
    assert_eq!(answer(&mut fleet, &run, sql), json!([{"shop": "shop 0", "n": 16_667, "cents": 4_166_583_330_i64}]));
    // The jobs of a loop together are one table, with the columns of all.
    let sql = "SELECT * FROM daily ORDER BY shop";
    let expected = json!([{"shop": "north", "sum": 5, "note": null}, {"shop": "south", "sum": 5, "note": "late"}]);
    assert_eq!(answer(&mut fleet, &run, sql), expected);
    let joined = "SELECT count(*) AS n FROM orders o JOIN daily d ON o.id = d.sum";
    assert_eq!(answer(&mut fleet, &run, joined), json!([{"n": 2}]));
    let drawn = fleet.bue(&["query", &run, "SELECT id FROM orders"]).expect(0).stdout;
    assert!(drawn.contains("rows in all"), "{drawn}");
    fleet.bue(&["query", &run, "SELECT id FROM orders WHERE id < 2", "--csv", "q.csv"]).expect(0);
    assert_eq!(std::fs::read_to_string(fleet.path().join("q.csv")).unwrap(), "id\n0\n1\n");
}

#[test]
fn a_place_that_cannot_be_written_or_read_is_named_whatever_the_form() {
    let (mut fleet, run) = ended();
    let orders = job(&mut fleet, &run, "orders");
    for flag in ["--csv", "--arrow", "--parquet"] {
        for place in ["/nonexistent/orders", "/dev/full"] {
            fleet.bue(&["value", &orders, flag, place]).expect(5).says(&[&format!("cannot write {place}: ")]);
        }
    }
    let missing = fleet.path().join("typo");
    let bucket = format!("file://{}", missing.display());
    for command in [&["query", &run, "SELECT * FROM orders"][..], &["value", &orders, "--csv", "-"]] {
        let ended = fleet.bue(&[command, &["-k", &bucket]].concat()).expect(3);
        ended.says(&[&format!("{} does not exist", missing.display()), "BUE_BUCKET"]);
        assert!(!missing.exists());
    }
}

#[test]
fn a_query_that_cannot_be_answered_says_why() {
    let (mut fleet, run) = ended();
    // `shops` and `names` are lists of texts, which are no tables; the second one lies in the bucket.
    let tables = "its tables are daily, orders;";
    for sql in ["SELECT * FROM nothing", "SHOW TABLES", "EXPLAIN SELECT 1"] {
        fleet.bue(&["query", &run, sql]).expect(2).says(&["names no step of run", tables]);
    }
    let excerpt = "(the query, line 2)\n    selec 1\n    ^";
    fleet.bue(&["query", &run, "\nselec 1"]).expect(2).says(&["syntax error at or near \"selec\"", excerpt]);
    fleet.bue(&["query", &run, "SELECT * FROM count"]).expect(2).says(&["count of run", "has no table\n"]);
    let excerpt = "(the query, line 2)\n    nmae FROM orders\n    ^";
    fleet.bue(&["query", &run, "SELECT\nnmae FROM orders"]).expect(2).says(&["nmae", excerpt]);
    let excerpt = "(the query, line 1)\n    SELECT * FORM orders\n                  ^";
    fleet.bue(&["query", &run, "SELECT * FORM orders"]).expect(2).says(&["syntax error", excerpt]);
    let tables = "the tables of this run are daily, orders;";
    fleet
        .bue(&["query", &run, "SELECT * FROM orders JOIN order_lines USING (id)"])
        .expect(2)
        .says(&["order_lines", tables]);
    fleet.bue(&["query", &run, "COPY orders TO 'stolen.csv'"]).expect(2).says(&["disabled"]);
    let mut without: Command = fleet.command(&["query", &run, "SELECT * FROM orders"]);
    without.env("BUE_DUCKDB", "/nonexistent/bue-duckdb");
    let ended = fleet.spawn_command(without, "query").end();
    ended.expect(5).says(&["DuckDB needs the program bue-duckdb", "scripts/build-duckdb"]);
}

const FLOATS: &str = "\
few:
    duckdb
    nothing
    `SELECT 1e16::DOUBLE AS large, 0.1::DOUBLE AS tenth, -0.0::DOUBLE AS zero, 1.5e-7::DOUBLE AS small, 0.1::DOUBLE + 0.2::DOUBLE AS sum,
    18446744073709551615 AS whole, 'nan'::DOUBLE AS n, 'inf'::DOUBLE AS p, '-inf'::FLOAT AS m, ['nan'::DOUBLE, 1.0] AS l, NULL AS nothing`
many:
    duckdb
    nothing
    `SELECT range + 0.5::DOUBLE AS f, 'inf'::DOUBLE AS p FROM range(300000)`
few_floats = | few
many_floats = | many
m = many_floats()
f = few_floats()
";

#[test]
fn numbers_are_drawn_as_python_and_sql_show_them() {
    let mut fleet = Fleet::empty().start(1);
    fleet.write("s/x.bue", FLOATS);
    let uploaded = fleet.bue(&["upload", "s/x.bue", "--wait"]).expect(0);
    let run = uploaded.stderr.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let cells = |text: &str| -> Vec<String> {
        let row = text.lines().nth(3).unwrap_or_else(|| panic!("no row in:\n{text}"));
        row.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned()).collect()
    };
    let few = job(&mut fleet, &run, "few");
    let shown = fleet.bue(&["value", &few, "--head", "5"]).expect(0).stdout;
    let expected =
        ["1e+16", "0.1", "-0.0", "1.5e-07", "0.30000000000000004", "18446744073709551615", "nan", "inf", "-inf"];
    assert_eq!(cells(&shown)[..9], expected, "{shown}");
    // The run's results are drawn alike.
    assert!(uploaded.stdout.contains("1e+16") && uploaded.stdout.contains("-inf"), "{}", uploaded.stdout);
    let many = job(&mut fleet, &run, "many");
    let shown = fleet.bue(&["value", &many, "--head", "3"]).expect(0).stdout;
    assert_eq!(cells(&shown), ["0.5", "inf"], "{shown}");
    assert!(shown.contains("2.5") && !shown.contains("3.5") && shown.contains("300,000 rows in all"), "{shown}");
    let query = fleet.bue(&["query", &run, "SELECT n, p, large FROM few"]).expect(0).stdout;
    assert_eq!(cells(&query), ["nan", "inf", "1e+16"], "{query}");
    // Programs get what JSON has.
    let json = fleet.bue(&["query", &run, "SELECT n, p, large FROM few", "--json"]).expect(0).stdout;
    assert_eq!(json.trim(), r#"[{"n":null,"p":null,"large":1e+16}]"#);
}
