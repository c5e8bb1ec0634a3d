//! The rows of the last statement as an Arrow table in a file, batch by batch.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use duckdb::Connection;
use duckdb::core::LogicalTypeId;
use duckdb_arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use duckdb_arrow::compute::{cast, concat_batches, max, min};
use duckdb_arrow::datatypes::{DataType, Decimal128Type, Field, Schema};
use duckdb_arrow::error::ArrowError;
use duckdb_arrow::ipc::reader::StreamReader;
use duckdb_arrow::ipc::writer::StreamWriter;
use protocol::frame::{DRAFT_NAME, ErrorFrame, Output, OutputPlace, StartFrame};
use protocol::{ErrorKind, ValueKind};

use super::types::JSON_EXTENSION;
use super::{Statement, failure, fault, forms};

/// Name of the file for the table.
const NAME: &str = "value.arrow";
/// Rows after which a batch is written, as many as a page of a stored table has; the database gives 2,048 at once.
const BATCH_ROWS: usize = 16 * 1024;
/// Bytes that one has at most, where a row has no more: it is held three times while it is written, and by whoever reads the table.
const BATCH_BYTES: u64 = 1 << 20;
/// Batches of the database's that are written by the thread that gets them: most results have no more.
const BATCHES_OF_ONE_THREAD: usize = 8;
/// Batches that wait to be written.
const BATCHES_WAITING: usize = 8;
/// What the database calls the number of changed rows.
const COUNT_NAME: &str = "Count";

/// Runs a statement and writes what it returns.
pub(super) fn write(
    connection: &Connection,
    sql: &Statement<'_>,
    frame: &StartFrame,
    changes_rows: bool,
) -> Result<Output, ErrorFrame> {
    let of_database = |error: duckdb::Error| fault::of_statement(&error, sql);
    let mut statement = connection.prepare(sql.text).map_err(of_database)?;
    drop(statement.stream_arrow([]).map_err(of_database)?);
    let columns = columns(&statement)?;
    let is_count = changes_rows && matches!(&columns[..], [only] if only.field.name() == COUNT_NAME);
    let columns = if is_count { Vec::new() } else { columns };
    let table = Table::create(columns, &frame.values, frame.value_bytes_max)?;
    let table = collect(table, || {
        loop {
            match statement.step().map_err(of_database)? {
                Some(_) if is_count => {}
                rows => return Ok(rows.map(|rows| RecordBatch::from(&rows))),
            }
        }
    })?;
    table.finish(&frame.values)
}

