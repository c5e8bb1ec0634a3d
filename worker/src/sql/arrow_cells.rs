//! Values of Arrow arrays in SQLite's terms.
//!
//! Numbers, text, bools and bytes are read from their arrays. All else (dates, decimals, lists, dictionaries …) takes
//! the way over JSON, which gives dates and decimals as text and nested values as JSON.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use bucket::table::{TableError, row_to_record};
use rusqlite::types::{Value, ValueRef};

use super::cell::{self, Beyond64Bit, Record};

/// What SQLite calls the type; empty where a column may hold several.
pub(super) fn declared(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "",
        DataType::Boolean => "INTEGER",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "REAL",
        DataType::Binary | DataType::LargeBinary => "BLOB",
        integer if integer.is_integer() => "INTEGER",
        _ => "TEXT",
    }
}

/// A batch whose values can be asked for.
pub(super) struct Batch {
    columns: Vec<Cells>,
}

enum Cells {
    Array(Arc<dyn Array>),
    /// Values that took the way over JSON.
    Converted(Vec<Result<Value, ()>>),
}

impl Batch {
    /// Prepares what needs preparing.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, TableError> {
        let columns = (0..batch.num_columns()).map(|place| {
            let array = batch.column(place);
            if is_direct(array.data_type()) {
                return Ok(Cells::Array(Arc::clone(array)));
            }
            convert(batch, place).map(Cells::Converted)
        });
        Ok(Self { columns: columns.collect::<Result<_, TableError>>()? })
    }

    /// The value in a column and a row.
    pub(super) fn value(&self, place: usize, row: usize) -> Result<ValueRef<'_>, Beyond64Bit> {
        match &self.columns[place] {
            Cells::Converted(values) => values[row].as_ref().map(ValueRef::from).map_err(|()| Beyond64Bit),
            Cells::Array(array) if array.is_null(row) => Ok(ValueRef::Null),
            Cells::Array(array) => direct(array.as_ref(), row),
        }
    }
}

fn is_direct(data_type: &DataType) -> bool {
    use DataType::{Binary, Boolean, Float32, Float64, LargeBinary, LargeUtf8, Null, Utf8};
    data_type.is_integer()
        || matches!(data_type, Null | Boolean | Float32 | Float64 | Utf8 | LargeUtf8 | Binary | LargeBinary)
}

fn direct(array: &dyn Array, row: usize) -> Result<ValueRef<'_>, Beyond64Bit> {
    let integer = |number: i64| Ok(ValueRef::Integer(number));
    match array.data_type() {
        DataType::Boolean => integer(array.as_boolean().value(row).into()),
        DataType::Int8 => integer(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => integer(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => integer(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => integer(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => integer(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let number = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(number).map(ValueRef::Integer).map_err(|_| Beyond64Bit)
        }
        DataType::Float32 => Ok(ValueRef::Real(array.as_primitive::<Float32Type>().value(row).into())),
        DataType::Float64 => Ok(ValueRef::Real(array.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => Ok(ValueRef::Text(array.as_string::<i32>().value(row).as_bytes())),
        DataType::LargeUtf8 => Ok(ValueRef::Text(array.as_string::<i64>().value(row).as_bytes())),
        DataType::Binary => Ok(ValueRef::Blob(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Ok(ValueRef::Blob(array.as_binary::<i64>().value(row))),
        _ => Ok(ValueRef::Null),
    }
}

fn convert(batch: &RecordBatch, place: usize) -> Result<Vec<Result<Value, ()>>, TableError> {
    let column = batch.project(&[place]).map_err(|error| TableError::Malformed(error.to_string()))?;
    (0..column.num_rows())
        .map(|row| {
            let json = row_to_record(&column, row)?;
            let Record(entries) = serde_json::from_slice(&json)?;
            Ok(entries.first().map_or(Ok(Value::Null), |(_, value)| cell::of_json(value).map_err(|_| ())))
        })
        .collect()
}
