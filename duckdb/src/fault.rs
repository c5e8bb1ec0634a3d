//! DuckDB's errors in one line, with the line of the script.

use protocol::ErrorKind;
use protocol::frame::ErrorFrame;

use super::{Statement, failure};

/// What the database says of a line of the statements, before its excerpt.
const LINE_MARK: &str = "LINE ";

/// The database's own words, in one line and without its excerpt of the statement.
pub(super) fn message(error: &duckdb::Error) -> String {
    words(&text(error))
}

/// The error of a statement.
pub(super) fn of_statement(error: &duckdb::Error, statement: &Statement<'_>) -> ErrorFrame {
    let text = text(error);
    let line = statement.line + line(&text).unwrap_or(1).saturating_sub(1);
    let (kind, words, way_out) = with_way_out(words(&text));
    let message = format!("{words} ({}, line {line}){way_out}", statement.script);
    ErrorFrame { trace: excerpt(&text), ..failure(kind, message) }
}

/// The error of a database that cannot be opened.
pub(super) fn of_opening(error: &duckdb::Error) -> ErrorFrame {
    match with_way_out(words(&text(error))) {
        (ErrorKind::Memory, words, _) => failure(
            ErrorKind::Memory,
            format!("failed to open DuckDB: {words}; `!memory` sets how much the step may use"),
        ),
        (_, words, _) => failure(ErrorKind::Start, format!("failed to open DuckDB: {words}")),
    }
}

/// The error of making the table `name` of an input.
pub(super) fn of_input(name: &str, error: &duckdb::Error) -> ErrorFrame {
    match with_way_out(words(&text(error))) {
        (ErrorKind::Sql, words, _) => {
            failure(ErrorKind::Input, format!("input `{name}` cannot be made a table: {words}"))
        }
        (kind, words, way_out) => failure(kind, format!("input `{name}` cannot be made a table: {words}{way_out}")),
    }
}

/// The line that is wrong, with the sign below the place in it.
fn excerpt(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(LINE_MARK));
    let (mark, wrong) = lines.next()?.split_once(": ")?;
    let below = lines.next().filter(|line| line.trim() == "^");
    let sign = below.and_then(|line| line.get(mark.chars().count() + 2..));
    Some(sign.map_or_else(|| wrong.to_owned(), |sign| format!("{wrong}\n{sign}")))
}

/// Where a bound of the step was met: its kind, what happened, and what the author can do about it. What the database itself
/// advises then, its settings, is locked.
fn with_way_out(words: String) -> (ErrorKind, String, &'static str) {
    if words.starts_with("Permission Error") {
        (ErrorKind::Sql, words, ENCLOSED)
    } else if words.ends_with("the configuration has been locked") {
        (ErrorKind::Sql, words, LOCKED)
    } else if words.contains(NO_SPACE) {
        (ErrorKind::Away, "the worker's disk is full".to_owned(), "")
    } else if let Some((what, _)) = words.split_once(SPILL_MARK) {
        (ErrorKind::Disk, what.trim_end_matches([' ', ';']).to_owned(), SPILL)
    } else if words.contains(NO_MEMORY) || words.contains(MEMORY_ADVICE) {
        // More may stand before it: what was to be done.
        let start = words.find(NO_MEMORY).unwrap_or(0);
        let what = words[start..].split(" Possible solutions").next().unwrap_or_default();
        (ErrorKind::Memory, what.trim_end_matches([' ', ';']).to_owned(), MEMORY)
    } else {
        (ErrorKind::Sql, words, "")
    }
}

/// How the database begins to tell of a lack of memory, and what it advises then; where it appends rows it leaves out the first.
const NO_MEMORY: &str = "Out of Memory Error";
const MEMORY_ADVICE: &str = "(SET memory_limit=";
/// What the system says of a disk that takes no more.
pub(super) const NO_SPACE: &str = "No space left on device";
/// How the database begins to tell which of its settings bounds what it keeps on disk.
const SPILL_MARK: &str = "This limit was set by the 'max_temp_directory_size' setting";
const SPILL: &str = "; BUE_DUCKDB_SPILL_BYTES_MAX sets how much disk the statements may use for what memory does not hold, \
     BUE_DUCKDB_MEMORY_BYTES_MAX and a third to a half of `!memory` how much memory";
const ENCLOSED: &str = "; a step's statements reach nothing but its own tables: no file, no network, no extension. A Python step before \
     it can read what they need";
const LOCKED: &str = "; the worker sets the bounds of its steps: BUE_DUCKDB_MEMORY_BYTES_MAX, BUE_DUCKDB_THREADS_MAX, \
     BUE_DUCKDB_SPILL_BYTES_MAX";
