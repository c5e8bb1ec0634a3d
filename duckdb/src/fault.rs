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
    failure(ErrorKind::Sql, format!("{} ({}, line {line})", words(&text), statement.script))
}

fn text(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
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
        error.message =
            format!("input `{name}` is an empty list, so its columns are unknown; return a table with columns");
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
}
