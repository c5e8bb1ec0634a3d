//! The rows that the last statement returned, as the value of the step.
//!
//! Columns of one type make an Arrow table; whole and decimal numbers together are decimal numbers where none loses
//! digits. What no column type holds without loss, such as numbers among text, stays as it is: a list of dicts.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, Float64Array, Int64Array, NullArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use protocol::frame::{ErrorFrame, Output, OutputPlace};
use protocol::{ErrorKind, ValueKind};
use rusqlite::types::Value;

use super::failure;

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
    pub(super) values: Vec<Value>,
}

/// Writes the result into `folder`.
pub(super) fn write(columns: &[Column], folder: &Path) -> Result<Output, ErrorFrame> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    let arrays: Option<Vec<ArrayRef>> = columns.iter().map(array).collect();
    let written = match &arrays {
        Some(arrays) => write_table(columns, arrays, rows, &folder.join(ARROW_NAME)),
        None => write_records(columns, rows, &folder.join(JSON_NAME))?,
    };
    written.map_err(|error| failure(ErrorKind::Value, format!("failed to write the result: {error}")))?;
    let (kind, place) = match arrays {
        Some(_) => (ValueKind::Table, OutputPlace::ArrowFile(ARROW_NAME.to_owned())),
        None => (ValueKind::List, OutputPlace::JsonFile(JSON_NAME.to_owned())),
    };
    Ok(Output { kind, length: Some(rows as u64), place })
}

fn write_table(columns: &[Column], arrays: &[ArrayRef], rows: usize, path: &Path) -> std::io::Result<()> {
    let field = |(column, array): (&Column, &ArrayRef)| Field::new(&column.name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().zip(arrays).map(field).collect::<Vec<Field>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays.to_vec(), &options);
    let batch = batch.map_err(std::io::Error::other)?;
    let file = BufWriter::new(File::create(path)?);
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &schema).map_err(std::io::Error::other)?;
    writer.write(&batch).and_then(|()| writer.finish()).map_err(std::io::Error::other)?;
    writer.into_inner().map_err(std::io::Error::other)?.flush()
}

/// The column as an array, where one type holds all of it.
fn array(column: &Column) -> Option<ArrayRef> {
    let values = &column.values;
    match data_type(column)? {
        DataType::Int64 => Some(Arc::new(values.iter().map(integer).collect::<Int64Array>())),
        DataType::Float64 => Some(Arc::new(values.iter().map(real).collect::<Float64Array>())),
        DataType::Utf8 => Some(Arc::new(values.iter().map(text).collect::<StringArray>())),
        DataType::Binary => Some(Arc::new(values.iter().map(blob).collect::<BinaryArray>())),
        _ => Some(Arc::new(NullArray::new(values.len()))),
    }
}

fn data_type(column: &Column) -> Option<DataType> {
    let present = || column.values.iter().filter(|value| !matches!(value, Value::Null));
    if present().next().is_none() {
        return Some(declared_type(column.declared.as_deref()));
    }
    let is_exact = |value: &Value| match value {
        Value::Integer(number) => number.unsigned_abs() <= EXACT_INTEGER_MAX,
        other => matches!(other, Value::Real(_)),
    };
    if present().all(|value| matches!(value, Value::Integer(_))) {
        Some(DataType::Int64)
    } else if present().all(|value| matches!(value, Value::Real(_))) || present().all(is_exact) {
        Some(DataType::Float64)
    } else if present().all(|value| matches!(value, Value::Text(_))) {
        Some(DataType::Utf8)
    } else if present().all(|value| matches!(value, Value::Blob(_))) {
        Some(DataType::Binary)
    } else {
        None
    }
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

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(number) = value { Some(*number) } else { None }
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

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn blob(value: &Value) -> Option<&[u8]> {
    if let Value::Blob(bytes) = value { Some(bytes) } else { None }
}

/// A list of dicts; the inner result is that of writing the file.
fn write_records(columns: &[Column], rows: usize, path: &Path) -> Result<std::io::Result<()>, ErrorFrame> {
    let mut records = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut record = serde_json::Map::new();
        for column in columns {
            record.insert(column.name.clone(), json(column, row)?);
        }
        records.push(record);
    }
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, &records)?;
        file.flush()
    };
    Ok(write())
}

fn json(column: &Column, row: usize) -> Result<serde_json::Value, ErrorFrame> {
    match &column.values[row] {
        Value::Null => Ok(serde_json::Value::Null),
        Value::Integer(number) => Ok((*number).into()),
        // None for infinities, which becomes null.
        Value::Real(number) => Ok(serde_json::Value::from(*number)),
        Value::Text(text) => Ok(text.as_str().into()),
        Value::Blob(_) => {
            let message = format!("column `{}` of the result holds blobs among other values, in [{row}]", column.name);
            Err(failure(ErrorKind::Value, format!("{message}; return hex(…) of them")))
        }
    }
}
