//! The form in which a table lies in the bucket: an Arrow stream of small compressed batches, each of them a page.
//!
//! Processes hand tables over uncompressed and get them so, because plain Python has no zstd; what happens on the way is
//! done here, batch by batch, so that memory stays bounded; the batches of a large one by several threads.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema};
use bytes::Bytes;
use protocol::ValueKind;
use tempfile::{SpooledData, SpooledTempFile};

use super::ValueError;
use super::at_hand::make_way;
use super::encode::{Encoder, Fault, Paged, encode_all, helpers_max};
use super::pages::{Page, Pages};
use super::shape::Shape;
use super::store::Effort;
use crate::table::{self, Scan, TableError};

/// Tables below this size are encoded before threads have begun.
const PARALLEL_BYTES_MIN: u64 = 2 << 20;
/// Stored tables up to this size are not written to a disk on their way.
const IN_MEMORY_BYTES_MAX: usize = 4 << 20;

/// Bytes of a message that are read at once with its head; the rest of a larger one goes straight to its place.
const HEAD_BYTES: usize = 32 << 10;

/// A table as it is stored.
#[derive(Debug)]
pub(super) struct Compact {
    pub(super) content: Content,
    pub(super) shape: Shape,
    /// `None` where all is one page, or no page can be read by itself.
    pub(super) pages: Option<Pages>,
}

/// What goes to the bucket.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    /// To be read from its current place.
    File(File),
}

/// Reads a whole stream of `bytes` bytes that a process wrote, so that nobody after this meets one that cannot be read, and
/// makes of it what is stored; a large one lies in a file without a name in `folder`.
pub(super) fn compact(
    mut stream: impl Read + Seek,
    bytes: u64,
    folder: &Path,
    effort: Effort,
) -> Result<Compact, ValueError> {
    let scan = table::scan_stream(&mut stream, bytes)?;
    stream.rewind().map_err(|error| TableError::Malformed(error.to_string()))?;
    match encode(&mut stream, folder, helpers(bytes, effort)) {
        Ok(encoded) => Ok(encoded.holding(scan)),
        Err(Fault::Read(error)) => Err(table::at_column(error, stream).into()),
        Err(fault) => Err(fault_of(fault, folder)),
    }
}

/// How many threads help to encode a table of `bytes` bytes.
pub(super) fn helpers(bytes: u64, effort: Effort) -> usize {
    if bytes >= PARALLEL_BYTES_MIN && effort == Effort::Full { helpers_max() } else { 0 }
}

/// What of a table is stored, before it is known whether its stream was whole.
pub(super) struct Encoded {
    content: Content,
    head: Vec<u8>,
    pages: Vec<Page>,
    is_divisible: bool,
}

impl Encoded {
    pub(super) fn holding(self, scan: Scan) -> Compact {
        let Self { content, head, pages, is_divisible } = self;
        let shape = Shape { kind: ValueKind::Table, length: Some(scan.rows) };
        let is_paged = is_divisible && pages.len() > 1;
        Compact { content, shape, pages: is_paged.then_some(Pages { length: scan.rows, head, pages }) }
    }
}

/// Reads a stream to its end and encodes it, by this thread or by `helpers` of them.
pub(super) fn encode(stream: impl Read, folder: &Path, helpers: usize) -> Result<Encoded, Fault> {
    let reader = table::read_stream(BufReader::with_capacity(HEAD_BYTES, stream)).map_err(Fault::Table)?;
    let schema = reader.schema();
    let mut encoder = Encoder::new(&schema).map_err(Fault::Encode)?;
    let is_divisible = is_divisible(&schema);
    let mut out = Paged::new(SpooledTempFile::new_in(IN_MEMORY_BYTES_MAX, folder), encoder.take());
    // What has dictionaries is written in its order by one.
    encode_all(reader, is_divisible, &mut encoder, if is_divisible { helpers } else { 0 }, &mut out)?;
    let end = encoder.finish().map_err(Fault::Encode)?;
    let (written, head, pages) = out.finish(&end).map_err(Fault::Write)?;
    let content = match written.into_inner() {
        SpooledData::InMemory(content) => Content::Memory(Bytes::from(content.into_inner())),
        SpooledData::OnDisk(mut file) => {
            file.rewind().map_err(Fault::Write)?;
            Content::File(file)
        }
    };
    Ok(Encoded { content, head, pages, is_divisible })
}

pub(super) fn fault_of(fault: Fault, folder: &Path) -> ValueError {
    match fault {
        Fault::Table(error) => error.into(),
        Fault::Read(error) => TableError::from(error).into(),
        Fault::Encode(error) => unwritten(error, folder),
        Fault::Write(error) => ValueError::io(folder, error),
    }
}

/// Writes a stored table into a file as processes get it: uncompressed.
pub(super) fn unfold(stored: File, target: &Path) -> Result<File, ValueError> {
    let in_target = |source| ValueError::io(target, source);
    let reader = table::read_stream(BufReader::with_capacity(1 << 20, stored))?;
    // What is there already may be somebody else's under another name.
    make_way(target).map_err(in_target)?;
    let file = File::options().read(true).write(true).create_new(true).open(target).map_err(in_target)?;
    let out = BufWriter::with_capacity(1 << 20, &file);
    let mut writer = StreamWriter::try_new(out, &reader.schema()).map_err(TableError::from)?;
    for batch in reader {
        writer.write(&batch.map_err(TableError::from)?).map_err(|error| unwritten(error, target))?;
    }
    writer.finish().map_err(|error| unwritten(error, target))?;
    writer.get_mut().flush().map_err(in_target)?;
    drop(writer);
    Ok(file)
}

/// A disk that takes no more is no fault of the table.
fn unwritten(error: ArrowError, place: &Path) -> ValueError {
    match error {
        ArrowError::IoError(_, source) => ValueError::io(place, source),
        error => TableError::from(error).into(),
    }
}

/// Whether batches can be cut, and read without the ones before: dictionaries stand before the batches that use them, and
/// views share the bytes of all rows.
fn is_divisible(schema: &Schema) -> bool {
    fn is_whole(data_type: &DataType) -> bool {
        match data_type {
            DataType::Dictionary(..) | DataType::Utf8View | DataType::BinaryView => false,
            DataType::ListView(_) | DataType::LargeListView(_) | DataType::RunEndEncoded(..) | DataType::Union(..) => {
                false
            }
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::FixedSizeList(field, _)
            | DataType::Map(field, _) => is_whole(field.data_type()),
            DataType::Struct(fields) => fields.iter().all(|field| is_whole(field.data_type())),
            _ => true,
        }
    }
    schema.fields().iter().all(|field| is_whole(field.data_type()))
}
