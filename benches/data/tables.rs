//! Tables on their way from Python through a database and back, and large ones between databases.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fleet::Fleet;
use crate::median;
use crate::memory::{Watch, now_mb};
use crate::postgres::Server;

/// A worker gives back the memory of tables half a second later.
const GIVEN_BACK_IN: Duration = Duration::from_secs(1);
/// Bytes of a row in Arrow: three numbers of 8 bytes, two texts with their offsets of 4, one bit.
const ROW_BYTES: f64 = 3.0 * 8.0 + (4.0 + 11.0) + (4.0 + 10.0) + 0.125;

/// What the steps of all forms have.
const STEPS: &str = r#"
import time

ROWS = {rows}

def note(word):
    with open("{notes}/" + word, "w") as file:
        file.write(str(time.time()))

def returning(table):
    note("returned")
    return table
"#;

/// Each form of table is made as those who use it would make it; all have the same content.
const RECORDS: &str = r#"
def make_records():
    return returning([
        {
            "id": n,
            "name": f"item {n % 100_000:06}",
            "price": n % 1000 / 4,
            "quantity": n % 7,
            "paid": n % 2 == 0,
            "day": f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}",
        }
        for n in range(ROWS)
    ])

def take_records(rows):
    note("called")
    return [len(rows), sum(row["total"] for row in rows)]
"#;

