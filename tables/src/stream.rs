//! Arrow IPC streams: the form in which tables travel.
//!
//! Streams come out of processes that run users' code, so [`scan_stream`] looks at the framing before anything trusts
//! the sizes written in it.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};

use super::error::TableError;
use super::to_records::check_names;

/// What begins every message of a stream.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Largest description of one message, in bytes; a schema of some ten thousand columns fits.
const METADATA_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most rows of one table. Rows without columns, or of nulls alone, take no bytes, so that a few of those can claim any number.
const ROWS_MAX: u64 = 1 << 32;

/// What a look at the framing of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Rows of all its batches.
    pub rows: u64,
}

/// Goes through the messages of a stream of `bytes` bytes without reading their content: it begins with a schema, every
/// message lies within the stream, and the batches have this many rows.
///
/// # Errors
/// [`TableError::Malformed`] where it does not hold together.
pub fn scan_stream(stream: impl Read + Seek, bytes: u64) -> Result<Scan, TableError> {
    walk(stream, bytes, false)
}

/// The same for a stream of which it is known that it holds together: its batches may be compressed.
///
/// # Errors
/// [`TableError::Malformed`] where it does not hold together.
pub fn scan_trusted(stream: impl Read + Seek, bytes: u64) -> Result<Scan, TableError> {
    walk(stream, bytes, true)
}

fn walk(mut stream: impl Read + Seek, bytes: u64, may_be_compressed: bool) -> Result<Scan, TableError> {
    let mut position = 0;
    let mut messages = 0;
    let mut rows = 0_u64;
    while let Some(metadata) = next_metadata(&mut stream, bytes, &mut position)? {
        let message = root_as_message(&metadata).map_err(|error| malformed(error.to_string()))?;
        match message.header_type() {
            MessageHeader::Schema if messages == 0 => {}
            MessageHeader::DictionaryBatch if messages > 0 => {
                let data = message.header_as_dictionary_batch().and_then(|batch| batch.data());
                if !may_be_compressed && data.is_some_and(|data| data.compression().is_some()) {
                    return Err(malformed("it is compressed; write it uncompressed"));
                }
            }
            MessageHeader::RecordBatch if messages > 0 => {
                let batch = message.header_as_record_batch().ok_or_else(|| malformed("a batch has no header"))?;
                // The sizes that compressed batches claim are only known to be wrong when they are made room for.
                if !may_be_compressed && batch.compression().is_some() {
                    return Err(malformed("it is compressed; write it uncompressed"));
                }
                let batch_rows = u64::try_from(batch.length()).map_err(|_| malformed("a batch has negative rows"))?;
                rows = rows.saturating_add(batch_rows);
                if rows > ROWS_MAX {
                    return Err(malformed(format!("it claims more than {ROWS_MAX} rows")));
                }
            }
            _ => return Err(malformed("its messages are not a schema and then batches")),
        }
        let body = u64::try_from(message.bodyLength()).map_err(|_| malformed("a message has a negative size"))?;
        position = position.checked_add(body).filter(|end| *end <= bytes).ok_or_else(|| malformed("it is cut off"))?;
        stream.seek(SeekFrom::Start(position)).map_err(|error| malformed(error.to_string()))?;
        messages += 1;
    }
    if messages == 0 {
        return Err(malformed("it has no schema"));
    }
    Ok(Scan { rows })
}

/// The description of the next message; `None` at the end of the stream.
fn next_metadata(stream: &mut impl Read, bytes: u64, position: &mut u64) -> Result<Option<Vec<u8>>, TableError> {
    if *position == bytes {
        return Ok(None);
    }
    let mut head = [0; 8];
    stream.read_exact(&mut head).map_err(|_| malformed("it is cut off"))?;
    let [mark @ .., a, b, c, d] = head;
    if mark != CONTINUATION {
        return Err(malformed("a message does not begin as one"));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    *position += head.len() as u64 + length;
    if length == 0 {
        return Ok(None);
    }
    if length > METADATA_BYTES_MAX || *position > bytes {
        return Err(malformed("it is cut off"));
    }
    let mut metadata = vec![0; length as usize];
    stream.read_exact(&mut metadata).map_err(|_| malformed("it is cut off"))?;
    Ok(Some(metadata))
}

fn malformed(reason: impl Into<String>) -> TableError {
    TableError::Malformed(reason.into())
}

/// Opens a stream that was scanned: its schema, and its batches one by one.
///
/// # Errors
/// [`TableError::Malformed`]; [`TableError::DuplicateColumn`].
pub fn read_stream<R: Read>(stream: R) -> Result<StreamReader<R>, TableError> {
    let reader = StreamReader::try_new(stream, None)?;
    check_names(&reader.schema())?;
    Ok(reader)
}

/// The error of a stream whose batches cannot be read for this reason; names the first column that cannot.
pub fn at_column(reason: ArrowError, mut stream: impl Read + Seek) -> TableError {
    let mut names = Vec::new();
    if stream.rewind().is_ok()
        && let Ok(reader) = StreamReader::try_new(BufReader::new(&mut stream), None)
    {
        names.extend(reader.schema().fields().iter().map(|field| field.name().clone()));
    }
    let mut fault = |place| {
        stream.rewind().ok()?;
        let mut reader = StreamReader::try_new(BufReader::new(&mut stream), Some(vec![place])).ok()?;
        reader.find_map(Result::err)
    };
    let found = names.iter().enumerate().find_map(|(place, name)| Some((name, fault(place)?)));
    match found {
        Some((column, reason)) => TableError::Column { column: column.clone(), reason: reason.to_string() },
        None => reason.into(),
    }
}

/// Writes a table as one stream.
///
/// # Errors
/// Those of `out`.
pub fn write_stream<'a>(
    out: impl Write,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = &'a RecordBatch>,
) -> Result<(), TableError> {
    let schema: &Schema = schema;
    let mut writer = StreamWriter::try_new(out, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.finish()?)
}
