//! Tables of pyarrow, pandas and polars in every engine, and back in every form that a Python step can ask for: the same
//! values, or what `docs/data.md` says of them, or an error by name.

use std::path::Path;

#[path = "typed/columns.rs"]
mod columns;
mod fleet;
mod postgres;
mod venv;

use columns::{Column, VALUES, of_pandas, of_polars, of_pyarrow};
use fleet::{Ended, Fleet, eventually};
use postgres::Server;
use serde_json::{Value, json};

/// Compares the forms in which a step can have a table.
const FORMS: &str = include_str!("typed/forms.py");
const ENGINES: [&str; 3] = ["sqlite3", "duckdb", "postgres"];

fn python_step(name: &str, function: &str, file: &str) -> String {
    format!("{name}:\n    python\n    {function}\n    {file}\n\n")
}

fn sql_step(name: &str, engine: &str) -> String {
    format!("{name}:\n    {engine}\n    t\n    `SELECT * FROM t`\n\n")
}

/// A function that returns a table of these columns.
fn source(name: &str, table: &str, columns: &[Column]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| format!("        '{}': {},\n", column.name, column.python)).collect();
    format!("def {name}():\n    return {table}({{\n{}    }})\n\n", columns.concat())
}

/// The table itself and what each engine makes of it, each in all forms.
fn matrix(source: &str) -> String {
    let mut script = format!(
        "made_{source} = | {source}\nfor row in made_{source}():\n    kept(row)\nx_{source} = made_{source}()\nlook(x_{source}, x_{source}, x_{source}, x_{source})\n"
    );
    for engine in ENGINES {
        let name = format!("{source}_{engine}");
        script.push_str(&format!("through_{name} = | {engine}\nx_{name} = through_{name}(x_{source})\nlook(x_{name}, x_{name}, x_{name}, x_{name})\n"));
    }
    script
}

fn run(fleet: &mut Fleet, script: &str) -> Ended {
    fleet.write("x.bue", script);
    fleet.write("forms.py", FORMS);
    fleet.bue(&["run", "x.bue", "--json"])
}

/// The error of the job of a run that has this name.
fn error(document: &Value, name: &str) -> Option<String> {
    let jobs = document["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == name).unwrap();
    job["error"]["message"].as_str().map(str::to_owned)
}

#[test]
fn every_type_of_pyarrow_pandas_and_polars_comes_through_every_engine_and_back_in_every_form() {
    let sources = [
        ("of_pyarrow", "pa.table", of_pyarrow()),
        ("of_pandas", "pandas.DataFrame", of_pandas()),
        ("of_polars", "polars.DataFrame", of_polars()),
    ];
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_PYTHON", &venv::python());
    let mut script = python_step("compare", "compare", "forms.py") + &python_step("keep", "keep", "forms.py");
    ENGINES.iter().for_each(|engine| script.push_str(&sql_step(engine, engine)));
    let mut python = "import numpy, pandas, polars, pyarrow as pa\n".to_owned() + VALUES;
    for (name, table, columns) in &sources {
        python.push_str(&source(name, table, columns));
        script.push_str(&python_step(name, name, "sources.py"));
    }
    script.push_str("look = | compare\nkept = | keep\n");
    sources.iter().for_each(|(name, ..)| script.push_str(&matrix(name)));
    fleet.write("sources.py", &python);
    let ended = run(&mut fleet, &script).expect(0);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let results = document["results"].as_array().unwrap();
    let of_pipe = |pipe: &str| -> Vec<Value> {
        results.iter().filter(|result| result["pipe"] == pipe).map(|result| result["value"].clone()).collect()
    };
    let (looks, rows) = (of_pipe("look"), of_pipe("kept"));
    assert_eq!((looks.len(), rows.len()), (sources.len() * 4, sources.len() * 2));
    for (place, (name, _, columns)) in sources.iter().enumerate() {
        check(name, columns, &looks[place * 4..][..4], &rows[place * 2]);
    }
    ended.says(&[
        "column `timestamp_ns` of input `t` has nanoseconds; PostgreSQL keeps microseconds",
        "column `zone_ns` of input `t` has nanoseconds; DuckDB keeps microseconds",
    ]);
}

/// `looks` are at the table itself and at what each engine made of it; `row` is its first row by itself, as in a loop.
fn check(source: &str, columns: &[Column], looks: &[Value], row: &Value) {
    for (place, column) in columns.iter().enumerate() {
        let name = column.name;
        let kind = &looks[0][place][1];
        assert_eq!(looks[0][place], json!([name, kind, column.value, column.forms]), "{source}");
        assert_eq!(row[name], column.value, "a row of {source}, `{name}`");
        for (engine, (look, kind)) in ENGINES.iter().zip(looks[1..].iter().zip(column.types)) {
            assert_eq!(look[place], json!([name, kind, column.after(engine), {}]), "{source} through {engine}");
        }
    }
}

/// Steps that ask for a table in one form.
const TAKERS: &str = "\
def in_rows(rows): return len(rows)
def in_pandas(frame: 'pandas.DataFrame'): return len(frame)
def in_polars(frame: 'polars.DataFrame'): return len(frame)
";

/// A table, who takes it (an engine, or a function of a step), and what the error says.
type Refusal = (&'static str, &'static str, &'static [&'static str]);

