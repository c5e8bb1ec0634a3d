//! DuckDB steps run in a program of their own, which has DuckDB in it: this becomes that program.
//!
//! It is apart because its library is large and is not on every machine, and because it has its own version of Arrow: only files
//! pass between the two.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use protocol::ErrorKind;
use protocol::frame::{Code, ErrorFrame, Output, StartFrame};

use super::{Engine, Sql, failure, split};

/// Name of the file for the frame that the other program gets.
const FRAME_NAME: &str = "start.json";

/// The engine for steps in DuckDB's language.
pub(super) struct Duckdb;

impl Engine for Duckdb {
    /// Returns only what has gone wrong: all else is the other program's to answer.
    fn run(&self, frame: &StartFrame, _: &Sql<'_>) -> Result<Output, ErrorFrame> {
        let frame = with_statements(frame.clone());
        let Some(duckdb) = &frame.duckdb else {
            return Err(failure(ErrorKind::Protocol, "the start frame names no program for DuckDB".to_owned()));
        };
        let place = frame.values.join(FRAME_NAME);
        let stdin = write_frame(&frame, &place)
            .map_err(|error| failure(ErrorKind::Start, format!("failed to prepare the step: {error}")))?;
        let error = Command::new(&duckdb.program).stdin(stdin).exec();
        Err(failure(ErrorKind::Start, format!("{} could not be started: {error}", duckdb.program.display())))
    }
}

/// The frame of a DuckDB step with what its program does not find out by itself: where each statement begins, and what the last
/// one is.
pub(crate) fn with_statements(mut frame: StartFrame) -> StartFrame {
    if let (Code::Text { text, .. }, Some(duckdb)) = (&frame.code, &mut frame.duckdb) {
        let statements = split::split(text);
        duckdb.statements = statements.iter().map(|statement| statement.start).collect();
        duckdb.changes_rows = statements.last().is_some_and(split::Statement::changes_rows);
    }
    frame
}

fn write_frame(frame: &StartFrame, place: &Path) -> std::io::Result<File> {
    std::fs::write(place, serde_json::to_vec(frame)?)?;
    File::open(place)
}
