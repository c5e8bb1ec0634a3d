//! Values of Arrow arrays in SQLite's terms.
//!
//! Numbers, text, bools and bytes are read from their arrays, those of dictionaries after they are put in their places.
//! All else (dates, decimals, lists …) takes the way over JSON, which gives dates and decimals as text and nested values as
//! JSON.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use bucket::table::{TableError, holds_uuids, row_to_record};
use rusqlite::types::{Value, ValueRef};

use super::cell::{self, Beyond64Bit, Record};

/// What SQLite calls the type of a column; empty where it may hold several.
pub(super) fn declared(field: &Field) -> &'static str {
    if holds_uuids(field) { "TEXT" } else { declared_type(field.data_type()) }
}

fn declared_type(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Null => "",
        DataType::Boolean => "INTEGER",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "REAL",
        DataType::Dictionary(_, values) => declared_type(values),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BLOB",
        integer if integer.is_integer() => "INTEGER",
        _ => "TEXT",
    }
}

/// A batch whose values can be asked for.
pub(super) struct Batch {
    columns: Vec<Cells>,
}

enum Cells {
    /// Of the most common types, known before each value is asked for.
    Integers(Int64Array),
    Reals(Float64Array),
    Texts(StringArray),
    Bools(BooleanArray),
    Array(Arc<dyn Array>),
    /// Values that took the way over JSON.
    Converted(Vec<Result<Value, Beyond64Bit>>),
}

impl Batch {
    /// Prepares what needs preparing.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, TableError> {
        let columns = (0..batch.num_columns()).map(|place| {
            let array = batch.column(place);
            if is_direct(array.data_type()) && !holds_uuids(batch.schema_ref().field(place)) {
                return Ok(Cells::of(array));
            }
            if let Some(dictionary) = array.as_any_dictionary_opt().filter(|it| is_direct(it.values().data_type())) {
                let array = arrow_select::take::take(dictionary.values(), dictionary.keys(), None);
                return array.map(|array| Cells::of(&array)).map_err(TableError::from);
            }
            convert(batch, place).map(Cells::Converted)
        });
        Ok(Self { columns: columns.collect::<Result<_, TableError>>()? })
    }

    /// The value in a column and a row.
    pub(super) fn value(&self, place: usize, row: usize) -> Result<ValueRef<'_>, Beyond64Bit> {
        match &self.columns[place] {
            Cells::Converted(values) => values[row].as_ref().map(ValueRef::from).map_err(|beyond| *beyond),
            Cells::Integers(array) if array.is_valid(row) => Ok(ValueRef::Integer(array.value(row))),
            Cells::Reals(array) if array.is_valid(row) => Ok(ValueRef::Real(array.value(row))),
            Cells::Texts(array) if array.is_valid(row) => Ok(ValueRef::Text(array.value(row).as_bytes())),
            Cells::Bools(array) if array.is_valid(row) => Ok(ValueRef::Integer(array.value(row).into())),
            Cells::Integers(_) | Cells::Reals(_) | Cells::Texts(_) | Cells::Bools(_) => Ok(ValueRef::Null),
            Cells::Array(array) if array.is_null(row) => Ok(ValueRef::Null),
            Cells::Array(array) => direct(array.as_ref(), row),
        }
    }
}

impl Cells {
    fn of(array: &Arc<dyn Array>) -> Self {
        match array.data_type() {
            DataType::Int64 => Self::Integers(array.as_primitive().clone()),
            DataType::Float64 => Self::Reals(array.as_primitive().clone()),
            DataType::Utf8 => Self::Texts(array.as_string().clone()),
            DataType::Boolean => Self::Bools(array.as_boolean().clone()),
            _ => Self::Array(Arc::clone(array)),
        }
    }
}