const REFUSALS: &[Refusal] = &[
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "sqlite3", &["`x` has the type Duration"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "duckdb", &["`x` of the result", "Interval", "cast it"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "postgres", &["`x` of the result", "interval", "cast it"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "in_rows", &["`x` holds durations", "convert it"]),
    (
        "pa.table({'x': pa.array([2**64 - 1], pa.uint64())})",
        "sqlite3",
        &["`x` of input `t`", "beyond signed 64 bit, in [0]"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(1)], pa.decimal256(50, 0))})",
        "duckdb",
        &["`x` has the Arrow type Decimal256", "no type for"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(1)], pa.decimal256(50, 0))})",
        "in_polars",
        &["`frame` cannot be read", "Int256"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(100)], pa.decimal128(38, -2))})",
        "duckdb",
        &["`x` has the Arrow type Decimal128(38, -2)"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(100)], pa.decimal128(5, -2))})",
        "in_polars",
        &["`frame` cannot be read"],
    ),
    ("pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})", "sqlite3", &["`x` has the type Interval"]),
    (
        "pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})",
        "duckdb",
        &["`x` of the result", "Interval", "cast it"],
    ),
    (
        "pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})",
        "postgres",
        &["`x` has the Arrow type Interval"],
    ),
    ("pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})", "in_rows", &["`x` holds intervals"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "sqlite3", &["`x` has the type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "duckdb", &["`x` has the Arrow type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "postgres", &["`x` has the Arrow type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "in_polars", &["`frame` cannot be read"]),
    ("pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})", "sqlite3", &["`x` has the type Map"]),
    ("pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})", "postgres", &["`x` has the type Map"]),
    (
        "pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})",
        "in_rows",
        &["`x` holds maps whose keys are no text"],
    ),
    (
        "pa.table({'x': pa.array([2**45], pa.timestamp('s'))})",
        "postgres",
        &["`x` holds a date or time beyond PostgreSQL's calendar, in [0]"],
    ),
    (
        "pa.table({'x': pa.array([2**45], pa.timestamp('s'))})",
        "in_rows",
        &["`x` holds a date or time outside of the calendar"],
    ),
    ("pa.table({'x': pa.array([1_001], pa.time64('ns'))})", "in_pandas", &["`frame` cannot be read", "nanoseconds"]),
    (
        "pa.table({'x': pa.array([MOMENT], pa.timestamp('us', '-03:30'))})",
        "in_polars",
        &["`frame` cannot be read", "time zone"],
    ),
    ("pa.table({'x': ['a\\0b']})", "postgres", &["`x` holds text with a NUL character", "in [0]"]),
    (
        "pandas.DataFrame({'x': pandas.period_range('2026-01', periods=1, freq='M')})",
        "in_rows",
        &["`x` of the returned table has the type period[M]", "astype(str)"],
    ),
    ("pandas.DataFrame({'x': [1j]})", "in_rows", &["[0].x is a complex"]),
    ("pandas.DataFrame({'x': [2**70]})", "sqlite3", &["`x` of input `t`", "beyond signed 64 bit, in [0]"]),
    ("pandas.DataFrame({'x': [b'a', 'b']})", "in_rows", &["[0].x is a bytes"]),
    (
        "pandas.DataFrame([[1, 2]], columns=['x', 'x'])",
        "in_rows",
        &["two columns of the returned table have the same name, `x`"],
    ),
    (
        "polars.DataFrame({'x': polars.Series([object()], dtype=polars.Object)})",
        "in_rows",
        &["`x` of the returned table has the type Object"],
    ),
    (
        "polars.DataFrame({'x': [[2**70]]}, schema={'x': polars.List(polars.Int128)})",
        "in_rows",
        &["`x` of the returned table has the type Int128", "cast it"],
    ),
];

#[test]
fn what_some_reader_has_no_form_for_is_refused_by_its_column() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_PYTHON", &venv::python());
    let (mut script, mut python) = (String::new(), VALUES.to_owned());
    fleet.write("takers.py", TAKERS);
    let mut tables: Vec<&str> = REFUSALS.iter().map(|(table, ..)| *table).collect();
    tables.dedup();
    let maker = |table: &str| format!("make{}", tables.iter().position(|other| *other == table).unwrap());
    for table in &tables {
        let import = match table.split_once('.') {
            Some(("pa", _)) => "import pyarrow as pa",
            Some(("pandas", _)) => "import pandas",
            _ => "import polars",
        };
        let name = maker(table);
        python.push_str(&format!("def {name}():\n    {import}\n    return {table}\n\n"));
        let step = python_step(&name, &name, "sources.py");
        script.push_str(&format!("{step}made_{name} = | {name}\nx_{name} = made_{name}()\n"));
    }
    for (number, (table, taker, _)) in REFUSALS.iter().enumerate() {
        script.push_str(&match ENGINES.contains(taker) {
            true => sql_step(&format!("take{number}"), taker),
            false => python_step(&format!("take{number}"), taker, "takers.py"),
        });
        script.push_str(&format!("p{number} = | take{number}\np{number}(x_{})\n", maker(table)));
    }
    fleet.write("sources.py", &python);
    let document: Value = serde_json::from_str(&run(&mut fleet, &script).expect(1).stdout).unwrap();
    for (number, (table, taker, parts)) in REFUSALS.iter().enumerate() {
        let told = error(&document, &maker(table)).or_else(|| error(&document, &format!("take{number}")));
        let told = told.unwrap_or_else(|| panic!("{taker} took {table}"));
        parts.iter().for_each(|part| assert!(told.contains(part), "{taker} of {table}: `{part}` is not in\n{told}"));
    }
    // What has no form as JSON does not keep the other results from being shown.
    let durations = &document["results"][0];
    assert_eq!((&durations["pipe"], &durations["status"]), (&json!("made_make0"), &json!("success")));
    let told = durations["value_error"].as_str().unwrap();
    assert!(durations["value"].is_null() && told.contains("`x` has the type Duration"), "{durations}");
}

/// Structs, also in structs and in lists, of which every other one is null and has values in it all the same.
const NULL_STRUCTS: &str = "
import datetime
import pyarrow as pa

def structs(**fields):
    gone = pa.array([False, True, False, True])
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=gone)

def make():
    inner = structs(n=pa.array([1, 2, 3, 4]), text=pa.array(['a', 'b', 'c', 'd']))
    gone = pa.array([False, False, True, True])
    outer = pa.StructArray.from_arrays([inner, pa.array([5, 6, 7, 8])], names=['inner', 'n'], mask=gone)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4]), structs(n=pa.array([1, 2, 3, 4])))
    return pa.table({'id': range(4), 's': inner, 'o': outer, 'l': lists})

