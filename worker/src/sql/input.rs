//! Reads the inputs of a SQL step as tables: records of JSON, or batches of Arrow.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{Field, Schema};
use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Input};
use rusqlite::types::{Value, ValueRef};
use serde_json::value::RawValue;

use super::arrow_cells::{self, Batch};
use super::cell::{self, Beyond64Bit, Record};
use super::failure;
use super::memory::without_memory;

/// Names and declared types of a table's columns, empty where nothing is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) declared: &'static str,
}

impl Column {
    /// The columns of an Arrow table.
    pub(super) fn of(schema: &Schema) -> Vec<Self> {
        let column = |field: &Arc<Field>| Self { name: field.name().clone(), declared: arrow_cells::declared(field) };
        schema.fields().iter().map(column).collect()
    }
}

/// Takes a table: first its columns, then its rows, some at a time.
pub(super) trait Sink {
    /// Called once, before any row.
    fn columns(&mut self, columns: &[Column]) -> Result<(), ErrorFrame>;
    /// The next rows.
    fn rows(&mut self, rows: &impl Rows) -> Result<(), ErrorFrame>;
}

/// Some rows of a table.
pub(super) trait Rows {
    /// How many.
    fn count(&self) -> usize;
    /// The value of a row in a column.
    fn value(&self, row: usize, column: usize) -> Result<ValueRef<'_>, ErrorFrame>;
}

/// Whether an input had columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    /// An empty list: no rows, and nobody knows its columns.
    Unknown,
}

/// Gives the input called `table` to `sink`.
pub(super) fn read(table: &str, input: &Input, sink: &mut impl Sink) -> Result<Shape, ErrorFrame> {
    match input {
        Input::Json(json) => read_json(table, json.get(), sink),
        Input::JsonFile(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(table, &error.to_string()))?;
            read_json(table, &text, sink)
        }
        Input::ArrowFile(path) => read_arrow(table, path, sink),
    }
}

fn read_json(table: &str, text: &str, sink: &mut impl Sink) -> Result<Shape, ErrorFrame> {
    let records = records(table, text)?;
    if records.is_empty() {
        return Ok(Shape::Unknown);
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in records.iter().flat_map(|record| &record.0) {
        places.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        });
    }
    if names.is_empty() {
        return Err(without_columns(table, records.len()));
    }
    let mut rows = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let mut row = vec![Value::Null; names.len()];
        for (name, value) in &record.0 {
            row[places[name.as_str()]] = cell::of_json(value).map_err(|what| beyond(what, table, index, name))?;
        }
        rows.push(row);
    }
    let column = |(place, name): (usize, &&str)| Column {
        name: (*name).to_owned(),
        declared: declared(rows.iter().map(|row| &row[place])),
    };
    sink.columns(&names.iter().enumerate().map(column).collect::<Vec<Column>>())?;
    sink.rows(&Records(rows))?;
    Ok(Shape::Table)
}

/// Rows of a list of dicts.
struct Records(Vec<Vec<Value>>);

impl Rows for Records {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn value(&self, row: usize, column: usize) -> Result<ValueRef<'_>, ErrorFrame> {
        Ok(ValueRef::from(&self.0[row][column]))
    }
}

fn records<'json>(table: &str, text: &'json str) -> Result<Vec<Record<'json>>, ErrorFrame> {
    let not_a_table = |what: String| {
        let advice = "return a list of dicts, or a table, from the step before";
        failure(ErrorKind::Input, format!("input `{table}` must be a table, but {what}; {advice}"))
    };
    if !text.trim_start().starts_with('[') {
        return Err(not_a_table(format!("{} came", cell::kind_of_json(text))));
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| unreadable(table, &error.to_string()))?;
    let record = |(index, item): (usize, &&'json RawValue)| {
        if !item.get().starts_with('{') {
            return Err(not_a_table(format!(
                "a list came whose element [{index}] is {}",
                cell::kind_of_json(item.get())
            )));
        }
        serde_json::from_str(item.get()).map_err(|error| unreadable(table, &error.to_string()))
    };
    items.iter().enumerate().map(record).collect()
}