/// Pushes all batches into the table: after the first ones by a thread of its own, while the database makes the next.
fn collect(
    mut table: Table,
    mut next: impl FnMut() -> Result<Option<RecordBatch>, ErrorFrame>,
) -> Result<Table, ErrorFrame> {
    for _ in 0..BATCHES_OF_ONE_THREAD {
        let Some(batch) = next()? else { return Ok(table) };
        table.push(&batch)?;
    }
    let table = Mutex::new(table);
    let push = |batch: &RecordBatch| table.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
    thread::scope(|scope| {
        let (batches, given) = sync_channel::<RecordBatch>(BATCHES_WAITING);
        let write = move || given.into_iter().try_for_each(|batch| push(&batch));
        let Ok(writer) = thread::Builder::new().name("writer".to_owned()).spawn_scoped(scope, write) else {
            // The step has as many threads as it may.
            return std::iter::from_fn(|| next().transpose()).try_for_each(|batch| push(&batch?));
        };
        let made = std::iter::from_fn(|| next().transpose()).try_for_each(|batch| match batch {
            Ok(batch) => batches.send(batch).map_err(|_| None),
            Err(error) => Err(Some(error)),
        });
        drop(batches);
        // Where it takes no more, it says why.
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(made.or_else(|error| error.map_or(Ok(()), Err)))
    })?;
    Ok(table.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Writes what no statement returns.
pub(super) fn write_empty(frame: &StartFrame) -> Result<Output, ErrorFrame> {
    Table::create(Vec::new(), &frame.values, frame.value_bytes_max)?.finish(&frame.values)
}

/// A column of the result.
struct Column {
    field: Field,
    /// Whole numbers of 128 bits, which are the sums of smaller ones.
    is_huge: bool,
}

fn columns(statement: &duckdb::Statement<'_>) -> Result<Vec<Column>, ErrorFrame> {
    let mut columns: Vec<Column> = Vec::new();
    for (place, field) in statement.schema().fields().iter().enumerate() {
        if columns.iter().any(|column| column.field.name() == field.name()) {
            let message = format!("two columns of the result are called `{}`; name them apart with AS", field.name());
            return Err(failure(ErrorKind::Sql, message));
        }
        let logical = statement.column_logical_type(place);
        if let Some(word) = forms::without_form(&logical, field.data_type()) {
            let what = format!("column `{}` of the result has the type {word}", field.name());
            let message = format!("{what}, which a table has no form for; cast it, as in {}::text", field.name());
            return Err(failure(ErrorKind::Value, message));
        }
        let mut field = Field::new(field.name(), flat(field.data_type()), true);
        if logical.get_alias().is_some_and(|alias| alias == "JSON") {
            let mark = ("ARROW:extension:name".to_owned(), JSON_EXTENSION.to_owned());
            field = field.with_metadata(HashMap::from([mark]));
        }
        columns.push(Column { field, is_huge: logical.try_id() == Ok(LogicalTypeId::Hugeint) });
    }
    Ok(columns)
}

/// Enumerations are texts with a dictionary; a table has the texts.
fn flat(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => (**values).clone(),
        other => other.clone(),
    }
}

/// The table as it is written.
struct Table {
    schema: Arc<Schema>,
    huge: Vec<Huge>,
    writer: StreamWriter<BufWriter<File>>,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: u64,
    rows: u64,
    bytes: u64,
    bytes_max: u64,
}

/// What is known of the whole numbers of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Huge {
    /// There are none of 128 bits.
    No,
    /// All fit in 64 bits so far.
    Narrow,
    Wide,
}