def spans():
    seconds = pa.array([datetime.timedelta(seconds=n) for n in range(4)])
    return pa.table({'id': range(4), 's': structs(span=seconds)})
";

#[test]
fn what_is_in_a_null_of_structs_is_null_in_every_engine() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_PYTHON", &venv::python());
    fleet.write("sources.py", NULL_STRUCTS);
    let json = "SELECT (s->>'n') AS n, (s->>'text') AS text, (o->'inner'->>'n') AS i, (o->>'n') AS o, (l->0->>'n') AS l FROM t ORDER BY id";
    let cases = [
        ("fields", "duckdb", "make", "SELECT s.n, s.text, o.inner.n AS i, o.n AS o, l[1].n AS l FROM t ORDER BY id"),
        ("counts", "duckdb", "make", "SELECT 1; SELECT count(s.n) AS n, count(o.inner.n) AS i, count(o.n) AS o FROM t"),
        ("spans", "duckdb", "spans", "SELECT s.span::text AS span FROM t ORDER BY id"),
        ("sqlite", "sqlite3", "make", json),
        ("postgres", "postgres", "make", json),
    ];
    let mut script = python_step("make", "make", "sources.py") + &python_step("make_spans", "spans", "sources.py");
    for (name, engine, source, sql) in cases {
        let source = if source == "spans" { "make_spans" } else { source };
        let pipe = format!("{name}_pipe = {source} | {name}\n{name}_pipe()\n");
        script.push_str(&format!("{name}:\n    {engine}\n    t\n    `{sql}`\n{pipe}"));
    }
    let ended = run(&mut fleet, &script).expect(0);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let results = document["results"].as_array().unwrap();
    let column = |place: usize, name: &str| -> Vec<Value> {
        results[place]["value"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    };
    // Numbers are text where they come out of JSON.
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    for place in [0, 3, 4] {
        let numbers = |name| column(place, name).iter().map(number).collect::<Vec<Option<i64>>>();
        assert_eq!(numbers("n"), [Some(1), None, Some(3), None], "{document:#}");
        assert_eq!(numbers("i"), [Some(1), None, None, None], "{document:#}");
        assert_eq!(numbers("o"), [Some(5), Some(6), None, None], "{document:#}");
        assert_eq!(numbers("l"), [Some(1), None, Some(3), None], "{document:#}");
        assert_eq!(column(place, "text"), [json!("a"), Value::Null, json!("c"), Value::Null], "{document:#}");
    }
    assert_eq!(results[1]["value"], json!([{"n": 2, "i": 1, "o": 2}]));
    assert_eq!(column(2, "span"), [json!("00:00:00"), Value::Null, json!("00:00:02"), Value::Null]);
}

#[test]
fn a_step_finds_polars_imported_although_it_starts_threads() {
    let python = venv::python();
    let folder = Path::new(&python).ancestors().nth(2).unwrap().to_string_lossy();
    let mut fleet = Fleet::empty().with("BUE_PYTHON", &python).with("BUE_STEP_READABLE", &folder).start(1);
    let step = "import sys\nhad = 'polars' in sys.modules\nimport polars\n\n\ndef sums():\n    \
                frame = polars.DataFrame({'n': range(5)})\n    return f'had: {had}, sum: {frame[\"n\"].sum()}'\n";
    fleet.write("x.bue", "sums:\n    python\n    sums\n    sums.py\np = | sums\np()\n");
    fleet.write("sums.py", step);
    eventually("a step finds polars imported", || {
        let said = fleet.bue(&["upload", "x.bue", "--wait"]).expect(0).stdout;
        assert!(said.contains("sum: 10"), "{said}");
        said.contains("had: True").then_some(())
    });
}