const PANDAS: &str = r#"
def make_pandas():
    import numpy
    import pandas

    n = numpy.arange(ROWS)
    names = numpy.array([f"item {name:06}" for name in range(100_000)], dtype=object)
    days = numpy.array([f"2026-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)], dtype=object)
    return returning(pandas.DataFrame({
        "id": n,
        "name": names[n % 100_000],
        "price": n % 1000 / 4,
        "quantity": n % 7,
        "paid": n % 2 == 0,
        "day": days[n % 12 * 28 + n % 28],
    }))

def take_pandas(frame: "pandas.DataFrame"):
    note("called")
    return [len(frame), float(frame["total"].sum())]
"#;

const POLARS: &str = r#"
def make_polars():
    import polars

    n = polars.int_range(ROWS)
    month, day = (number.cast(str).str.zfill(2) for number in (n % 12 + 1, n % 28 + 1))
    return returning(polars.select(
        id=n,
        name=polars.format("item {}", (n % 100_000).cast(str).str.zfill(6)),
        price=n % 1000 / 4,
        quantity=n % 7,
        paid=n % 2 == 0,
        day=polars.format("2026-{}-{}", month, day),
    ))

def take_polars(frame: "polars.DataFrame"):
    note("called")
    return [len(frame), float(frame["total"].sum())]
"#;

const PYARROW: &str = r#"
def make_pyarrow():
    import numpy
    import pyarrow
    import pyarrow.compute

    def digits(numbers, width):
        return pyarrow.compute.utf8_lpad(pyarrow.array(numbers).cast("string"), width, "0")

    n = numpy.arange(ROWS)
    join = pyarrow.compute.binary_join_element_wise
    return returning(pyarrow.table({
        "id": n,
        "name": join("item ", digits(n % 100_000, 6), ""),
        "price": n % 1000 / 4,
        "quantity": n % 7,
        "paid": n % 2 == 0,
        "day": join("2026", digits(n % 12 + 1, 2), digits(n % 28 + 1, 2), "-"),
    }))

def take_pyarrow(table: "pyarrow.Table"):
    note("called")
    import pyarrow.compute

    return [len(table), pyarrow.compute.sum(table["total"]).as_py()]
"#;

const FORMS: [Form; 4] = [("records", RECORDS), ("pandas", PANDAS), ("polars", POLARS), ("pyarrow", PYARROW)];

/// The name of a form, and the functions that make and take it.
type Form = (&'static str, &'static str);

/// Tables of `rows` rows, in every form, through every database.
pub fn measure(rows: usize, rounds: usize) {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    let notes = notes(&fleet);
    // The interpreter with all these packages is one of a virtual environment, wherever that may lie.
    fleet = fleet.with("BUE_STEP_READABLE", &prefix()).with("BUE_STEP_WRITABLE", &notes.to_string_lossy()).start(1);
    let arrow_mb = rows as f64 * ROW_BYTES / 1e6;
    println!("| {rows} rows × 6 columns | {arrow_mb:.1} MB as Arrow |");
    for form in FORMS {
        let (name, _) = form;
        if !has(name) {
            println!("| as {name} | not measured: {} has no {name} |", python());
            continue;
        }
        for engine in ["sqlite3", "duckdb", "postgres"] {
            report(&mut fleet, &notes, (form, engine), rows, rounds, arrow_mb);
        }
    }
}

/// A folder of the fleet in which every step may write.
fn notes(fleet: &Fleet) -> PathBuf {
    let folder = fleet.path().join("notes");
    std::fs::create_dir_all(&folder).expect("a folder for the steps' notes");
    std::fs::set_permissions(fleet.path(), Permissions::from_mode(0o755)).expect("a folder that others pass through");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("a folder for everybody");
    folder
}

fn report(fleet: &mut Fleet, notes: &Path, (form, engine): (Form, &str), rows: usize, rounds: usize, arrow_mb: f64) {
    // What serves steps of this kind from now on is there, and idle; what is free of the tables before has been given back.
    run(fleet, &script(form, engine, 1, notes));
    std::thread::sleep(GIVEN_BACK_IN);
    let processes = processes(fleet);
    let before = now_mb(&processes);
    let (mut all, mut ways, mut one_row, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..rounds {
        one_row.push(run_noted(fleet, notes, &script(form, engine, 1, notes)).1);
        let (took, way) = run_noted(fleet, notes, &script(form, engine, rows, notes));
        all.push(took);
        ways.push(way);
        // To look at memory all the time takes a processor's time: what is timed is not looked at.
        let watch = Watch::start(processes.clone());
        run(fleet, &script(form, engine, rows, notes));
        peak = peak.max(watch.end().ours_mb - before);
    }
    println!(
        "| Python → {engine} → Python as {}, from the return of the table to the call with the result | {:.2} s; of one row {:.2} s |",
        form.0,
        median(&mut ways),
        median(&mut one_row)
    );
    println!("| … from the upload to the end, so with the making of it and all imports | {:.2} s |", median(&mut all));
    println!("| … memory of all our processes, above idle | {peak:.0} MB, {:.1} × Arrow |", peak / arrow_mb);
}

/// Seconds from the upload to the end, and of these from the return of the first function to the call of the last.
fn run_noted(fleet: &mut Fleet, notes: &Path, script: &str) -> (f64, f64) {
    let took = run(fleet, script);
    let noted = |word: &str| -> f64 {
        let text = std::fs::read_to_string(notes.join(word)).expect("a note of each step");
        text.parse().expect("a time")
    };
    (took, noted("called") - noted("returned"))
}

fn script((form, own): Form, engine: &str, rows: usize, notes: &Path) -> String {
    let steps =
        format!("{STEPS}{own}").replace("{rows}", &rows.to_string()).replace("{notes}", &notes.to_string_lossy());
    let sql = "SELECT *, price * quantity AS total FROM t";
    format!(
        "import python (make_{form}, take_{form}) `{steps}`\n\
         compute:\n    {engine}\n    t\n    `{sql}`\n\
         p = make_{form} | compute | take_{form}\np()\n"
    )
}

/// Seconds from the upload to the end.
fn run(fleet: &mut Fleet, script: &str) -> f64 {
    fleet.write("bench/bench.bue", script);
    let started = Instant::now();
    let ended = fleet.bue(&["upload", "-f", "bench/bench.bue", "--wait"]);
    let took = started.elapsed().as_secs_f64();
    assert_eq!(ended.code, Some(0), "a run failed, so its figure is none:\n{}{}", ended.stdout, ended.stderr);
    took
}

fn processes(fleet: &Fleet) -> Vec<i32> {
    let services = fleet.bucket.iter().chain(&fleet.hub);
    fleet.workers.iter().chain(services).map(crate::fleet::Process::pid).collect()
}

fn python() -> String {
    std::env::var("BUE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The folder of the interpreter's packages.
fn prefix() -> String {
    let asked = Command::new(python()).args(["-c", "import sys; print(sys.prefix)"]).output();
    String::from_utf8_lossy(&asked.expect("an interpreter").stdout).trim().to_owned()
}

/// Whether the interpreter has what this form of table needs.
fn has(form: &str) -> bool {
    let code = if form == "records" { "" } else { &format!("import {form}") };
    let status = Command::new(python()).args(["-c", code]).stderr(std::process::Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A table that is larger than what a step may keep in memory, through a database.
pub fn measure_large(rows: usize) {
    let program = Path::new(env!("CARGO_BIN_EXE_bue")).with_file_name("bue-duckdb");
    if !program.is_file() {
        println!("| large tables | not measured: {} is not there |", program.display());
        return;
    }
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_DUCKDB_MEMORY_BYTES_MAX", "256MiB").start(1);
    let processes = processes(&fleet);
    for engine in ["duckdb", "postgres"] {
        let watch = Watch::start(processes.clone());
        let took = run(&mut fleet, &large_script(engine, rows));
        let peaks = watch.end();
        println!(
            "| {rows} rows: DuckDB → {engine} → DuckDB | {took:.1} s; worker and its databases' processes {:.0} MB, worker alone {:.0} MB, with hub and bucket {:.0} MB |",
            peaks.first_mb, peaks.first_alone_mb, peaks.ours_mb
        );
    }
}

fn large_script(engine: &str, rows: usize) -> String {
    let make = format!(
        "SELECT range AS id, 'item ' || (range % 100000) AS name, range % 1000 / 4.0::DOUBLE AS price, \
         (range % 7)::INTEGER AS quantity, range % 2 = 0 AS paid, DATE '2026-01-01' + (range % 365)::INTEGER AS day \
         FROM range({rows})"
    );
    format!(
        "make:\n    duckdb\n    nothing\n    `{make}`\n\
         compute:\n    {engine}\n    t\n    `SELECT *, price * quantity AS total FROM t`\n\
         take:\n    duckdb\n    t\n    `SELECT count(*) AS n, sum(total) AS total FROM t`\n\
         p = make | compute | take\np()\n"
    )
}
