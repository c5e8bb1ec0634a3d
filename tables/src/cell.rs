//! One value of a record, and what a column of such values is.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One value of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Cow<'a, str>),
    /// A list or a dict, as it was written.
    Nested(&'a str),
}

/// Why a value cannot be a cell.
pub(super) enum CellError {
    IntegerTooLarge,
    /// A decimal number beyond what a 64-bit float holds.
    FloatTooLarge,
    NotJson(serde_json::Error),
}

impl<'a> Cell<'a> {
    pub(super) fn parse(value: &'a RawValue) -> Result<Self, CellError> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'n') => Ok(Self::Null),
            Some(b't') => Ok(Self::Bool(true)),
            Some(b'f') => Ok(Self::Bool(false)),
            Some(b'[' | b'{') => Ok(Self::Nested(text)),
            Some(b'"') => string(text),
            _ => number(text),
        }
    }

    /// The value as JSON.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => serde_json::Value::from(*value).to_string(),
            Self::Text(value) => serde_json::Value::from(value.as_ref()).to_string(),
            Self::Nested(text) => (*text).to_owned(),
        }
    }

    /// The value as text; `None` for null.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Text(value) => Some(Cow::Borrowed(value)),
            other => Some(Cow::Owned(other.json())),
        }
    }
}

fn string(text: &str) -> Result<Cell<'_>, CellError> {
    // Most strings have no escapes and need no copy.
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cell::Text(Cow::Borrowed(inner))),
        _ => serde_json::from_str(text).map(|text| Cell::Text(Cow::Owned(text))).map_err(CellError::NotJson),
    }
}

fn number(text: &str) -> Result<Cell<'static>, CellError> {
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        // Not by serde_json: without its `float_roundtrip` every tenth number comes out a little different.
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        return number.map(Cell::Float).ok_or(CellError::FloatTooLarge);
    }
    text.parse().map(Cell::Integer).map_err(|_| CellError::IntegerTooLarge)
}

/// What a column of a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    Nested,
}

/// Whole numbers up to this size are exact as 64-bit floats.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

impl ColumnKind {
    /// The kind that holds all of `cells`, and whether values of different kinds had to be made alike.
    pub(super) fn of(cells: &[Cell<'_>]) -> (Self, bool) {
        let mut seen = Seen::default();
        for cell in cells {
            seen.add(cell);
        }
        seen.kind()
    }

    /// The kind in the words of a message.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bools",
            Self::Integer => "whole numbers",
            Self::Float => "decimal numbers",
            Self::Text => "text",
            Self::Nested => "JSON",
        }
    }
}

/// Which kinds of values a column has.
#[derive(Default)]
struct Seen {
    bool: bool,
    integer: bool,
    /// Some whole number is not exact as a float.
    inexact: bool,
    float: bool,
    text: bool,
    nested: bool,
}

impl Seen {
    fn add(&mut self, cell: &Cell<'_>) {
        match cell {
            Cell::Null => {}
            Cell::Bool(_) => self.bool = true,
            Cell::Integer(value) => {
                self.integer = true;
                self.inexact |= value.unsigned_abs() > EXACT_INTEGER_MAX;
            }
            Cell::Float(_) => self.float = true,
            Cell::Text(_) => self.text = true,
            Cell::Nested(_) => self.nested = true,
        }
    }

    fn kind(&self) -> (ColumnKind, bool) {
        let kinds = [self.bool, self.integer, self.float, self.text, self.nested];
        match kinds {
            [false, false, false, false, false] => (ColumnKind::Null, false),
            [true, false, false, false, false] => (ColumnKind::Bool, false),
            [false, true, false, false, false] => (ColumnKind::Integer, false),
            [false, false, true, false, false] => (ColumnKind::Float, false),
            [false, true, true, false, false] if !self.inexact => (ColumnKind::Float, true),
            [false, false, false, true, false] => (ColumnKind::Text, false),
            [false, false, false, false, true] => (ColumnKind::Nested, false),
            [.., true] => (ColumnKind::Nested, true),
            _ => (ColumnKind::Text, true),
        }
    }
}
