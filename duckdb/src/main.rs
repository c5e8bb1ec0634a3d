//! Runs one DuckDB step: a program beside `bue`, started by its worker and by nobody else.
//!
//! It speaks the frames of [`protocol::frame`]: one start frame on standard input, one end frame on standard output. The value goes
//! into a file with an Arrow table. Called with `warm` it stays, and forks itself for each step: then what DuckDB's library costs at
//! its start is paid once. It is a program of its own so that nobody needs DuckDB's
//! large library who has no DuckDB steps, and so that neither its crashes nor its version of Arrow are the worker's.
//!
//! - [`database`]: the database in memory, and what statements may not do.
//! - [`input`], [`types`]: tables into it.
//! - [`scan`]: how the database reads them, once or as a query goes; [`spans`]: what its library would spoil.
//! - [`result`]: the rows of the last statement out of it.
//! - [`forms`]: which of its values no table holds.
//! - [`fault`]: its errors, with their line.
//! - [`practice`]: the database that a warm program has open before it forks itself for steps.

mod database;
mod fault;
mod forms;
mod input;
mod nulls;
mod practice;
mod result;
mod scan;
mod spans;
mod types;

use std::io::{Read, Write};
use std::process::ExitCode;

use duckdb::Connection;
use protocol::ErrorKind;
use protocol::frame::{Code, EndFrame, ErrorFrame, Output, StartFrame};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == sandbox::WARM_WORD) {
        return serve(arguments.next().is_some_and(|word| word == sandbox::BROKER_WORD));
    }
    let mut text = Vec::new();
    let output = match std::io::stdin().read_to_end(&mut text) {
        Ok(_) => run(&text, None),
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
    let database = practice::practised();
    match sandbox::serve_forks(has_broker, || ()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(fork)) => {
            let output = match &fork.told {
                Ok(line) => run(line, database.as_ref()),
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

fn run(text: &[u8], database: Option<&Connection>) -> Result<Output, ErrorFrame> {
    let frame: StartFrame = serde_json::from_slice(text).map_err(|error| {
        failure(ErrorKind::Protocol, format!("not a start frame: {error}; bue starts this program"))
    })?;
    let (Code::Text { text, script, line }, Some(bounds)) = (&frame.code, &frame.duckdb) else {
        return Err(failure(ErrorKind::Protocol, "not the start frame of a DuckDB step".to_owned()));
    };
    database::run(&frame, bounds, &Sql { text, script, line: *line }, database)
}

/// The statements of a step, and where they stand.
struct Sql<'frame> {
    text: &'frame str,
    script: &'frame str,
    /// Line of the script on which the text begins.
    line: u32,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
struct Statement<'frame> {
    text: &'frame str,
    script: &'frame str,
    /// Line of the script on which it begins.
    line: usize,
}

impl<'frame> Sql<'frame> {
    /// The statements that begin at these bytes; each ends where the next begins.
    fn statements(&self, starts: &[usize]) -> Vec<Statement<'frame>> {
        let ends = starts.iter().skip(1).copied().chain([self.text.len()]);
        let statement = |(start, end): (&usize, usize)| {
            let line = self.line as usize + self.text.get(..*start)?.matches('\n').count();
            Some(Statement { text: self.text.get(*start..end)?, script: self.script, line })
        };
        starts.iter().zip(ends).filter_map(statement).collect()
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
