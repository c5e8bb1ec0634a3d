//! A value in the little space of a table's cell, or by itself.

use comfy_table::{ContentArrangement, Table, presets};
use protocol::{ValueKind, ValueRef};
use serde_json::value::RawValue;

use super::record::{Record, records};
use crate::output;

/// Characters of a value in a cell.
const CELL_CHARACTERS_MAX: usize = 100;
/// Characters of a field in the rows of a table.
const FIELD_CHARACTERS_MAX: usize = 32;
/// Rows of a table that are shown.
pub const ROWS_MAX: usize = 20;
/// Columns of a table that are shown.
const COLUMNS_MAX: usize = 10;

/// A table as people draw it.
pub fn drawn(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    if let Some(width) = output::width() {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// What kind of value it is and how large.
pub fn describe(value: &ValueRef) -> String {
    let kind = value.kind.with_article();
    match (value.kind, value.length) {
        (ValueKind::Table, Some(length)) => format!("{kind} of {}", output::plural(length, "row", "rows")),
        (ValueKind::List, Some(length)) => format!("{kind} of {}", output::plural(length, "element", "elements")),
        (ValueKind::Dict, Some(length)) => format!("{kind} of {}", output::plural(length, "entry", "entries")),
        (ValueKind::String, Some(length)) => format!("{kind} of {}", output::plural(length, "character", "characters")),
        _ => kind.to_owned(),
    }
}

/// JSON text in one short line.
pub fn shortened(text: &str) -> String {
    cut(&flat(text), CELL_CHARACTERS_MAX)
}

/// The same in full, in lines of the length of a short one. A terminal's tables are wrapped to its width by themselves.
pub fn wrapped(text: &str) -> String {
    let text = flat(text);
    if output::width().is_some() { text } else { in_lines(&text, CELL_CHARACTERS_MAX) }
}

/// Ends lines at blanks, and within words that are longer than a line.
fn in_lines(text: &str, characters_max: usize) -> String {
    let (mut lines, mut length) = (String::with_capacity(text.len()), 0);
    for word in text.split_inclusive(' ') {
        let characters = word.trim_end().chars().count();
        if length > 0 && length + characters > characters_max {
            lines.truncate(lines.trim_end_matches(' ').len());
            lines.push('\n');
            length = 0;
        }
        for character in word.chars() {
            if length >= characters_max && character != ' ' {
                lines.push('\n');
                length = 0;
            }
            lines.push(character);
            length += 1;
        }
    }
    lines
}

/// The first rows of a table of `rows` rows, where `json` is a list of the first of its records.
pub fn rows(json: &str, rows: u64) -> Option<String> {
    rows_of(json, rows, ROWS_MAX)
}

/// The same, with another bound.
pub fn rows_of(json: &str, rows: u64, rows_max: usize) -> Option<String> {
    let records = records(json)?;
    let records = &records[..records.len().min(rows_max)];
    let columns = columns(records);
    if columns.is_empty() {
        return None;
    }
    let mut shown: Vec<&str> = columns.iter().take(COLUMNS_MAX).copied().collect();
    if columns.len() > COLUMNS_MAX {
        shown.push("…");
    }
    let mut table = drawn(&shown);
    for record in records {
        table.add_row(shown.iter().map(|column| record.get(column).map_or_else(String::new, field)));
    }
    let mut text = table.to_string();
    if rows > records.len() as u64 {
        text.push_str(&format!("\n… {} in all", output::plural(rows, "row", "rows")));
    }
    Some(text)
}

/// The union of the keys of the rows that are shown, in order of appearance.
fn columns<'a>(records: &'a [Record<'_>]) -> Vec<&'a str> {
    let mut columns: Vec<&str> = Vec::new();
    for (key, _) in records.iter().flat_map(|record| &record.0) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    columns
}

fn field(value: &RawValue) -> String {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'n') => String::new(),
        // Nothing at all would be a null.
        _ if text == r#""""# => text.to_owned(),
        // The text was read as JSON before, so it parses.
        Some(b'"') => cut(&flat(&serde_json::from_str::<String>(text).unwrap_or_default()), FIELD_CHARACTERS_MAX),
        Some(b'-' | b'0'..=b'9') => cut(&number(text), FIELD_CHARACTERS_MAX),
        _ => cut(&flat(text), FIELD_CHARACTERS_MAX),
    }
}

/// A whole number as it is, of any size; a float as Python and SQL show it.
fn number(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(value) if text.contains(['.', 'e', 'E']) && value.is_finite() => float(value),
        _ => text.to_owned(),
    }
}

/// The shortest digits that are this number: `0.1`, `100.0`, `1e+16`, `1.5e-07`, `-0.0`.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// On one line, without characters that would command the terminal.
fn flat(text: &str) -> String {
    output::shown(&text.replace(['\n', '\t'], " ")).into_owned()
}

fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_records_is_shown_as_rows() {
        let text = rows(r#"[{"a": 1, "b": "x\ny\u001b"}, {"a": null, "c": [1]}]"#, 2).unwrap();
        for part in ["a", "b", "c", r"x y\u001b", "[1]"] {
            assert!(text.contains(part), "{text}");
        }
        for no_rows in ["[1, 2]", "[]", "{\"a\": 1}", "7"] {
            assert!(rows(no_rows, 2).is_none(), "{no_rows}");
        }
    }

    #[test]
    fn numbers_are_shown_as_python_and_sql_show_them() {
        for (json, shown) in [
            ("1e16", "1e+16"),
            ("1E+16", "1e+16"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("0.1", "0.1"),
            ("100.0", "100.0"),
            ("-0.0", "-0.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("18446744073709551616", "18446744073709551616"),
            ("1e400", "1e400"),
            ("-7", "-7"),
        ] {
            assert_eq!(number(json), shown);
        }
    }

    #[test]
    fn a_long_text_goes_on_in_the_next_line() {
        for (text, lines) in [
            ("short", "short"),
            ("one two three four", "one two\nthree four"),
            ("one abcdefghijklmn two", "one\nabcdefghij\nklmn two"),
            ("exactly10! more", "exactly10!\nmore"),
            ("", ""),
        ] {
            assert_eq!(in_lines(text, 10), lines, "{text}");
        }
    }

    #[test]
    fn long_values_are_cut_with_a_sign() {
        let text = shortened(&format!("\"{}\"", "ü".repeat(500)));
        assert_eq!(text.chars().count(), CELL_CHARACTERS_MAX);
        assert!(text.ends_with('…'));
        let many: Vec<String> = (0..50).map(|n| format!("{{\"n\": {n}}}")).collect();
        assert!(rows(&format!("[{}]", many.join(",")), 50).unwrap().ends_with("… 50 rows in all"));
    }
}
