//! The rows that the last statement returned, as the value of the step.
//!
//! Columns of one type make an Arrow table; whole and decimal numbers together are decimal numbers where none loses
//! digits. What no column type holds without loss, such as numbers among text, stays as it is: a list of dicts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use protocol::frame::{ErrorFrame, Output, OutputPlace};
use protocol::{ErrorKind, ValueKind};
use rusqlite::types::Value;

use super::column::{PIECE_ROWS, Values};
use super::draft::Draft;
use super::{failure, unwritten};

/// Name of the file for a table.
const ARROW_NAME: &str = "value.arrow";
/// Name of the file for a list of dicts.
const JSON_NAME: &str = "value.json";
/// Whole numbers up to this size are exact as 64-bit floats.
const EXACT_INTEGER_MAX: u64 = 1 << 53;

/// One column of the result.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The type it was declared with, where it comes from a table.
    pub(super) declared: Option<String>,
    pub(super) values: Values,
    /// Whether it had infinities, which became null.
    pub(super) has_infinity: bool,
}

/// A column as a table can have it.
struct Typed {
    data_type: DataType,
    pieces: Vec<ArrayRef>,
}

/// Writes the result, of `rows` rows, into `folder`, as far as that has not been done.
pub(super) fn write(columns: Vec<Column>, rows: usize, folder: &Path, draft: Draft) -> Result<Output, ErrorFrame> {
    for column in columns.iter().filter(|column| column.has_infinity) {
        eprintln!("warning: column `{}` of the result has infinities, which became null", column.name);
    }
    let is_mixed = |column: &&Column| matches!(&column.values, Values::Mixed(values) if !are_exact(values));
    if let Some(mixed) = columns.iter().find(is_mixed).map(|column| column.name.clone()) {
        draft.remove();
        write_records(columns, rows, &folder.join(JSON_NAME), &mixed)?.map_err(unwritten)?;
        let place = OutputPlace::JsonFile(JSON_NAME.to_owned());
        return Ok(Output { kind: ValueKind::List, length: Some(rows as u64), place });
    }
    write_table(columns, rows, &folder.join(ARROW_NAME), draft).map_err(unwritten)?;
    let place = OutputPlace::ArrowFile(ARROW_NAME.to_owned());
    Ok(Output { kind: ValueKind::Table, length: Some(rows as u64), place })
}

fn write_table(columns: Vec<Column>, rows: usize, path: &Path, draft: Draft) -> Result<(), ArrowError> {
    let (names, columns): (Vec<String>, Vec<Typed>) = columns
        .into_iter()
        .map(|Column { name, declared, values, .. }| (name, typed(values, declared.as_deref())))
        .unzip();
    let field = |(name, column): (&String, &Typed)| Field::new(name, column.data_type.clone(), true);
    let schema = Arc::new(Schema::new(names.iter().zip(&columns).map(field).collect::<Vec<Field>>()));
    let mut table = draft.of(&schema)?;
    for start in (table.count * PIECE_ROWS..rows.max(1)).step_by(PIECE_ROWS) {
        let count = PIECE_ROWS.min(rows - start);
        let arrays = columns.iter().map(|column| match column.pieces.get(start / PIECE_ROWS) {
            Some(piece) => Arc::clone(piece),
            None => new_null_array(&column.data_type, count),
        });
        table.write(arrays.collect(), count)?;
    }
    table.finish(path)
}

/// Mixed values come here only where all are exact as decimal numbers.
fn typed(values: Values, declared: Option<&str>) -> Typed {
    match values {
        Values::Alike(pieces) => match pieces.data_type() {
            DataType::Null => {
                let data_type = declared_type(declared);
                let pieces = pieces.finish();
                Typed {
                    pieces: pieces.iter().map(|piece| new_null_array(&data_type, piece.len())).collect(),
                    data_type,
                }
            }
            data_type => Typed { data_type, pieces: pieces.finish() },
        },
        Values::Mixed(values) => {
            let piece = |values: &[Value]| -> ArrayRef { Arc::new(values.iter().map(real).collect::<Float64Array>()) };
            Typed { data_type: DataType::Float64, pieces: values.chunks(PIECE_ROWS).map(piece).collect() }
        }
    }
}

