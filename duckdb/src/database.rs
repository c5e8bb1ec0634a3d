//! A database in memory, for one step: it reaches no file, no network and no extension, and stays within its bounds.

use duckdb::{Config, Connection};
use protocol::ErrorKind;
use protocol::frame::{DuckdbFrame, ErrorFrame, Input, Output, StartFrame};

use super::input::{self, Shape};
use super::{Sql, Statement, failure, fault, result};

/// Folder, among the values, for what memory does not hold.
const SPILL_NAME: &str = "spill";

/// Runs the step.
pub(super) fn run(frame: &StartFrame, bounds: &DuckdbFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
    let unopened = |error: duckdb::Error| failure(ErrorKind::Start, format!("failed to open DuckDB: {error}"));
    let connection = open(frame, bounds).map_err(unopened)?;
    let mut unknown = Vec::new();
    for (number, input) in frame.inputs.iter().enumerate() {
        let name = if number == 0 { frame.function.clone() } else { format!("pipe{number}") };
        let Input::ArrowFile(path) = input else {
            return Err(failure(ErrorKind::Protocol, format!("input `{name}` came as JSON")));
        };
        if input::load(&connection, &name, path)? == Shape::Unknown {
            unknown.push(name);
        }
    }
    connection.execute_batch("SET lock_configuration = true").map_err(unopened)?;
    let output = execute(&connection, &sql.statements(&bounds.statements), frame, bounds);
    output.map_err(|error| fault::explain(error, &unknown))
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
    result::write(connection, last, frame, bounds.changes_rows)
}

fn open(frame: &StartFrame, bounds: &DuckdbFrame) -> duckdb::Result<Connection> {
    let config = Config::default()
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .max_memory(&format!("{}B", bounds.memory_bytes_max))?
        .threads(bounds.threads_max.into())?;
    let connection = Connection::open_in_memory_with_flags(config)?;
    // The folder can be named only as long as the outside can be reached.
    let spill = frame.values.join(SPILL_NAME).to_string_lossy().replace('\'', "''");
    connection.execute_batch(&format!(
        "SET temp_directory = '{spill}'; SET max_temp_directory_size = '{}B'; SET enable_external_access = false",
        bounds.spill_bytes_max
    ))?;
    Ok(connection)
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
