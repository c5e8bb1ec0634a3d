//! Tables become pages: batches are cut, compressed and written in their order, by one thread or by several.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use protocol::Digest;

use super::pages::Page;
use crate::table::{self, PieceMax, TableError};

/// A batch that cannot be cut.
const WHOLE: PieceMax = PieceMax { rows: usize::MAX, bytes: u64::MAX };
/// The fastest there is; higher ones take several times as long for a tenth of the size.
const ZSTD_LEVEL: i32 = 1;
/// Most threads that encode one table.
const HELPERS_MAX: usize = 4;
/// Parts of a table that each of them has at once.
const PARTS_EACH: usize = 2;

/// What keeps a table from being stored.
#[derive(Debug)]
pub(super) enum Fault {
    Table(TableError),
    Read(ArrowError),
    Encode(ArrowError),
    Write(io::Error),
}

/// Encodes each batch of a stream, cut where it can be, and writes them in their order: by this thread, or by `helpers` of them at
/// once while this one reads and writes.
pub(super) fn encode_all(
    reader: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    is_divisible: bool,
    encoder: &mut Encoder,
    helpers: usize,
    out: &mut Paged<impl Write>,
) -> Result<(), Fault> {
    let piece_max = if is_divisible { table::PAGE } else { WHOLE };
    let parts = reader.flat_map(|batch| match batch {
        Ok(batch) => table::cut(&batch, piece_max).map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(Fault::Read(error))],
    });
    if helpers == 0 {
        return parts.into_iter().try_for_each(|part| {
            let part = part?;
            let bytes = encoder.encode(&part).map_err(Fault::Encode)?;
            out.page(&bytes, part.num_rows()).map_err(Fault::Write)
        });
    }
    std::thread::scope(|scope| {
        let helpers: Vec<Helper> =
            (0..helpers).map(|_| Helper::start(scope, encoder)).collect::<Result<_, _>>().map_err(Fault::Write)?;
        // Part by part each helper gets its turn, and in the same order answers are taken.
        let (mut given, mut taken) = (0, 0);
        let mut take = |taken: &mut usize| {
            let (bytes, rows) = helpers[*taken % helpers.len()].take()?;
            *taken += 1;
            out.page(&bytes, rows).map_err(Fault::Write)
        };
        for part in parts {
            let part = part?;
            while given - taken >= helpers.len() * PARTS_EACH {
                take(&mut taken)?;
            }
            helpers[given % helpers.len()].give(part);
            given += 1;
        }
        while taken < given {
            take(&mut taken)?;
        }
        Ok(())
    })
}

/// How many threads encode one table.
pub(super) fn helpers_max() -> usize {
    match std::thread::available_parallelism() {
        Ok(processors) if processors.get() > 1 => processors.get().min(HELPERS_MAX),
        _ => 0,
    }
}

/// A thread that encodes parts of a table.
struct Helper {
    parts: SyncSender<RecordBatch>,
    encoded: Receiver<(Result<Vec<u8>, ArrowError>, usize)>,
}

impl Helper {
    fn start<'scope>(scope: &'scope Scope<'scope, '_>, encoder: &Encoder) -> io::Result<Self> {
        let (parts, given) = sync_channel::<RecordBatch>(PARTS_EACH);
        let (answers, encoded) = sync_channel(PARTS_EACH);
        let mut encoder = encoder.another().map_err(io::Error::other)?;
        std::thread::Builder::new().name("encoder".to_owned()).spawn_scoped(scope, move || {
            for part in given {
                // Where nobody waits any more, something has failed elsewhere.
                if answers.send((encoder.encode(&part), part.num_rows())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { parts, encoded })
    }

    fn give(&self, part: RecordBatch) {
        // It ends before its time by a panic only, which the end of the scope passes on.
        let _ = self.parts.send(part);
    }

    fn take(&self) -> Result<(Vec<u8>, usize), Fault> {
        let gone = |_| Fault::Write(io::Error::other("a thread that encodes has ended"));
        let (bytes, rows) = self.encoded.recv().map_err(gone)?;
        Ok((bytes.map_err(Fault::Encode)?, rows))
    }
}

/// Makes the bytes of batches, one by one.
pub(super) struct Encoder {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
}

impl Encoder {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::ZSTD))?
            .try_with_compression_level(Some(ZSTD_LEVEL))?;
        let writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
        Ok(Self { writer, schema: Arc::clone(schema) })
    }

    /// One for other batches of the same stream.
    fn another(&self) -> Result<Self, ArrowError> {
        let mut encoder = Self::new(&self.schema)?;
        encoder.take();
        Ok(encoder)
    }

    /// What was made since this was last asked: at first the head of the stream.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        self.writer.write(batch)?;
        Ok(self.take())
    }

    /// The end of the stream.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        self.writer.finish()?;
        Ok(self.take())
    }
}

