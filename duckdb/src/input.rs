//! An input becomes a table of the database: records of JSON by way of an Arrow table, as others come.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duckdb_arrow::array::{Array, ArrayRef, RecordBatch};
use duckdb_arrow::compute::{CastOptions, cast, cast_with_options};
use duckdb_arrow::datatypes::{Field, Schema};
use duckdb_arrow::error::ArrowError;
use duckdb_arrow::ipc::reader::StreamReader;
use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Input};

use super::{failure, nulls, spans, types};

/// The file with the input as an Arrow table; `place` is where it is made if there is none.
pub(super) fn file(name: &str, input: &Input, place: PathBuf) -> Result<PathBuf, ErrorFrame> {
    let text;
    let json = match input {
        Input::ArrowFile(path) => return Ok(path.clone()),
        Input::Json(json) => json.get(),
        Input::JsonFile(path) => {
            text = std::fs::read_to_string(path).map_err(|error| refused(name, &error.to_string()))?;
            &text
        }
    };
    let converted = tables::from_records(json).map_err(|error| refused(name, &error.to_string()))?;
    converted.widened.iter().for_each(|widened| eprintln!("warning: {widened}"));
    let unready =
        |error: std::io::Error| failure(ErrorKind::Start, format!("failed to prepare input `{name}`: {error}"));
    let mut file = BufWriter::new(File::create(&place).map_err(unready)?);
    tables::write_stream(&mut file, &converted.batch.schema(), [&converted.batch])
        .map_err(|error| refused(name, &error.to_string()))?;
    file.flush().map_err(unready)?;
    Ok(place)
}

/// An input, whose rows are in a file, and what the database is to call it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Its columns as they are handed over.
    pub(super) schema: Arc<Schema>,
    /// Their types in the database.
    types: Vec<String>,
}

impl Table {
    /// Looks at the columns; `None` for an empty list, of which nobody knows them.
    pub(super) fn open(name: String, path: PathBuf) -> Result<Option<Self>, ErrorFrame> {
        let unreadable = |error: ArrowError| refused(&name, &error.to_string());
        let stream = stream(&path).map_err(unreadable)?;
        let schema = handed_over(&stream.schema());
        if schema.fields().is_empty() {
            let rows: Result<usize, ArrowError> = stream.map(|batch| Ok(batch?.num_rows())).sum();
            return match rows.map_err(unreadable)? {
                0 => Ok(None),
                rows => Err(without_columns(&name, rows)),
            };
        }
        check_names(&name, &schema)?;
        let sql = |field: &Arc<Field>| types::sql(field).ok_or_else(|| no_type(&name, field));
        let types = schema.fields().iter().map(sql).collect::<Result<_, ErrorFrame>>()?;
        Ok(Some(Self { name, path, schema, types }))
    }

    /// Names and types of the columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schema.fields().iter().map(|field| field.name().as_str()).zip(self.types.iter().map(String::as_str))
    }

    /// Whether the database takes the columns as they are: text becomes its JSON only where it is that.
    pub(super) fn is_as_in_file(&self) -> bool {
        !self.types.iter().any(|data_type| data_type.contains("JSON"))
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> Result<u64, ErrorFrame> {
        let unreadable = |error: &dyn std::fmt::Display| refused(&self.name, &error.to_string());
        let file = File::open(&self.path).map_err(|error| unreadable(&error))?;
        let bytes = file.metadata().map_err(|error| unreadable(&error))?.len();
        Ok(tables::scan_trusted(file, bytes).map_err(|error| unreadable(&error))?.rows)
    }

    /// Says which columns had more digits than the database keeps.
    pub(super) fn warn_of_digits(&self, lost: &[bool]) {
        for (field, _) in self.schema.fields().iter().zip(lost).filter(|(_, lost)| **lost) {
            let (column, table) = (field.name(), &self.name);
            eprintln!("warning: column `{column}` of input `{table}` has nanoseconds; DuckDB keeps microseconds");
        }
    }
}

/// The batches of a file.
pub(super) fn stream(path: &Path) -> Result<StreamReader<BufReader<File>>, ArrowError> {
    StreamReader::try_new(BufReader::new(File::open(path)?), None)
}

/// The error of rows in which there is nothing.
fn without_columns(table: &str, rows: usize) -> ErrorFrame {
    let message = format!("input `{table}` has {rows} rows and no column");
    failure(ErrorKind::Input, format!("{message}; return a table with columns from the step before"))
}

/// Refuses what DuckDB takes for no name.
fn check_names(table: &str, schema: &Schema) -> Result<(), ErrorFrame> {
    let mut seen = HashSet::new();
    for name in schema.fields().iter().map(|field| field.name()) {
        if !seen.insert(name.to_ascii_lowercase()) {
            let reason = format!(
                "two columns are called {name:?}, or differ from it only in case; DuckDB cannot tell them apart"
            );
            return Err(refused(table, &format!("{reason}: name them apart")));
        }
        if name.is_empty() {
            return Err(refused(table, "a column has the empty name, which DuckDB does not take; give it one"));
        }
        if name.contains('\0') {
            return Err(refused(table, &format!("the name {name:?} has a NUL character, which DuckDB does not take")));
        }
    }
    Ok(())
}

pub(super) fn refused(table: &str, reason: &str) -> ErrorFrame {
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {reason}"))
}

fn no_type(table: &str, field: &Field) -> ErrorFrame {
    let what = format!("column `{}` has the Arrow type {}", field.name(), field.data_type());
    refused(table, &format!("{what}, which DuckDB has no type for; convert it to text or a number"))
}

fn handed_over(schema: &Schema) -> Arc<Schema> {
    let field = |field: &Arc<Field>| field.as_ref().clone().with_data_type(types::handed_over(field.data_type()));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<Field>>()))
}

/// The batch as it is handed over; notes which of its columns lost digits.
pub(super) fn convert(
    batch: &RecordBatch,
    schema: &Arc<Schema>,
    digits_lost: &mut [bool],
) -> Result<RecordBatch, ArrowError> {
    spans::check(batch)?;
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (place, (array, field)) in batch.columns().iter().zip(schema.fields()).enumerate() {
        if array.data_type() == field.data_type() {
            arrays.push(nulls::pushed_down(array)?);
            continue;
        }
        // What does not fit is an error: a null in its place would be a loss that nobody hears of.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let converted = cast_with_options(array, field.data_type(), &options)?;
        if types::may_lose_digits(array.data_type()) && !digits_lost[place] {
            digits_lost[place] = cast(&converted, array.data_type())?.to_data() != array.to_data();
        }
        arrays.push(nulls::pushed_down(&converted)?);
    }
    RecordBatch::try_new(Arc::clone(schema), arrays)
}
