//! An input becomes a temporary table, by COPY in the database's binary form.

use std::fs::File;
use std::io::BufReader;
use std::pin::pin;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bucket::table::{TableError, from_records, read_stream, row_to_record};
use bytes::{BufMut, Bytes};
use futures::SinkExt;
use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Input};
use tokio_postgres::Client;

use super::encode::{Cells, Encoder};
use super::fault;
use super::kind::{Kind, holds_json};
use crate::sql::cell::Record;
use crate::sql::failure;
use crate::sql::input::without_columns;

/// What is sent at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest name of a table or column; the database would cut it off.
const NAME_BYTES_MAX: usize = 63;
/// Whether an input had columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Table,
    /// An empty list: no rows, and nobody knows its columns.
    Unknown,
}

/// Makes a temporary table called `name` of an input.
pub(super) async fn load(client: &Client, name: &str, input: &Input) -> Result<Shape, ErrorFrame> {
    let batches = Batches::open(input).map_err(|error| refused(name, &error.to_string()))?;
    let schema = batches.schema();
    check_names(name, &schema)?;
    let kinds = kinds(name, &schema)?;
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .zip(&kinds)
        .map(|(field, kind)| format!("{} {}", quoted(field.name()), kind.sql()))
        .collect();
    let table = quoted(name);
    let create = format!("CREATE TEMPORARY TABLE {table} ({}) ON COMMIT DROP", columns.join(", "));
    client.batch_execute(&create).await.map_err(|error| fault::of_input(&error, name))?;
    if columns.is_empty() {
        let rows: Result<usize, ArrowError> = batches.map(|batch| Ok(batch?.num_rows())).sum();
        return match rows.map_err(|error| refused(name, &error.to_string()))? {
            0 => Ok(Shape::Unknown),
            rows => Err(without_columns(name, rows)),
        };
    }
    fill(client, name, &schema, &kinds, batches).await?;
    // Without it the database would plan for a table of which it knows nothing.
    client.batch_execute(&format!("ANALYZE {table}")).await.map_err(|error| fault::of_input(&error, name))?;
    Ok(Shape::Table)
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Refuses what PostgreSQL takes for no name.
fn check_names(table: &str, schema: &Schema) -> Result<(), ErrorFrame> {
    let names = std::iter::once(table).chain(schema.fields().iter().map(|field| field.name().as_str()));
    for name in names {
        let message = if name.is_empty() {
            "a column has the empty name, which PostgreSQL does not take; give it one".to_owned()
        } else if name.contains('\0') {
            format!("the name {name:?} has a NUL character, which PostgreSQL does not take")
        } else if name.len() > NAME_BYTES_MAX {
            format!("the name `{name}` is longer than PostgreSQL's {NAME_BYTES_MAX} bytes")
        } else {
            continue;
        };
        return Err(refused(table, &message));
    }
    Ok(())
}

fn kinds(table: &str, schema: &Schema) -> Result<Vec<Kind>, ErrorFrame> {
    let kind = |field: &Arc<Field>| {
        let kind = match field.data_type() {
            DataType::Dictionary(_, values) => Kind::of(&field.as_ref().clone().with_data_type((**values).clone())),
            _ => Kind::of(field),
        };
        let unknown = || {
            let what = format!("column `{}` has the Arrow type {}", field.name(), field.data_type());
            refused(table, &format!("{what}, which PostgreSQL has no type for; convert it to text or a number"))
        };
        kind.ok_or_else(unknown)
    };
    schema.fields().iter().map(kind).collect()
}

fn refused(table: &str, reason: &str) -> ErrorFrame {
    failure(ErrorKind::Input, format!("input `{table}` cannot be made a table: {reason}"))
}

/// The batches of an input, whatever form it came in.
enum Batches {
    One(Option<RecordBatch>, Arc<Schema>),
    Stream(Box<arrow_ipc::reader::StreamReader<BufReader<File>>>),
}

impl Batches {
    fn open(input: &Input) -> Result<Self, TableError> {
        let unreadable = |error: std::io::Error| TableError::Malformed(error.to_string());
        match input {
            Input::Json(json) => Self::of_records(json.get()),
            Input::JsonFile(path) => Self::of_records(&std::fs::read_to_string(path).map_err(unreadable)?),
            Input::ArrowFile(path) => {
                Ok(Self::Stream(Box::new(read_stream(BufReader::new(File::open(path).map_err(unreadable)?))?)))
            }
        }
    }

    fn of_records(json: &str) -> Result<Self, TableError> {
        let converted = from_records(json)?;
        converted.widened.iter().for_each(|widened| eprintln!("warning: {widened}"));
        let schema = converted.batch.schema();
        Ok(Self::One(Some(converted.batch), schema))
    }

    fn schema(&self) -> Arc<Schema> {
        match self {
            Self::One(_, schema) => Arc::clone(schema),
            Self::Stream(stream) => stream.schema(),
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::One(batch, _) => batch.take().map(Ok),
            Self::Stream(stream) => stream.next(),
        }
    }
}

async fn fill(
    client: &Client,
    table: &str,
    schema: &Schema,
    kinds: &[Kind],
    batches: Batches,
) -> Result<(), ErrorFrame> {
    let of_database = |error: tokio_postgres::Error| fault::of_input(&error, table);
    let copy = format!("COPY {} FROM STDIN (FORMAT binary)", quoted(table));
    let mut sink = pin!(client.copy_in::<_, Bytes>(&copy).await.map_err(of_database)?);
    let mut encoder = Encoder::new(kinds.len());
    let mut first_row = 0;
    for batch in batches {
        let batch = batch.map_err(|error| refused(table, &error.to_string()))?;
        let columns = columns(&batch, kinds).map_err(|error| refused(table, &error.to_string()))?;
        for row in 0..batch.num_rows() {
            encoder.row(&columns, row).map_err(|(column, reason)| {
                let name = schema.field(column).name();
                refused(table, &format!("column `{name}` {reason}, in [{}]", first_row + row))
            })?;
            if encoder.out.len() >= CHUNK_BYTES {
                sink.send(encoder.out.split().freeze()).await.map_err(of_database)?;
            }
        }
        first_row += batch.num_rows();
    }
    encoder.out.put_i16(-1);
    sink.send(encoder.out.freeze()).await.map_err(of_database)?;
    sink.as_mut().finish().await.map_err(of_database)?;
    for (field, _) in schema.fields().iter().zip(&encoder.digits_lost).filter(|(_, lost)| **lost) {
        eprintln!(
            "warning: column `{}` of input `{table}` has nanoseconds; PostgreSQL keeps microseconds",
            field.name()
        );
    }
    Ok(())
}

fn columns(batch: &RecordBatch, kinds: &[Kind]) -> Result<Vec<Cells>, TableError> {
    let column = |(place, kind): (usize, &Kind)| {
        let array = batch.column(place);
        match (kind, array.as_any_dictionary_opt()) {
            (Kind::Json, _) => json(batch, place).map(Cells::Json),
            (_, Some(dictionary)) => {
                Ok(Cells::Array(arrow_select::take::take(dictionary.values(), dictionary.keys(), None)?))
            }
            (_, None) => Ok(Cells::Array(Arc::clone(array))),
        }
    };
    kinds.iter().enumerate().map(column).collect()
}

/// The values of a nested column.
fn json(batch: &RecordBatch, place: usize) -> Result<Vec<Option<String>>, TableError> {
    let array = batch.column(place);
    let column = batch.project(&[place])?;
    let value = |row| {
        if array.is_null(row) {
            return Ok(None);
        }
        if let (true, Some(texts)) = (holds_json(column.schema_ref().field(0)), array.as_string_opt::<i32>()) {
            return Ok(Some(texts.value(row).to_owned()));
        }
        let record = row_to_record(&column, row)?;
        let Record(entries) = serde_json::from_slice(&record)?;
        Ok(entries.first().map(|(_, value)| value.get().to_owned()))
    };
    (0..column.num_rows()).map(value).collect()
}