fn is_direct(data_type: &DataType) -> bool {
    use DataType::{Boolean, Float32, Float64, LargeUtf8, Null, Utf8, Utf8View};
    data_type.is_integer()
        || declared_type(data_type) == "BLOB" && !matches!(data_type, DataType::Dictionary(..))
        || matches!(data_type, Null | Boolean | Float32 | Float64 | Utf8 | LargeUtf8 | Utf8View)
}

fn direct(array: &dyn Array, row: usize) -> Result<ValueRef<'_>, Beyond64Bit> {
    let integer = |number: i64| Ok(ValueRef::Integer(number));
    match array.data_type() {
        DataType::Int8 => integer(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => integer(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::UInt8 => integer(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => integer(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => integer(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let number = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(number).map(ValueRef::Integer).map_err(|_| Beyond64Bit::Integer)
        }
        DataType::Float32 => Ok(ValueRef::Real(array.as_primitive::<Float32Type>().value(row).into())),
        DataType::LargeUtf8 => Ok(ValueRef::Text(array.as_string::<i64>().value(row).as_bytes())),
        DataType::Utf8View => Ok(ValueRef::Text(array.as_string_view().value(row).as_bytes())),
        DataType::Binary => Ok(ValueRef::Blob(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => Ok(ValueRef::Blob(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => Ok(ValueRef::Blob(array.as_binary_view().value(row))),
        DataType::FixedSizeBinary(_) => Ok(ValueRef::Blob(array.as_fixed_size_binary().value(row))),
        _ => Ok(ValueRef::Null),
    }
}

fn convert(batch: &RecordBatch, place: usize) -> Result<Vec<Result<Value, Beyond64Bit>>, TableError> {
    let column = batch.project(&[place]).map_err(|error| TableError::Malformed(error.to_string()))?;
    (0..column.num_rows())
        .map(|row| {
            let json = row_to_record(&column, row)?;
            let Record(entries) = serde_json::from_slice(&json)?;
            Ok(entries.first().map_or(Ok(Value::Null), |(_, value)| cell::of_json(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, BinaryArray, BinaryViewArray, Date32Array, DictionaryArray, FixedSizeBinaryArray, Int64Array,
        StringViewArray,
    };

    use super::*;

    fn value(array: ArrayRef) -> (&'static str, Value) {
        let declared = declared_type(array.data_type());
        let batch = Batch::new(&RecordBatch::try_from_iter([("x", array)]).unwrap()).unwrap();
        let value = Value::try_from(batch.value(0, 0).unwrap()).unwrap();
        (declared, value)
    }

    fn dictionary(values: ArrayRef) -> ArrayRef {
        Arc::new(DictionaryArray::<Int8Type>::new(vec![0].into(), values))
    }

    #[test]
    fn bytes_are_blobs_in_whatever_form_they_come() {
        let bytes = vec![&[0_u8, 255][..]];
        let fixed = FixedSizeBinaryArray::try_from_iter(bytes.iter()).unwrap();
        let forms: [ArrayRef; 4] = [
            Arc::new(BinaryArray::from(bytes.clone())),
            Arc::new(BinaryViewArray::from(bytes.clone())),
            Arc::new(fixed),
            dictionary(Arc::new(BinaryArray::from(bytes))),
        ];
        for form in forms {
            assert_eq!(value(form), ("BLOB", Value::Blob(vec![0, 255])));
        }
    }

    #[test]
    fn a_dictionary_is_what_it_stands_for() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec!["ü"]));
        assert_eq!(value(Arc::clone(&text)), ("TEXT", Value::Text("ü".to_owned())));
        assert_eq!(value(dictionary(text)), ("TEXT", Value::Text("ü".to_owned())));
        assert_eq!(value(dictionary(Arc::new(Int64Array::from(vec![7])))), ("INTEGER", Value::Integer(7)));
        let date = dictionary(Arc::new(Date32Array::from(vec![19_723])));
        assert_eq!(value(date), ("TEXT", Value::Text("2024-01-01".to_owned())));
    }
}
