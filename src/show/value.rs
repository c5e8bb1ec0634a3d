//! A value in the little space of a table's cell, or by itself.

use comfy_table::{ContentArrangement, Table, presets};
use protocol::{ValueKind, ValueRef};
use serde_json::{Map, Value};

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

/// The first rows of a table of `rows` rows, where `value` is a list of the first of its records.
pub fn rows(value: &Value, rows: u64) -> Option<String> {
    rows_of(value, rows, ROWS_MAX)
}

/// The same, with another bound.
pub fn rows_of(value: &Value, rows: u64, rows_max: usize) -> Option<String> {
    let records: Vec<&Map<String, Value>> = value.as_array()?.iter().map(Value::as_object).collect::<Option<_>>()?;
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
        table.add_row(shown.iter().map(|column| record.get(*column).map_or_else(String::new, field)));
    }
    let mut text = table.to_string();
    if rows > records.len() as u64 {
        text.push_str(&format!("\n… {} in all", output::plural(rows, "row", "rows")));
    }
    Some(text)
}

/// The union of the keys of the rows that are shown, in order of appearance.
fn columns<'a>(records: &[&'a Map<String, Value>]) -> Vec<&'a str> {
    let mut columns: Vec<&str> = Vec::new();
    for key in records.iter().flat_map(|record| record.keys()) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    columns
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => cut(&flat(text), FIELD_CHARACTERS_MAX),
        other => cut(&other.to_string(), FIELD_CHARACTERS_MAX),
    }
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
        let value = serde_json::json!([{"a": 1, "b": "x\ny\u{1b}"}, {"a": null, "c": [1]}]);
        let text = rows(&value, 2).unwrap();
        for part in ["a", "b", "c", r"x y\u001b", "[1]"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(rows(&serde_json::json!([1, 2]), 2).is_none());
        assert!(rows(&serde_json::json!([]), 0).is_none());
        assert!(rows(&serde_json::json!({"a": 1}), 1).is_none());
    }

    #[test]
    fn long_values_are_cut_with_a_sign() {
        let text = shortened(&format!("\"{}\"", "ü".repeat(500)));
        assert_eq!(text.chars().count(), CELL_CHARACTERS_MAX);
        assert!(text.ends_with('…'));
        let many: Vec<Value> = (0..50).map(|n| serde_json::json!({"n": n})).collect();
        assert!(rows(&Value::Array(many), 50).unwrap().ends_with("… 50 rows in all"));
    }
}
