//! DuckDB: makes Arrow tables of the inputs, and then becomes the program that has DuckDB in it.
//!
//! That program is apart because its library is large and is not on every machine, and because it has its own version
//! of Arrow: only files pass between the two.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bucket::table::{from_records, write_stream};
use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Input, Output, StartFrame};

use super::{Engine, Sql, failure, split};

/// Name of the file for the frame that the other program gets.
const FRAME_NAME: &str = "start.json";

/// The engine for steps in DuckDB's language.
pub(super) struct Duckdb;

impl Engine for Duckdb {
    /// Returns only what has gone wrong: all else is the other program's to answer.
    fn run(&self, frame: &StartFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
        let Some(mut duckdb) = frame.duckdb.clone() else {
            return Err(failure(ErrorKind::Protocol, "the start frame names no program for DuckDB".to_owned()));
        };
        let statements = split::split(sql.text);
        duckdb.statements = statements.iter().map(|statement| statement.start).collect();
        duckdb.changes_rows = statements.last().is_some_and(split::Statement::changes_rows);
        let mut inputs = Vec::with_capacity(frame.inputs.len());
        for (number, input) in frame.inputs.iter().enumerate() {
            let table = match (duckdb.tables.get(number), number) {
                (Some(name), _) => name.clone(),
                (None, 0) => frame.function.clone(),
                (None, number) => format!("pipe{number}"),
            };
            let place = frame.values.join(format!("input{number}.arrow"));
            inputs.push(Input::ArrowFile(arrow_file(&table, input, place)?));
        }
        let program = duckdb.program.clone();
        let frame = StartFrame { inputs, duckdb: Some(duckdb), ..frame.clone() };
        let place = frame.values.join(FRAME_NAME);
        let stdin = write_frame(&frame, &place).map_err(|error| unready(&error))?;
        let error = Command::new(&program).stdin(stdin).exec();
        Err(failure(ErrorKind::Start, format!("{} could not be started: {error}", program.display())))
    }
}

fn unready(error: &std::io::Error) -> ErrorFrame {
    failure(ErrorKind::Start, format!("failed to prepare the step: {error}"))
}

fn write_frame(frame: &StartFrame, place: &Path) -> std::io::Result<File> {
    std::fs::write(place, serde_json::to_vec(frame)?)?;
    File::open(place)
}

/// The file with the input as an Arrow table; `place` is where it is made if there is none.
fn arrow_file(table: &str, input: &Input, place: PathBuf) -> Result<PathBuf, ErrorFrame> {
    let text;
    let json = match input {
        Input::ArrowFile(path) => return Ok(path.clone()),
        Input::Json(json) => json.get(),
        Input::JsonFile(path) => {
            text = std::fs::read_to_string(path).map_err(|error| unreadable(table, &error))?;
            &text
        }
    };
    let converted = from_records(json).map_err(|error| unreadable(table, &error))?;
    converted.widened.iter().for_each(|widened| eprintln!("warning: {widened}"));
    let mut file = BufWriter::new(File::create(&place).map_err(|error| unready(&error))?);
    write_stream(&mut file, &converted.batch.schema(), [&converted.batch])
        .map_err(|error| unreadable(table, &error))?;
    file.flush().map_err(|error| unready(&error))?;
    Ok(place)
}

fn unreadable(table: &str, error: &dyn std::fmt::Display) -> ErrorFrame {
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {error}"))
}