impl Table {
    fn create(columns: Vec<Column>, folder: &Path, bytes_max: u64) -> Result<Self, ErrorFrame> {
        let huge = columns.iter().map(|column| if column.is_huge { Huge::Narrow } else { Huge::No }).collect();
        let schema = Arc::new(Schema::new(columns.into_iter().map(|column| column.field).collect::<Vec<Field>>()));
        let writer = create(&folder.join(DRAFT_NAME), &schema).map_err(unwritten)?;
        Ok(Self {
            schema,
            huge,
            writer,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            rows: 0,
            bytes: 0,
            bytes_max,
        })
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<(), ErrorFrame> {
        let arrays: Result<Vec<ArrayRef>, ArrowError> =
            batch.columns().iter().zip(self.schema.fields()).map(|(array, field)| as_is(array, field)).collect();
        let arrays = arrays.map_err(unwritten)?;
        if let Some(place) = arrays.iter().position(forms::has_infinite_date) {
            return Err(infinite_date(self.schema.field(place).name()));
        }
        let too_long = |(array, field): (&ArrayRef, &Arc<Field>)| Some(too_long(field, forms::too_long_number(array)?));
        if let Some(error) = arrays.iter().zip(self.schema.fields()).find_map(too_long) {
            return Err(error);
        }
        let batch = with_rows(&self.schema, arrays, batch.num_rows()).map_err(unwritten)?;
        for (array, huge) in batch.columns().iter().zip(&mut self.huge).filter(|(_, huge)| **huge == Huge::Narrow) {
            if !is_narrow(array) {
                *huge = Huge::Wide;
            }
        }
        self.rows += batch.num_rows() as u64;
        let bytes = batch.columns().iter().map(|array| array.get_slice_memory()).sum::<u64>();
        self.bytes += bytes;
        if self.bytes > self.bytes_max {
            let message = format!("the result is over the limit of {} bytes", self.bytes_max);
            let way_out = "select less, or let the worker take more: BUE_WORKER_VALUE_BYTES_MAX";
            return Err(failure(ErrorKind::Value, format!("{message}; {way_out}")));
        }
        let is_full = self.waiting_rows + batch.num_rows() > BATCH_ROWS || self.waiting_bytes + bytes > BATCH_BYTES;
        if is_full && self.waiting_rows > 0 {
            self.write_waiting().map_err(unwritten)?;
        }
        self.waiting_rows += batch.num_rows();
        self.waiting_bytes += bytes;
        self.waiting.push(batch);
        Ok(())
    }

    fn write_waiting(&mut self) -> Result<(), ArrowError> {
        let batch = match self.schema.fields().is_empty() {
            true => with_rows(&self.schema, Vec::new(), self.waiting_rows)?,
            false => concat_batches(&self.schema, &self.waiting)?,
        };
        self.waiting.clear();
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        self.writer.write(&batch)
    }

    fn finish(mut self, folder: &Path) -> Result<Output, ErrorFrame> {
        self.write_waiting().map_err(unwritten)?;
        close(self.writer).map_err(unwritten)?;
        for (field, _) in self.schema.fields().iter().zip(&self.huge).filter(|(_, huge)| **huge == Huge::Wide) {
            eprintln!("warning: column `{}` has whole numbers beyond 64 bit and became decimal", field.name());
        }
        let (draft, place) = (folder.join(DRAFT_NAME), folder.join(NAME));
        if self.huge.contains(&Huge::Narrow) {
            narrow(&draft, &place, &self.huge).map_err(unwritten)?;
        } else {
            std::fs::rename(draft, place).map_err(unwritten)?;
        }
        Ok(Output { kind: ValueKind::Table, length: Some(self.rows), place: OutputPlace::ArrowFile(NAME.to_owned()) })
    }
}

/// The memory of the rows that an array stands for, not of all that it shares.
trait SliceMemory {
    fn get_slice_memory(&self) -> u64;
}

impl SliceMemory for ArrayRef {
    fn get_slice_memory(&self) -> u64 {
        self.to_data().get_slice_memory_size().unwrap_or_else(|_| self.get_array_memory_size()) as u64
    }
}

fn infinite_date(column: &str) -> ErrorFrame {
    let message = format!("column `{column}` of the result holds an infinite date, which a table has no form for");
    failure(ErrorKind::Value, format!("{message}; cast it, as in {column}::text"))
}

fn too_long(field: &Field, number: i128) -> ErrorFrame {
    let column = field.name();
    let what = format!("column `{column}` of the result holds {number}, a whole number of more than 38 digits");
    let other = if field.data_type().is_nested() { String::new() } else { format!(" or {column}::double") };
    failure(ErrorKind::Value, format!("{what}, which a table has no form for; cast it, as in {column}::text{other}"))
}

fn unwritten(error: impl std::fmt::Display) -> ErrorFrame {
    let reason = error.to_string();
    match reason.contains(fault::NO_SPACE) {
        true => failure(ErrorKind::Away, "the worker's disk is full".to_owned()),
        false => failure(ErrorKind::Value, format!("failed to write the result: {reason}")),
    }
}

fn as_is(array: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == field.data_type() { Ok(Arc::clone(array)) } else { cast(array, field.data_type()) }
}

fn with_rows(schema: &Arc<Schema>, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
}

fn is_narrow(array: &ArrayRef) -> bool {
    let Some(numbers) = array.as_primitive_opt::<Decimal128Type>() else { return false };
    let fits = |number: Option<i128>| number.is_none_or(|number| i64::try_from(number).is_ok());
    fits(min(numbers)) && fits(max(numbers))
}

fn create(path: &Path, schema: &Schema) -> Result<StreamWriter<BufWriter<File>>, ArrowError> {
    StreamWriter::try_new(BufWriter::new(File::create(path)?), schema)
}

fn close(mut writer: StreamWriter<BufWriter<File>>) -> Result<(), ArrowError> {
    writer.finish()?;
    Ok(writer.into_inner()?.flush()?)
}

/// Writes the table anew with 64 bits for the numbers that they hold.
fn narrow(draft: &Path, place: &Path, huge: &[Huge]) -> Result<(), ArrowError> {
    let stream = StreamReader::try_new(BufReader::new(File::open(draft)?), None)?;
    let field = |(field, huge): (&Arc<Field>, &Huge)| match huge {
        Huge::Narrow => field.as_ref().clone().with_data_type(DataType::Int64),
        Huge::No | Huge::Wide => field.as_ref().clone(),
    };
    let schema = stream.schema();
    let schema = Arc::new(Schema::new(schema.fields().iter().zip(huge).map(field).collect::<Vec<Field>>()));
    let mut writer = create(place, &schema)?;
    for batch in stream {
        let batch = batch?;
        let arrays = batch.columns().iter().zip(schema.fields()).map(|(array, field)| as_is(array, field));
        writer.write(&with_rows(&schema, arrays.collect::<Result<_, _>>()?, batch.num_rows())?)?;
    }
    close(writer)?;
    Ok(std::fs::remove_file(draft)?)
}

#[cfg(test)]
mod tests {
    use duckdb_arrow::array::StringArray;