const MEMORY: &str = "; BUE_DUCKDB_MEMORY_BYTES_MAX and a third to a half of `!memory` set how much memory the statements may use, \
     BUE_DUCKDB_SPILL_BYTES_MAX how much disk for what memory does not hold";

fn text(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => plain(message),
        other => other.to_string(),
    }
}

/// Some errors come as JSON.
fn plain(message: &str) -> String {
    let told = serde_json::from_str::<serde_json::Value>(message).unwrap_or_default();
    match (told["exception_type"].as_str(), told["exception_message"].as_str()) {
        (Some(kind), Some(words)) => format!("{kind} Error: {words}"),
        _ => message.to_owned(),
    }
}

fn words(text: &str) -> String {
    let is_word = |line: &&str| !line.is_empty();
    text.lines()
        .take_while(|line| !line.starts_with(LINE_MARK))
        .map(str::trim)
        .filter(is_word)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The line that the excerpt is of, from 1.
fn line(text: &str) -> Option<usize> {
    let excerpt = text.lines().find_map(|line| line.strip_prefix(LINE_MARK))?;
    excerpt.split(':').next()?.parse().ok()
}

/// A missing table that came as an empty list is no mistake of the statement's.
pub(super) fn explain(mut error: ErrorFrame, unknown: &[String]) -> ErrorFrame {
    let is_missing = |name: &&String| error.message.contains(&format!("Table with name {name} does not exist"));
    if let Some(name) = unknown.iter().find(is_missing) {
        error.kind = ErrorKind::Input;
        error.message = format!(
            "input `{name}` is an empty list, so its columns are unknown; begin this step with \
             `CREATE TABLE IF NOT EXISTS \"{}\" (…);`, or return an empty table of pandas, polars or pyarrow, which has columns",
            name.replace('"', "\"\"")
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Binder Error: Referenced column \"nmae\" not found in FROM clause!\nCandidate bindings: \"name\"\n\nLINE 2: SELECT nmae\n               ^";

    #[test]
    fn the_words_come_in_one_line_and_the_line_is_the_scripts() {
        assert_eq!(line(TEXT), Some(2));
        let expected =
            "Binder Error: Referenced column \"nmae\" not found in FROM clause!; Candidate bindings: \"name\"";
        assert_eq!(words(TEXT), expected);
        assert_eq!(line("Out of Memory Error: failed"), None);
    }

    #[test]
    fn the_wrong_line_is_shown_with_the_place_in_it() {
        assert_eq!(excerpt(TEXT).unwrap(), "SELECT nmae\n       ^");
        assert_eq!(
            excerpt("Parser Error: x\n\nLINE 1: SELECT ü FORM t\n                 ^").unwrap(),
            "SELECT ü FORM t\n         ^"
        );
        assert_eq!(excerpt("LINE 1: SELECT").unwrap(), "SELECT");
        assert_eq!(excerpt("Out of Memory Error: failed"), None);
    }

    #[test]
    fn what_the_database_advises_in_vain_gives_way_to_what_helps() {
        let text = "Out of Memory Error: no room (1/1 used)\n\nPossible solutions:\n* Reducing the number of threads (SET threads=X)";
        let (kind, words, way_out) = with_way_out(words(text));
        assert_eq!((kind, words.as_str()), (ErrorKind::Memory, "Out of Memory Error: no room (1/1 used)"));
        assert!(way_out.contains("`!memory`"));
        let text = "Out of Memory Error: failed to offload data block (1/1 used).\nThis limit was set by the 'max_temp_directory_size' setting.\nBy default x";
        let (kind, words, way_out) = with_way_out(super::words(text));
        assert_eq!(
            (kind, words.as_str()),
            (ErrorKind::Disk, "Out of Memory Error: failed to offload data block (1/1 used).")
        );
        assert!(way_out.starts_with("; BUE_DUCKDB_SPILL_BYTES_MAX"));
        let while_appending = "Failed to append: Out of Memory Error: no room (1/1 used); Possible solutions:; * x";
        let (kind, words, _) = with_way_out(while_appending.to_owned());
        assert_eq!((kind, words.as_str()), (ErrorKind::Memory, "Out of Memory Error: no room (1/1 used)"));
        let untold = "Failed to append: no block (bad allocation); Possible solutions:; * x (SET memory_limit='1GB')";
        let (kind, words, _) = with_way_out(untold.to_owned());
        assert_eq!((kind, words.as_str()), (ErrorKind::Memory, "Failed to append: no block (bad allocation)"));
        let json = r#"{"exception_type":"Out of Memory","exception_message":"could not allocate \"x\""}"#;
        assert_eq!(plain(json), "Out of Memory Error: could not allocate \"x\"");
        let full = "IO Error: Could not write file \"x\": No space left on device";
        assert_eq!(with_way_out(full.to_owned()).0, ErrorKind::Away);
    }
}
