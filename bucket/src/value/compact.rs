//! The form in which a table lies in the bucket: an Arrow stream of small compressed batches, each of them a page.
//!
//! Processes hand tables over uncompressed and get them so, because plain Python has no zstd; what happens on the way is
//! done here, batch by batch, so that memory stays bounded.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Schema};
use protocol::{Digest, ValueKind};
use sha2::{Digest as _, Sha256};

use super::ValueError;
use super::pages::{Page, Pages};
use super::shape::Shape;
use crate::table::{self, PieceMax, TableError};

/// A batch that cannot be cut.
const WHOLE: PieceMax = PieceMax { rows: usize::MAX, bytes: u64::MAX };
/// The fastest there is; higher ones take several times as long for a tenth of the size.
const ZSTD_LEVEL: i32 = 1;

/// A table as it is stored.
pub(super) struct Compact {
    pub(super) file: File,
    pub(super) shape: Shape,
    /// `None` where all is one page, or no page can be read by itself.
    pub(super) pages: Option<Pages>,
}

/// Reads a whole stream of `bytes` bytes that a process wrote, so that nobody after this meets one that cannot be read, and
/// writes it into a file without a name in `folder` as it is stored.
pub(super) fn compact(mut stream: impl Read + Seek, bytes: u64, folder: &Path) -> Result<Compact, ValueError> {
    let scan = table::scan_stream(&mut stream, bytes)?;
    stream.rewind().map_err(|error| TableError::Malformed(error.to_string()))?;
    let mut reader = table::read_stream(BufReader::with_capacity(1 << 20, &mut stream))?;
    let schema = reader.schema();
    let in_folder = |source| ValueError::io(folder, source);
    let mut file = tempfile::tempfile_in(folder).map_err(in_folder)?;
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::ZSTD))
        .and_then(|options| options.try_with_compression_level(Some(ZSTD_LEVEL)))
        .map_err(TableError::from)?;
    let out = Counted::new(BufWriter::with_capacity(1 << 20, &file));
    let mut writer = StreamWriter::try_new_with_options(out, &schema, options).map_err(TableError::from)?;
    let head = writer.get_mut().take_head();
    let is_divisible = is_divisible(&schema);
    let piece_max = if is_divisible { table::PAGE } else { WHOLE };
    let mut pages = Pages { length: scan.rows, head, pages: Vec::new() };
    let mut first = 0;
    while let Some(batch) = reader.next() {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => {
                drop(reader);
                return Err(table::at_column(error, stream).into());
            }
        };
        for part in table::cut(&batch, piece_max) {
            writer.write(&part).map_err(|error| unwritten(error, folder))?;
            pages.pages.push(writer.get_mut().page(first));
            first += part.num_rows() as u64;
        }
    }
    writer.finish().map_err(|error| unwritten(error, folder))?;
    writer.get_mut().out.flush().map_err(in_folder)?;
    drop(writer);
    file.rewind().map_err(in_folder)?;
    let shape = Shape { kind: ValueKind::Table, length: Some(scan.rows) };
    let is_paged = is_divisible && pages.pages.len() > 1;
    Ok(Compact { file, shape, pages: is_paged.then_some(pages) })
}

/// Writes a stored table into a file as processes get it: uncompressed.
pub(super) fn unfold(stored: File, target: &Path) -> Result<(), ValueError> {
    let in_target = |source| ValueError::io(target, source);
    let reader = table::read_stream(BufReader::with_capacity(1 << 20, stored))?;
    let out = BufWriter::with_capacity(1 << 20, File::create(target).map_err(in_target)?);
    let mut writer = StreamWriter::try_new(out, &reader.schema()).map_err(TableError::from)?;
    for batch in reader {
        writer.write(&batch.map_err(TableError::from)?).map_err(|error| unwritten(error, target))?;
    }
    writer.finish().map_err(|error| unwritten(error, target))?;
    writer.get_mut().flush().map_err(in_target)
}

/// A disk that takes no more is no fault of the table.
fn unwritten(error: arrow_schema::ArrowError, place: &Path) -> ValueError {
    match error {
        arrow_schema::ArrowError::IoError(_, source) => ValueError::io(place, source),
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

/// Counts what is written, and sums it up page by page.
struct Counted<W> {
    out: W,
    position: u64,
    start: u64,
    hasher: Sha256,
    /// What is written before the first page.
    head: Option<Vec<u8>>,
}

impl<W: Write> Counted<W> {
    fn new(out: W) -> Self {
        Self { out, position: 0, start: 0, hasher: Sha256::new(), head: Some(Vec::new()) }
    }

    fn take_head(&mut self) -> Vec<u8> {
        self.start = self.position;
        self.head.take().unwrap_or_default()
    }

    /// The page that ends here.
    fn page(&mut self, first: u64) -> Page {
        let sha256 = Digest(self.hasher.finalize_reset().into());
        let start = std::mem::replace(&mut self.start, self.position);
        Page { first, start, end: self.position, sha256 }
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        match &mut self.head {
            Some(head) => head.extend_from_slice(&bytes[..count]),
            None => self.hasher.update(&bytes[..count]),
        }
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