    use super::*;

    /// Sizes of the batches of a table to which the database gives so many rows at once, each with so long a text.
    fn batches(given: &[usize], text_bytes: usize) -> Vec<usize> {
        let folder = tempfile::tempdir().unwrap();
        let column = Column { field: Field::new("s", DataType::Utf8, true), is_huge: false };
        let mut table = Table::create(vec![column], folder.path(), u64::MAX).unwrap();
        let text = "x".repeat(text_bytes);
        for rows in given {
            let texts: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); *rows]));
            table.push(&RecordBatch::try_from_iter([("s", texts)]).unwrap()).unwrap();
        }
        table.finish(folder.path()).unwrap();
        let file = File::open(folder.path().join(NAME)).unwrap();
        StreamReader::try_new(file, None).unwrap().map(|batch| batch.unwrap().num_rows()).collect()
    }

    #[test]
    fn all_batches_are_written_and_whatever_fails_first_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let field = Field::new("s", DataType::Utf8, true);
        let table = |bytes_max| {
            let column = Column { field: field.clone(), is_huge: false };
            Table::create(vec![column], folder.path(), bytes_max).unwrap()
        };
        let batch = || {
            let texts: ArrayRef = Arc::new(StringArray::from(vec!["text"; 2_048]));
            RecordBatch::try_from_iter([("s", texts)]).unwrap()
        };
        let next = |count: usize, end: fn() -> Result<Option<RecordBatch>, ErrorFrame>| {
            let mut made = 0;
            move || {
                made += 1;
                if made > count { end() } else { Ok(Some(batch())) }
            }
        };
        for count in [0, 1, BATCHES_OF_ONE_THREAD, 100] {
            let table = collect(table(u64::MAX), next(count, || Ok(None))).unwrap();
            assert_eq!(table.rows, 2_048 * count as u64);
        }
        for count in [3, 100] {
            let broken = || Err(failure(ErrorKind::Sql, "broken".to_owned()));
            let error = collect(table(u64::MAX), next(count, broken)).err().unwrap();
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Sql, "broken"));
            let error = collect(table(2_048 * 2), next(usize::MAX, || Ok(None))).err().unwrap();
            assert!(error.message.starts_with("the result is over the limit"), "{}", error.message);
            let error = collect(table(2_048 * 8 * 20), next(usize::MAX, || Ok(None))).err().unwrap();
            assert!(error.message.starts_with("the result is over the limit"), "{}", error.message);
        }
    }

    #[test]
    fn batches_are_no_larger_than_pages_where_rows_are_not() {
        assert_eq!(batches(&[2_048; 20], 4), [16_384, 16_384, 8_192]);
        assert_eq!(batches(&[2_048; 3], 300), [2_048; 3], "two of them are over 1 MiB");
        assert_eq!(batches(&[1, 1, 3], 2 << 20), [1, 1, 3]);
        assert_eq!(batches(&[], 1), [0]);
    }
}
