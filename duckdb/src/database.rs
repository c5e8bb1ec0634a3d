//! A database in memory, for one step: it reaches no file, no network and no extension, and stays within its bounds.

use std::path::Path;

use duckdb::{Config, Connection};
use protocol::frame::{DuckdbFrame, ErrorFrame, Output, OutputPlace, StartFrame};
use protocol::{ErrorKind, ValueKind};

use super::input::{self, Shape};
use super::{Sql, Statement, failure, fault, result};

/// Folder, among the values, for what memory does not hold.
const SPILL_NAME: &str = "spill";

/// Runs the step, in the database that is there or a new one.
pub(super) fn run(
    frame: &StartFrame,
    bounds: &DuckdbFrame,
    sql: &Sql<'_>,
    there: Option<&Connection>,
) -> Result<Output, ErrorFrame> {
    let unopened = |error: duckdb::Error| failure(ErrorKind::Start, format!("failed to open DuckDB: {error}"));
    let connection = there.map_or_else(open, Connection::try_clone).map_err(unopened)?;
    bound(&connection, frame, bounds).map_err(unopened)?;
    let unknown = load(&connection, frame, bounds)?;
    connection.execute_batch("SET lock_configuration = true").map_err(unopened)?;
    let output = execute(&connection, &sql.statements(&bounds.statements), frame, bounds);
    output.map_err(|error| fault::explain(error, &unknown))
}

/// Makes a table of each input; returns the names of those whose columns nobody knows.
fn load(connection: &Connection, frame: &StartFrame, bounds: &DuckdbFrame) -> Result<Vec<String>, ErrorFrame> {
    let mut unknown = Vec::new();
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for (number, input) in frame.inputs.iter().enumerate() {
        let name = match bounds.tables.get(number) {
            Some(name) => name.clone(),
            None if number == 0 => frame.function.clone(),
            None => format!("pipe{number}"),
        };
        let path = input::file(&name, input, frame.values.join(format!("input{number}.arrow")))?;
        let is_shared = bounds.tables.iter().filter(|other| **other == name).count() > 1;
        let table = if is_shared { format!("{name} {number}") } else { name.clone() };
        match input::load(connection, &table, &path)? {
            Shape::Table if is_shared => match parts.iter_mut().find(|(of, _)| *of == name) {
                Some((_, tables)) => tables.push(table),
                None => parts.push((name, vec![table])),
            },
            Shape::Table => {}
            Shape::Unknown => unknown.push(name),
        }
    }
    for (name, tables) in parts {
        let all: Vec<String> = tables.iter().map(|table| format!("SELECT * FROM {}", quoted(table))).collect();
        let view = format!("CREATE VIEW {} AS {}", quoted(&name), all.join(" UNION ALL BY NAME "));
        connection.execute_batch(&view).map_err(|error| {
            let reason = fault::message(&error);
            failure(ErrorKind::Input, format!("the tables of `{name}` cannot be made one: {reason}"))
        })?;
    }
    Ok(unknown)
}

/// Runs all statements; the last one's rows are the value.
fn execute(
    connection: &Connection,
    statements: &[Statement<'_>],
    frame: &StartFrame,
    bounds: &DuckdbFrame,
) -> Result<Output, ErrorFrame> {
    let Some((last, others)) = statements.split_last() else {
        return result::write_empty(frame);
    };
    for statement in others {
        connection.execute_batch(statement.text).map_err(|error| fault::of_statement(&error, statement))?;
    }
    match &bounds.parquet {
        Some(file) => export(connection, last, file),
        None => result::write(connection, last, frame, bounds.changes_rows),
    }
}

/// Name of the view that stands for what is exported: none that anybody would choose.
const EXPORTED: &str = "bue export";

/// Writes what a query returns into a file as Parquet.
fn export(connection: &Connection, query: &Statement<'_>, file: &Path) -> Result<Output, ErrorFrame> {
    let view = format!("CREATE VIEW {} AS {}", quoted(EXPORTED), query.text);
    connection.execute_batch(&view).map_err(|error| fault::of_statement(&error, query))?;
    let copy = format!("COPY (SELECT * FROM {}) TO {} (FORMAT parquet)", quoted(EXPORTED), literal(file));
    let rows = connection.execute(&copy, []).map_err(|error| fault::of_statement(&error, query))?;
    let place = OutputPlace::Json(rows.to_string());
    Ok(Output { kind: ValueKind::Number, length: None, place })
}

/// A path as it stands in a statement.
fn literal(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}

/// A database that loads nothing and has no threads of its own yet.
pub(super) fn open() -> duckdb::Result<Connection> {
    let config = Config::default()
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .threads(1)?;
    Connection::open_in_memory_with_flags(config)
}

/// Shuts it off from everything, and sets what it may use up.
fn bound(connection: &Connection, frame: &StartFrame, bounds: &DuckdbFrame) -> duckdb::Result<()> {
    let (memory, threads) = (bounds.memory_bytes_max, bounds.threads_max);
    // The folder can be named only as long as the outside can be reached.
    let spill = literal(&frame.values.join(SPILL_NAME));
    let exported = bounds.parquet.as_deref().map(literal).unwrap_or_default();
    connection.execute_batch(&format!(
        "SET memory_limit = '{memory}B'; SET threads = {threads}; SET TimeZone = 'UTC'; SET allow_persistent_secrets = false; SET temp_directory = {spill}; \
         SET max_temp_directory_size = '{}B'; SET allowed_paths = [{exported}]; SET enable_external_access = false",
        bounds.spill_bytes_max
    ))
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
