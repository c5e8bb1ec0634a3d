//! Arrow IPC streams: the form in which tables travel.
//!
//! Streams come out of processes that run users' code, so [`scan_stream`] looks at the framing before anything trusts
//! the sizes written in it.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Message, MessageHeader, root_as_message};
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
    walk(Framing::default(), stream, bytes)
}

/// The same for a stream of which it is known that it holds together: its batches may be compressed.
///
/// # Errors
/// [`TableError::Malformed`] where it does not hold together.
pub fn scan_trusted(stream: impl Read + Seek, bytes: u64) -> Result<Scan, TableError> {
    walk(Framing { may_be_compressed: true, ..Framing::default() }, stream, bytes)
}

fn walk(mut framing: Framing, stream: impl Read + Seek, bytes: u64) -> Result<Scan, TableError> {
    framing.advance(stream, bytes)?;
    framing.finish(bytes)
}

/// The messages of a stream, as far as it has been gone through. It may grow meanwhile.
#[derive(Debug, Default)]
pub struct Framing {
    /// Where the next message begins.
    position: u64,
    messages: u64,
    rows: u64,
    is_over: bool,
    may_be_compressed: bool,
}

impl Framing {
    /// Goes through the messages that lie within the first `bytes` bytes as a whole; answers with where the last one of them ends.
    ///
    /// # Errors
    /// [`TableError::Malformed`] where they do not hold together.
    pub fn advance(&mut self, mut stream: impl Read + Seek, bytes: u64) -> Result<u64, TableError> {
        loop {
            let before = self.position;
            if self.step(&mut stream, bytes)? == before {
                return Ok(before);
            }
        }
    }

    /// The same for the next message alone.
    ///
    /// # Errors
    /// As those of `advance`.
    pub fn step(&mut self, mut stream: impl Read + Seek, bytes: u64) -> Result<u64, TableError> {
        if self.is_over || self.position >= bytes {
            return Ok(self.position);
        }
        stream.seek(SeekFrom::Start(self.position)).map_err(|error| malformed(error.to_string()))?;
        let Some(next) = next_message(&mut stream, bytes - self.position)? else { return Ok(self.position) };
        let Next { metadata, bytes: head } = next;
        if metadata.is_empty() {
            (self.position, self.is_over) = (self.position + head, true);
            return Ok(self.position);
        }
        let message = root_as_message(&metadata).map_err(|error| malformed(error.to_string()))?;
        let rows = self.rows_of(&message)?;
        let body = u64::try_from(message.bodyLength()).map_err(|_| malformed("a message has a negative size"))?;
        let end = self.position.checked_add(head).and_then(|start| start.checked_add(body));
        let Some(end) = end.filter(|end| *end <= bytes) else { return Ok(self.position) };
        self.rows = self.rows.saturating_add(rows);
        if self.rows > ROWS_MAX {
            return Err(malformed(format!("it claims more than {ROWS_MAX} rows")));
        }
        self.messages += 1;
        self.position = end;
        Ok(self.position)
    }

    /// What the look says of a stream that has `bytes` bytes and was gone through as far as that.
    ///
    /// # Errors
    /// [`TableError::Malformed`] where it is not whole.
    pub fn finish(self, bytes: u64) -> Result<Scan, TableError> {
        if !self.is_over && self.position != bytes {
            return Err(malformed("it is cut off"));
        }
        if self.messages == 0 {
            return Err(malformed("it has no schema"));
        }
        Ok(Scan { rows: self.rows })
    }

    /// The rows that a message brings, where it may stand here.
    fn rows_of(&self, message: &Message<'_>) -> Result<u64, TableError> {
        // The sizes that compressed batches claim are only known to be wrong when they are made room for.
        let check = |is_compressed: bool| match is_compressed && !self.may_be_compressed {
            true => Err(malformed("it is compressed; write it uncompressed")),
            false => Ok(()),
        };
        match message.header_type() {
            MessageHeader::Schema if self.messages == 0 => Ok(0),
            MessageHeader::DictionaryBatch if self.messages > 0 => {
                let data = message.header_as_dictionary_batch().and_then(|batch| batch.data());
                check(data.is_some_and(|data| data.compression().is_some()))?;
                Ok(0)
            }
            MessageHeader::RecordBatch if self.messages > 0 => {
                let batch = message.header_as_record_batch().ok_or_else(|| malformed("a batch has no header"))?;
                check(batch.compression().is_some())?;
                u64::try_from(batch.length()).map_err(|_| malformed("a batch has negative rows"))
            }
            _ => Err(malformed("its messages are not a schema and then batches")),
        }
    }
}

/// The description of a message, empty at the end of the stream, and what it takes with what comes before it.
struct Next {
    metadata: Vec<u8>,
    bytes: u64,
}

/// The next message, if its description lies within the next `left` bytes.
fn next_message(stream: &mut impl Read, left: u64) -> Result<Option<Next>, TableError> {
    let mut head = [0; 8];
    if left < head.len() as u64 {
        return Ok(None);
    }
    stream.read_exact(&mut head).map_err(|_| malformed("it is cut off"))?;
    let [mark @ .., a, b, c, d] = head;
    if mark != CONTINUATION {
        return Err(malformed("a message does not begin as one"));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > METADATA_BYTES_MAX {
        return Err(malformed("it is cut off"));
    }
    let bytes = head.len() as u64 + length;
    if bytes > left {
        return Ok(None);
    }
    let mut metadata = vec![0; length as usize];
    stream.read_exact(&mut metadata).map_err(|_| malformed("it is cut off"))?;
    Ok(Some(Next { metadata, bytes }))
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