/// The type of a column whose values are all of one; values of other columns keep the type each has.
fn declared<'a>(values: impl Iterator<Item = &'a Value>) -> &'static str {
    let mut declared = "";
    for value in values {
        let own = match value {
            Value::Null => continue,
            Value::Integer(_) => "INTEGER",
            Value::Real(_) => "REAL",
            Value::Text(_) => "TEXT",
            Value::Blob(_) => "BLOB",
        };
        if declared.is_empty() {
            declared = own;
        } else if declared != own {
            return "";
        }
    }
    declared
}

fn read_arrow(table: &str, path: &Path, sink: &mut impl Sink) -> Result<Shape, ErrorFrame> {
    let wrong = |error: &dyn std::fmt::Display| unreadable(table, &error.to_string());
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let stream = bucket::table::read_stream(BufReader::new(file)).map_err(|error| wrong(&error))?;
    let schema = stream.schema();
    let columns = Column::of(&schema);
    if columns.is_empty() {
        let rows = stream.map(|batch| Ok(batch?.num_rows())).sum::<Result<usize, arrow_schema::ArrowError>>();
        return match rows.map_err(|error| wrong(&error))? {
            0 => Ok(Shape::Unknown),
            rows => Err(without_columns(table, rows)),
        };
    }
    sink.columns(&columns)?;
    let has_nan = vec![Cell::new(false); columns.len()];
    let mut first_row = 0;
    for batch in stream {
        let batch = batch.map_err(|error| wrong(&error))?;
        let cells = Batch::new(&batch).map_err(|error| wrong(&error))?;
        let count = batch.num_rows();
        sink.rows(&Part { table, columns: &columns, has_nan: &has_nan, cells, first_row, count })?;
        first_row += count;
    }
    columns.iter().zip(has_nan).filter(|(_, found)| found.get()).for_each(|(column, _)| has_nan_in(table, column));
    Ok(Shape::Table)
}

/// Rows of an Arrow table.
struct Part<'table> {
    table: &'table str,
    columns: &'table [Column],
    /// Which columns have a NaN, as far as they were looked at.
    has_nan: &'table [Cell<bool>],
    cells: Batch,
    /// Where they begin in the whole table.
    first_row: usize,
    count: usize,
}

impl Rows for Part<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn value(&self, row: usize, column: usize) -> Result<ValueRef<'_>, ErrorFrame> {
        let value = self.cells.value(column, row);
        let value = value.map_err(|what| beyond(what, self.table, self.first_row + row, &self.columns[column].name))?;
        if matches!(value, ValueRef::Real(number) if number.is_nan()) {
            self.has_nan[column].set(true);
        }
        Ok(value)
    }
}

/// Says in the log that a column has NaN.
pub(super) fn has_nan_in(table: &str, column: &Column) {
    eprintln!("warning: column `{}` of input `{table}` has NaN, which SQLite keeps as null", column.name);
}

pub(super) fn beyond(what: Beyond64Bit, table: &str, index: usize, column: &str) -> ErrorFrame {
    let message = format!("column `{column}` of input `{table}` holds {what}, in [{index}]");
    failure(ErrorKind::Input, format!("{message}; return it as text"))
}

/// The error of rows in which there is nothing.
pub(super) fn without_columns(table: &str, rows: usize) -> ErrorFrame {
    let message = format!("input `{table}` has {rows} rows and no column");
    failure(ErrorKind::Input, format!("{message}; return a table with columns from the step before"))
}

/// How Arrow begins to tell that there is no memory left.
const NO_MEMORY: &str = "Memory error";

pub(super) fn unreadable(table: &str, reason: &str) -> ErrorFrame {
    if reason.starts_with(NO_MEMORY) {
        return without_memory(&format!("no memory is left to read input `{table}`"));
    }
    failure(ErrorKind::Input, format!("input `{table}` cannot be read: {reason}"))
}
