//! SQLite's errors in one sentence, with the line of the script where it is known and the way out where there is one.

use protocol::ErrorKind;
use protocol::frame::ErrorFrame;
use rusqlite::{Error, ErrorCode};

use super::memory::without_memory;
use super::sqlite_guard::{Guard, Refused};
use super::{Sql, failure, split, without_disk};

const SMALLER: &str =
    "SQLite holds no text or blob of more than 1000000000 bytes: make it smaller, or keep it in several rows";

/// The error of a step that is about none of its statements.
pub(super) fn of_step(error: &Error, sql: &Sql<'_>) -> ErrorFrame {
    of_statement(error, sql, None)
}

/// The error of a statement that begins on this line of the script.
fn of_statement(error: &Error, sql: &Sql<'_>, start: Option<usize>) -> ErrorFrame {
    let words = || words(error, sql, start);
    match error.sqlite_error_code() {
        Some(ErrorCode::OutOfMemory) => without_memory("SQLite has no memory left"),
        Some(ErrorCode::DiskFull) => without_disk(),
        Some(ErrorCode::TooBig) => failure(ErrorKind::Sql, format!("{}: {SMALLER}", words())),
        _ => failure(ErrorKind::Sql, words()),
    }
}

/// The error of a statement under guard, the `number`th of the step from 0.
pub(super) fn of_guarded(error: &Error, sql: &Sql<'_>, guard: &Guard, number: usize) -> ErrorFrame {
    let by_message = match error {
        Error::SqlInputError { msg, .. } => Refused::of_message(msg),
        _ => None,
    };
    let statements = split::split(sql.text);
    let statement = statements.get(number);
    let Some(refused) = guard.refused().or(by_message) else {
        return of_statement(error, sql, statement.map(|statement| line(sql, statement.start)));
    };
    let word = statement.and_then(|statement| statement.words.first()).map_or("", String::as_str);
    let refused = refused.by_first_word(word);
    // Statements are parted by rules that are nearly SQLite's: a line is named where the statement is of the kind.
    let start = statement.filter(|_| refused.fits(word)).map(|statement| line(sql, statement.start));
    let place = match line_of(error, sql).or(start) {
        Some(line) => format!("{}, line {line}", sql.script),
        None => sql.script.to_owned(),
    };
    failure(ErrorKind::Sql, format!("{} ({place}): {}", refused.what(), refused.way_out()))
}

fn words(error: &Error, sql: &Sql<'_>, start: Option<usize>) -> String {
    let message = match error {
        Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        other => other.to_string(),
    };
    match (line_of(error, sql), start) {
        (Some(line), _) => format!("{message} ({}, line {line})", sql.script),
        (None, Some(start)) => format!("{message} ({}, in the statement on line {start})", sql.script),
        (None, None) => format!("{message} ({})", sql.script),
    }
}

/// The line of the script that an error is about, where it says.
fn line_of(error: &Error, sql: &Sql<'_>) -> Option<usize> {
    let Error::SqlInputError { sql: rest, offset, .. } = error else { return None };
    // `rest` begins with the statement that is wrong, and ends where the whole ends.
    let start = sql.text.len().saturating_sub(rest.len());
    Some(line(sql, start + usize::try_from(*offset).ok()?))
}

/// The line of the script on which a byte of the statements stands.
fn line(sql: &Sql<'_>, place: usize) -> usize {
    sql.line as usize + sql.text.get(..place).unwrap_or_default().matches('\n').count()
}

/// The error of making a table of an input.
pub(super) fn of_input(table: &str, error: &Error) -> ErrorFrame {
    if error.sqlite_error_code() == Some(ErrorCode::OutOfMemory) {
        return without_memory("SQLite has no memory left");
    }
    let message = match error {
        Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg)) => msg.clone(),
        other => other.to_string(),
    };
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {message}"))
}

/// A missing table that came as an empty list is no mistake of the statement's.
pub(super) fn explain(mut error: ErrorFrame, unknown: &[String]) -> ErrorFrame {
    let missing = error.message.strip_prefix("no such table: ").unwrap_or_default();
    let missing = missing.split(" (").next().unwrap_or_default();
    if let Some(name) = unknown.iter().find(|name| name.eq_ignore_ascii_case(missing)) {
        error.kind = ErrorKind::Input;
        error.message = format!(
            "input `{name}` is an empty list, so its columns are unknown; begin this step with \
             `CREATE TABLE IF NOT EXISTS \"{}\" (…);`, or return an empty table of pandas, polars or pyarrow, which has columns",
            name.replace('"', "\"\"")
        );
    }
    error
}
