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
use super::encode::{Encoder, Fault, Paged, encode_all, helpers_max};
use super::pages::Pages;
use super::shape::Shape;
use super::store::Effort;
use crate::table::{self, TableError};

/// Tables below this size are encoded before threads have begun.
const PARALLEL_BYTES_MIN: u64 = 2 << 20;
/// Stored tables up to this size are not written to a disk on their way.
const IN_MEMORY_BYTES_MAX: usize = 4 << 20;

/// A table as it is stored.
pub(super) struct Compact {
    pub(super) content: Content,
    pub(super) shape: Shape,
    /// `None` where all is one page, or no page can be read by itself.
    pub(super) pages: Option<Pages>,
}

/// What goes to the bucket.
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
    let reader = table::read_stream(BufReader::with_capacity(1 << 20, &mut stream))?;
    let schema = reader.schema();
    let in_folder = |source| ValueError::io(folder, source);
    let mut encoder = Encoder::new(&schema).map_err(TableError::from)?;
    let is_divisible = is_divisible(&schema);
    let mut out = Paged::new(SpooledTempFile::new_in(IN_MEMORY_BYTES_MAX, folder), encoder.take());
    // What has dictionaries is written in its order by one.
    let is_shared = is_divisible && bytes >= PARALLEL_BYTES_MIN && effort == Effort::Full;
    let helpers = if is_shared { helpers_max() } else { 0 };
    let written = encode_all(reader, is_divisible, &mut encoder, helpers, &mut out);
    if let Err(fault) = written {
        return Err(match fault {
            Fault::Read(error) => table::at_column(error, stream).into(),
            Fault::Encode(error) => unwritten(error, folder),
            Fault::Write(error) => in_folder(error),
        });
    }
    let end = encoder.finish().map_err(TableError::from)?;
    let (written, head, pages) = out.finish(&end).map_err(in_folder)?;
    let content = match written.into_inner() {
        SpooledData::InMemory(content) => Content::Memory(Bytes::from(content.into_inner())),
        SpooledData::OnDisk(mut file) => {
            file.rewind().map_err(in_folder)?;
            Content::File(file)
        }
    };
    let shape = Shape { kind: ValueKind::Table, length: Some(scan.rows) };
    let is_paged = is_divisible && pages.len() > 1;
    Ok(Compact { content, shape, pages: is_paged.then_some(Pages { length: scan.rows, head, pages }) })
}

/// Writes a stored table into a file as processes get it: uncompressed.
pub(super) fn unfold(stored: File, target: &Path) -> Result<File, ValueError> {
    let in_target = |source| ValueError::io(target, source);
    let reader = table::read_stream(BufReader::with_capacity(1 << 20, stored))?;
    let file = File::options().read(true).write(true).create(true).truncate(true).open(target).map_err(in_target)?;
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
