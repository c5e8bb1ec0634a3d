//! SQLite's errors in one sentence, with the line of the script where it is known and the way out where there is one.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use protocol::ErrorKind;
use protocol::frame::ErrorFrame;
use rusqlite::{Error, ErrorCode};

use super::{Sql, failure};

const SMALLER: &str =
    "SQLite holds no text or blob of more than 1000000000 bytes: make it smaller, or keep it in several rows";
const ENCLOSED: &str = "a step's statements reach nothing but its own tables: no file, no other database, no library, \
     and of all PRAGMAs only those that tell something about tables";

/// The error of a statement.
pub(super) fn of_statement(error: &Error, sql: &Sql<'_>) -> ErrorFrame {
    match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory) => without_memory(),
        Some(ErrorCode::TooBig) => failure(ErrorKind::Sql, format!("{}: {SMALLER}", words(error, sql))),
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            failure(ErrorKind::Sql, format!("{}: {ENCLOSED}", words(error, sql)))
        }
        _ => failure(ErrorKind::Sql, words(error, sql)),
    }
}

fn words(error: &Error, sql: &Sql<'_>) -> String {
    match error {
        Error::SqlInputError { msg, sql: rest, offset, .. } => {
            // `rest` begins with the statement that is wrong, and ends where the whole ends.
            let start = sql.text.len().saturating_sub(rest.len());
            let before = usize::try_from(*offset).ok().and_then(|offset| sql.text.get(..start + offset));
            match before {
                Some(before) => {
                    let line = sql.line as usize + before.matches('\n').count();
                    format!("{msg} ({}, line {line})", sql.script)
                }
                None => format!("{msg} ({})", sql.script),
            }
        }
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// The error of making a table of an input.
pub(super) fn of_input(table: &str, error: &Error) -> ErrorFrame {
    if error.sqlite_error_code() == Some(ErrorCode::OutOfMemory) {
        return without_memory();
    }
    let message = match error {
        Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        other => other.to_string(),
    };
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {message}"))
}

fn without_memory() -> ErrorFrame {
    let bound = match getrlimit(Resource::RLIMIT_DATA) {
        Ok((bytes, _)) if bytes != RLIM_INFINITY => {
            format!("the step may use {} MiB: `!memory` sets how much", bytes >> 20)
        }
        _ => "nor has this machine".to_owned(),
    };
    failure(ErrorKind::Memory, format!("SQLite has no memory left; {bound}"))
}

/// A missing table that came as an empty list is no mistake of the statement's.
pub(super) fn explain(mut error: ErrorFrame, unknown: &[String]) -> ErrorFrame {
    let missing = error.message.strip_prefix("no such table: ").unwrap_or_default();
    let missing = missing.split(" (").next().unwrap_or_default();
    if let Some(name) = unknown.iter().find(|name| name.eq_ignore_ascii_case(missing)) {
        error.kind = ErrorKind::Input;
        error.message =
            format!("input `{name}` is an empty list, so its columns are unknown; return a table with columns");
    }
    error
}