/// Whether one column of decimal numbers holds all of them without loss.
fn are_exact(values: &[Value]) -> bool {
    values.iter().all(|value| match value {
        Value::Integer(number) => number.unsigned_abs() <= EXACT_INTEGER_MAX,
        other => matches!(other, Value::Null | Value::Real(_)),
    })
}

/// What a column without values is: as it was declared, by the first letters SQLite itself goes by.
fn declared_type(declared: Option<&str>) -> DataType {
    let declared = declared.unwrap_or_default().to_ascii_uppercase();
    if declared.contains("INT") || declared.contains("BOOL") {
        DataType::Int64
    } else if ["CHAR", "CLOB", "TEXT"].iter().any(|part| declared.contains(part)) {
        DataType::Utf8
    } else if ["REAL", "FLOA", "DOUB"].iter().any(|part| declared.contains(part)) {
        DataType::Float64
    } else if declared.contains("BLOB") {
        DataType::Binary
    } else {
        DataType::Null
    }
}

fn real(value: &Value) -> Option<f64> {
    match value {
        // Exact: see `data_type`.
        Value::Integer(number) => Some(*number as f64),
        // Values are JSON-like: infinities have no place in them.
        Value::Real(number) => number.is_finite().then_some(*number),
        _ => None,
    }
}

/// A list of dicts, written as they are made, because of a column of mixed values; the inner result is that of writing the file.
fn write_records(
    columns: Vec<Column>,
    rows: usize,
    path: &Path,
    mixed: &str,
) -> Result<std::io::Result<()>, ErrorFrame> {
    let (names, columns): (Vec<String>, Vec<Vec<Value>>) =
        columns.into_iter().map(|Column { name, values, .. }| (name, values.into_singles())).unzip();
    let write = |file: &mut dyn Write, row: usize| -> Result<std::io::Result<()>, ErrorFrame> {
        let mut record = serde_json::Map::new();
        for (name, values) in names.iter().zip(&columns) {
            record.insert(name.clone(), json(name, values.get(row), row, mixed)?);
        }
        let separator = if row == 0 { "" } else { "," };
        Ok(file.write_all(separator.as_bytes()).and_then(|()| Ok(serde_json::to_writer(file, &record)?)))
    };
    let mut file = match File::create(path) {
        Ok(file) => BufWriter::with_capacity(1 << 20, file),
        Err(error) => return Ok(Err(error)),
    };
    let mut written = file.write_all(b"[");
    for row in 0..rows {
        written = written.and(write(&mut file, row)?);
    }
    Ok(written.and_then(|()| file.write_all(b"]")).and_then(|()| file.flush()))
}

fn json(column: &str, value: Option<&Value>, row: usize, mixed: &str) -> Result<serde_json::Value, ErrorFrame> {
    match value {
        None | Some(Value::Null) => Ok(serde_json::Value::Null),
        Some(Value::Integer(number)) => Ok((*number).into()),
        // None for infinities, which becomes null.
        Some(Value::Real(number)) => Ok(serde_json::Value::from(*number)),
        Some(Value::Text(text)) => Ok(text.as_str().into()),
        Some(Value::Blob(_)) => {
            let blobs = format!("column `{column}` of the result holds blobs, as in [{row}]");
            let message = match column == mixed {
                true => format!("{blobs}, among other values, which no table holds"),
                false => format!("{blobs}, and column `{mixed}` values of several types, which no table holds"),
            };
            let hint = format!("return values of one type in `{mixed}`, or hex(…) of the blobs");
            Err(failure(ErrorKind::Value, format!("{message}; {hint}")))
        }
    }
}
