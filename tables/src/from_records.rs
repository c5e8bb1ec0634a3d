//! A JSON list of dicts becomes a table.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, Schema};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::{Cell, CellError, ColumnKind};
use super::error::TableError;
use super::to_records::JSON_EXTENSION;

/// Largest text of records that becomes one table: the columns' offsets have 31 bits.
const RECORDS_BYTES_MAX: u64 = i32::MAX as u64;

/// A table made of records.
#[derive(Debug, Clone)]
pub struct Converted {
    /// All rows.
    pub batch: RecordBatch,
    /// Columns whose values were of different kinds.
    pub widened: Vec<Widened>,
}

/// A column whose values were of different kinds and were made alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widened {
    /// Its name.
    pub column: String,
    /// What it became.
    pub kind: &'static str,
}

impl fmt::Display for Widened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the column `{}` has values of different kinds and became {}", self.column, self.kind)
    }
}

/// The table that a JSON list of dicts stands for. An empty list is a table without columns and rows.
///
/// # Errors
/// Names the first thing that keeps it from being a table.
pub fn from_records(json: &str) -> Result<Converted, TableError> {
    if json.len() as u64 > RECORDS_BYTES_MAX {
        return Err(TableError::TooLarge { bytes: json.len() as u64, bytes_max: RECORDS_BYTES_MAX });
    }
    let records = parse_list(json)?;
    let mut columns = Columns::default();
    for (index, record) in records.iter().enumerate() {
        columns.add(index, record)?;
    }
    columns.finish(records.len())
}

fn parse_list(json: &str) -> Result<Vec<&RawValue>, TableError> {
    let value: &RawValue = serde_json::from_str(json)?;
    if !value.get().starts_with('[') {
        return Err(TableError::NotAList { kind: kind_with_article(value.get()) });
    }
    Ok(serde_json::from_str(value.get())?)
}

fn kind_with_article(text: &str) -> &'static str {
    use protocol::ValueKind;
    let kind = match text.as_bytes().first() {
        Some(b'n') => ValueKind::Null,
        Some(b't' | b'f') => ValueKind::Bool,
        Some(b'"') => ValueKind::String,
        Some(b'[') => ValueKind::List,
        Some(b'{') => ValueKind::Dict,
        _ => ValueKind::Number,
    };
    kind.with_article()
}

/// The columns so far; each is filled up to the last record that named it.
#[derive(Default)]
struct Columns<'a> {
    names: Vec<String>,
    places: HashMap<String, usize>,
    cells: Vec<Vec<Cell<'a>>>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, index: usize, record: &'a RawValue) -> Result<(), TableError> {
        if !record.get().starts_with('{') {
            return Err(TableError::NotARecord { index, kind: kind_with_article(record.get()) });
        }
        let entries = serde_json::Deserializer::from_str(record.get()).deserialize_map(Entries)?;
        for (name, value) in entries {
            let cell = Cell::parse(value).map_err(|error| match error {
                CellError::IntegerTooLarge => TableError::IntegerTooLarge { index, column: name.clone() },
                CellError::FloatTooLarge => TableError::FloatTooLarge { index, column: name.clone() },
                CellError::NotJson(error) => TableError::NotJson(error),
            })?;
            let column = self.column(name);
            column.resize(index, Cell::Null);
            // A name that a record has twice has its last value, as in Python.
            column.truncate(index);
            column.push(cell);
        }
        Ok(())
    }

    fn column(&mut self, name: String) -> &mut Vec<Cell<'a>> {
        let place = *self.places.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            self.cells.push(Vec::new());
            self.cells.len() - 1
        });
        &mut self.cells[place]
    }

    fn finish(self, rows: usize) -> Result<Converted, TableError> {
        let mut fields = Vec::with_capacity(self.names.len());
        let mut arrays = Vec::with_capacity(self.names.len());
        let mut widened = Vec::new();
        for (name, mut cells) in self.names.into_iter().zip(self.cells) {
            cells.resize(rows, Cell::Null);
            let (kind, mixed) = ColumnKind::of(&cells);
            if mixed {
                widened.push(Widened { column: name.clone(), kind: kind.word() });
            }
            fields.push(field(name, kind));
            arrays.push(array(kind, &cells));
        }
        // Without columns the number of rows has to be said.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        Ok(Converted { batch, widened })
    }
}

fn field(name: String, kind: ColumnKind) -> Field {
    let data_type = match kind {
        ColumnKind::Null => DataType::Null,
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::Integer => DataType::Int64,
        ColumnKind::Float => DataType::Float64,
        ColumnKind::Text | ColumnKind::Nested => DataType::Utf8,
    };
    let field = Field::new(name, data_type, true);
    if kind == ColumnKind::Nested {
        let metadata = HashMap::from([(EXTENSION_TYPE_NAME_KEY.to_owned(), JSON_EXTENSION.to_owned())]);
        return field.with_metadata(metadata);
    }
    field
}

fn array(kind: ColumnKind, cells: &[Cell<'_>]) -> ArrayRef {
    match kind {
        ColumnKind::Null => Arc::new(NullArray::new(cells.len())),
        ColumnKind::Bool => {
            let mut builder = BooleanBuilder::with_capacity(cells.len());
            cells
                .iter()
                .for_each(|cell| builder.append_option(if let Cell::Bool(value) = cell { Some(*value) } else { None }));
            Arc::new(builder.finish())
        }
        ColumnKind::Integer => {
            let mut builder = Int64Builder::with_capacity(cells.len());
            cells.iter().for_each(|cell| {
                builder.append_option(if let Cell::Integer(value) = cell { Some(*value) } else { None })
            });
            Arc::new(builder.finish())
        }
        ColumnKind::Float => {
            let mut builder = Float64Builder::with_capacity(cells.len());
            cells.iter().for_each(|cell| builder.append_option(float(cell)));
            Arc::new(builder.finish())
        }
        ColumnKind::Text => {
            let mut builder = StringBuilder::new();
            cells.iter().for_each(|cell| builder.append_option(cell.text()));
            Arc::new(builder.finish())
        }
        ColumnKind::Nested => {
            let mut builder = StringBuilder::new();
            cells.iter().for_each(|cell| builder.append_option((*cell != Cell::Null).then(|| cell.json())));
            Arc::new(builder.finish())
        }
    }
}

fn float(cell: &Cell<'_>) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        // Only whole numbers that are exact as floats come here.
        Cell::Integer(value) => Some(*value as f64),
        _ => None,
    }
}

/// Reads a dict as it is written: in order, values unread.
pub(super) struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dict")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
