//! The process that runs one SQL step: a child of the worker, so that neither a runaway query nor a crash in native
//! code reaches it.
//!
//! DuckDB has a program of its own, which this process becomes. A worker has one of each stay and fork itself for every step (see
//! `sandbox::serve_forks`); PostgreSQL's steps have a fresh process each, for they reach the network and sockets of their own.
//!
//! It speaks the frames of [`protocol::frame`] like the Python runner: one start frame on standard input, one end frame
//! on standard output, everything else is log.

mod arrow_cells;
mod cell;
mod column;
mod draft;
mod duckdb;
mod input;
mod memory;
mod postgres;
mod result;
mod split;
mod sqlite;
mod sqlite_fault;
mod sqlite_guard;
mod sqlite_scan;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use protocol::frame::{Code, EndFrame, ErrorFrame, Output, StartFrame};
use protocol::{ErrorKind, Language};

pub(crate) use duckdb::with_statements;

/// The word that has `bue` run SQL steps.
pub(crate) const SQL_STEP_WORD: &str = "sql-step";

/// One database engine, able to run one step.
trait Engine {
    /// Runs the step's statements over its inputs; the value is what the last one returned.
    fn run(&self, frame: &StartFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame>;
}

/// The statements of a step, and where they stand.
struct Sql<'frame> {
    text: &'frame str,
    script: &'frame str,
    /// Line of the script on which the text begins.
    line: u32,
}

/// What `bue sql-step` does, by the arguments after that: runs the SQL step that the worker names on standard input, or stays and
/// forks itself for each of many.
///
/// Must be called before this process has a second thread.
#[must_use]
pub fn sql_step_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.first().is_some_and(|word| word == sandbox::WARM_WORD) {
        return serve(arguments.get(1).is_some_and(|word| word == sandbox::BROKER_WORD));
    }
    let mut line = Vec::new();
    let output = match std::io::stdin().read_to_end(&mut line) {
        Ok(_) => answer(&line),
        Err(error) => Err(failure(ErrorKind::Protocol, format!("failed to read the start frame: {error}"))),
    };
    match write(&EndFrame::of(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to answer the worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Stays, and forks itself for each step.
fn serve(has_broker: bool) -> ExitCode {
    match sandbox::serve_forks(has_broker, || ()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fork)) => {
            let output = match &fork.told {
                Ok(line) => answer(line),
                Err(reason) => Err(failure(ErrorKind::Start, reason.clone())),
            };
            fork.answer(&EndFrame::of(output).to_line().unwrap_or_default())
        }
        Err(error) => {
            eprintln!("failed to serve the worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(line: &[u8]) -> Result<Output, ErrorFrame> {
    let frame: StartFrame = serde_json::from_slice(line)
        .map_err(|error| failure(ErrorKind::Protocol, format!("not a start frame: {error}")))?;
    let Code::Text { text, script, line } = &frame.code else {
        return Err(failure(ErrorKind::Protocol, "the code of a SQL step comes as text".to_owned()));
    };
    let sql = Sql { text, script, line: *line };
    engine(frame.language)?.run(&frame, &sql)
}

fn engine(language: Language) -> Result<Box<dyn Engine>, ErrorFrame> {
    match language {
        Language::Sqlite3 => Ok(Box::new(sqlite::Sqlite)),
        Language::Postgres => Ok(Box::new(postgres::Postgres)),
        Language::Duckdb => Ok(Box::new(duckdb::Duckdb)),
        Language::Python => Err(failure(ErrorKind::Protocol, "a Python step cannot be run as a SQL step".to_owned())),
    }
}

fn write(frame: &EndFrame) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&frame.to_line()?)?;
    stdout.flush()
}

fn failure(kind: ErrorKind, message: String) -> ErrorFrame {
    ErrorFrame { kind, message, trace: None }
}

/// What the system says of a disk that takes no more, in the words of every library.
const DISK_IS_FULL: &str = "(os error 28)";

/// The error of a result that could not be written: a full disk is the worker's trouble, all else the value's.
fn unwritten(error: impl std::fmt::Display) -> ErrorFrame {
    let reason = error.to_string();
    match reason.contains(DISK_IS_FULL) {
        true => without_disk(),
        false => failure(ErrorKind::Value, format!("failed to write the result: {reason}")),
    }
}

/// The error of a step for which the worker's disk has no room: another attempt may find some.
fn without_disk() -> ErrorFrame {
    failure(ErrorKind::Away, "the worker's disk is full".to_owned())
}

/// The error of a result that takes more than a value may.
fn too_large(bytes_max: u64) -> ErrorFrame {
    let message = format!("the result is over the limit of {bytes_max} bytes");
    failure(
        ErrorKind::Value,
        format!("{message}; select less, or let the worker take more: BUE_WORKER_VALUE_BYTES_MAX"),
    )
}