/// A file of pages, each summed up.
pub(super) struct Paged<W> {
    out: W,
    head: Vec<u8>,
    is_begun: bool,
    position: u64,
    rows: u64,
    pages: Vec<Page>,
}

impl<W: Write> Paged<W> {
    pub(super) fn new(out: W, head: Vec<u8>) -> Self {
        Self { out, position: head.len() as u64, head, is_begun: false, rows: 0, pages: Vec::new() }
    }

    /// Writes the next page.
    fn page(&mut self, bytes: &[u8], rows: usize) -> io::Result<()> {
        self.begin()?;
        self.out.write_all(bytes)?;
        let (first, start) = (self.rows, self.position);
        self.position += bytes.len() as u64;
        self.rows += rows as u64;
        self.pages.push(Page { first, start, end: self.position, sha256: Digest::of(bytes) });
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        self.out.write_all(&self.head)
    }

    /// Writes the end of the stream; answers with where all is, what is before the first page, and all pages.
    pub(super) fn finish(mut self, end: &[u8]) -> io::Result<(W, Vec<u8>, Vec<Page>)> {
        self.begin()?;
        self.out.write_all(end)?;
        self.out.flush()?;
        Ok((self.out, self.head, self.pages))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        let fields = [Field::new("n", DataType::Int64, true), Field::new("text", DataType::Utf8, true)];
        Arc::new(Schema::new(fields.to_vec()))
    }

    fn batch(first: i64, rows: i64) -> RecordBatch {
        let numbers: Int64Array = (first..first + rows).map(Some).collect();
        let texts: StringArray = (first..first + rows).map(|n| (n % 3 > 0).then(|| format!("text {n}"))).collect();
        RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
    }

    /// The stream, and for each page its first row and its end.
    type Encoded = (Vec<u8>, Vec<(u64, u64)>);

    fn encoded(batches: Vec<Result<RecordBatch, ArrowError>>, helpers: usize) -> Result<Encoded, Fault> {
        let mut encoder = Encoder::new(&schema()).unwrap();
        let mut file = Vec::new();
        let mut out = Paged::new(&mut file, encoder.take());
        encode_all(batches.into_iter(), true, &mut encoder, helpers, &mut out)?;
        let (_, _, pages) = out.finish(&encoder.finish().unwrap()).unwrap();
        let places = pages.iter().map(|page| (page.first, page.end)).collect();
        Ok((file, places))
    }

    #[test]
    fn several_threads_write_what_one_does() {
        let batches = || (0..40).map(|n| Ok(batch(n * 30_000, if n == 7 { 0 } else { 30_000 }))).collect::<Vec<_>>();
        let (file, places) = encoded(batches(), 0).ok().unwrap();
        assert!(places.len() > 40, "{}", places.len());
        for helpers in [1, 2, 3, 7] {
            assert!(encoded(batches(), helpers).ok() == Some((file.clone(), places.clone())), "{helpers} helpers");
        }
        let rows = table::read_stream(file.as_slice()).unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>();
        assert_eq!(rows, 39 * 30_000);
    }

    #[test]
    fn a_table_that_breaks_off_is_not_written_on() {
        for helpers in [0, 3] {
            let broken = Err(ArrowError::IpcError("broken off".to_owned()));
            let batches =
                (0..9).map(|n| Ok(batch(n, 1_000))).chain([broken]).chain((0..9).map(|n| Ok(batch(n, 1_000))));
            let outcome = encoded(batches.collect(), helpers);
            assert!(matches!(outcome, Err(Fault::Read(error)) if error.to_string().contains("broken off")));
        }
    }
}
