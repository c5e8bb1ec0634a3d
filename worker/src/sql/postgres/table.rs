//! The rows of the result as an Arrow table in a file, in batches, so that memory stays bounded.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use bucket::table::PAGE;
use protocol::frame::{DRAFT_NAME, ErrorFrame, Output, OutputPlace};
use protocol::{ErrorKind, ValueKind};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Column, Row};

use super::takers::{Take, Widest};
use super::{numeric, rows};
use crate::sql::{failure, too_large, unwritten};

/// Name of the file for the table.
const NAME: &str = "value.arrow";
/// Digits that a decimal number of a table holds.
const DIGITS_MAX: usize = 38;

/// Writes the rows of one result.
pub(super) struct TableWriter {
    folder: PathBuf,
    schema: Arc<Schema>,
    columns: Vec<Box<dyn Take>>,
    writer: StreamWriter<BufWriter<File>>,
    batch_rows: usize,
    batch_bytes: u64,
    rows: u64,
    bytes: u64,
    bytes_max: u64,
}

impl TableWriter {
    /// Begins a table with these columns in `folder`.
    pub(super) fn new(columns: &[Column], folder: &Path, bytes_max: u64) -> Result<Self, ErrorFrame> {
        let mut fields: Vec<Field> = Vec::with_capacity(columns.len());
        let mut takers = Vec::with_capacity(columns.len());
        for column in columns {
            if fields.iter().any(|field| field.name() == column.name()) {
                let message =
                    format!("two columns of the result are called `{}`; name them apart with AS", column.name());
                return Err(failure(ErrorKind::Sql, message));
            }
            let (field, taker) =
                rows::column(column.name(), column.type_(), column.type_modifier()).ok_or_else(|| no_form(column))?;
            fields.push(field);
            takers.push(taker);
        }
        let schema = Arc::new(Schema::new(fields));
        let writer = create(&folder.join(DRAFT_NAME), &schema).map_err(unwritten)?;
        Ok(Self {
            folder: folder.to_owned(),
            schema,
            columns: takers,
            writer,
            batch_rows: 0,
            batch_bytes: 0,
            rows: 0,
            bytes: 0,
            bytes_max,
        })
    }

    /// Takes the next row.
    pub(super) fn push(&mut self, row: &Row) -> Result<(), ErrorFrame> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let raw: Option<Raw<'_>> = row.try_get(place).map_err(unwritten)?;
            column.take(raw.map(|raw| raw.0)).map_err(|reason| {
                let name = self.schema.field(place).name();
                failure(ErrorKind::Value, format!("column `{name}` of the result {reason}, in [{}]", self.rows))
            })?;
        }
        let bytes = row.raw_size_bytes() as u64;
        self.rows += 1;
        self.batch_rows += 1;
        self.batch_bytes += bytes;
        self.bytes += bytes;
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        if self.batch_rows >= PAGE.rows || self.batch_bytes >= PAGE.bytes {
            self.write_batch().map_err(unwritten)?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), ArrowError> {
        let arrays = self.columns.iter_mut().map(|column| column.finish()).collect();
        let batch = batch(&self.schema, arrays, self.batch_rows)?;
        (self.batch_rows, self.batch_bytes) = (0, 0);
        self.writer.write(&batch)
    }

    /// Ends the table.
    pub(super) fn finish(mut self) -> Result<Output, ErrorFrame> {
        if self.batch_rows > 0 || self.rows == 0 {
            self.write_batch().map_err(unwritten)?;
        }
        close(self.writer).map_err(unwritten)?;
        let widths: Vec<Option<Widest>> = self.columns.iter().map(|column| column.widest()).collect();
        let (draft, place) = (self.folder.join(DRAFT_NAME), self.folder.join(NAME));
        match widths.iter().any(Option::is_some) {
            true => give_width(&draft, &place, &widths).map_err(unwritten)?,
            false => std::fs::rename(&draft, &place).map_err(unwritten)?,
        }
        Ok(Output { kind: ValueKind::Table, length: Some(self.rows), place: OutputPlace::ArrowFile(NAME.to_owned()) })
    }
}

/// A value as it came.
struct Raw<'row>(&'row [u8]);

impl<'row> FromSql<'row> for Raw<'row> {
    fn from_sql(_: &Type, raw: &'row [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn no_form(column: &Column) -> ErrorFrame {
    let (name, of) = (column.name(), column.type_().name());
    let message = format!("column `{name}` of the result has the type {of}, which a table has no form for");
    failure(ErrorKind::Value, format!("{message}; cast it, as in {name}::text, or use to_jsonb"))
}

fn create(path: &Path, schema: &Schema) -> Result<StreamWriter<BufWriter<File>>, ArrowError> {
    StreamWriter::try_new(BufWriter::new(File::create(path)?), schema)
}

fn close(mut writer: StreamWriter<BufWriter<File>>) -> Result<(), ArrowError> {
    writer.finish()?;
    Ok(writer.into_inner()?.flush()?)
}

fn batch(schema: &Arc<Schema>, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    // Without columns the number of rows has to be said.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
}

/// Writes the table anew, with numbers that are decimal where 38 digits hold all of a column.
fn give_width(draft: &Path, place: &Path, widths: &[Option<Widest>]) -> Result<(), ArrowError> {
    let stream = bucket::table::read_stream(BufReader::new(File::open(draft)?));
    let stream = stream.map_err(|error| ArrowError::IpcError(error.to_string()))?;
    let schema = stream.schema();
    let scales: Vec<Option<usize>> =
        schema.fields().iter().zip(widths).map(|(field, width)| scale(field.name(), (*width)?)).collect();
    let wider = |(field, scale): (&Arc<Field>, &Option<usize>)| match scale {
        Some(scale) => field.as_ref().clone().with_data_type(decimal(*scale)),
        None => field.as_ref().clone(),
    };
    let wider = Arc::new(Schema::new(schema.fields().iter().zip(&scales).map(wider).collect::<Vec<Field>>()));
    let mut writer = create(place, &wider)?;
    for old in stream {
        let old = old?;
        let arrays = old.columns().iter().zip(&scales).map(|(array, scale)| match scale {
            Some(scale) => decimals(array, *scale),
            None => Arc::clone(array),
        });
        writer.write(&batch(&wider, arrays.collect(), old.num_rows())?)?;
    }
    close(writer)?;
    Ok(std::fs::remove_file(draft)?)
}

fn decimal(scale: usize) -> DataType {
    DataType::Decimal128(DIGITS_MAX as u8, i8::try_from(scale).unwrap_or(i8::MAX))
}

/// The scale that holds a column; `None` where text has to.
fn scale(name: &str, width: Widest) -> Option<usize> {
    if width.whole_digits + width.fraction_digits <= DIGITS_MAX && !width.special {
        return Some(width.fraction_digits);
    }
    let reason = if width.special { "NaN or an infinity" } else { "numbers of more than 38 digits" };
    eprintln!("warning: column `{name}` has {reason} and became text; cast it, as in {name}::float8");
    None
}

fn decimals(array: &ArrayRef, scale: usize) -> ArrayRef {
    let mut builder = PrimitiveBuilder::<Decimal128Type>::new().with_data_type(decimal(scale));
    for text in array.as_string::<i32>() {
        // All of them fit: the scale was made for them.
        builder.append_option(text.and_then(|text| numeric::unscaled(text, scale)));
    }
    Arc::new(builder.finish())
}
