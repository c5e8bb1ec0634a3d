//! Tables that are made what is stored while a program of ours still writes them, so that this need not wait for the end of a query
//! nor begin with it.
//!
//! What is read meanwhile counts only for the very file that the program hands over in the end. Whatever goes wrong here, that file is
//! stored as any other.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::compact::{Compact, encode, fault_of};
use super::store::open_output;
use super::{ValueError, Values};
use crate::table::{Framing, Scan, TableError};

/// Size from which on a table is worth being followed.
const BYTES_MIN: u64 = 1 << 20;
/// How long nothing is looked for in a file that does not grow: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// A table that is encoded as it grows. Dropped, it is given up.
#[derive(Debug)]
pub struct Following {
    progress: Arc<Progress>,
    is_of: (u64, u64),
    encoded: JoinHandle<Result<Compact, ValueError>>,
}

impl Values {
    /// Follows the table that a program of ours writes into a file in `folder`, if that is there by now and worth it.
    #[must_use]
    pub fn follow(&self, folder: &Path, name: &str) -> Option<Following> {
        let file = open_output(folder, name).ok()?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.len() >= BYTES_MIN)?;
        let progress = Arc::new(Progress::default());
        let bytes_max = self.limits.tables_bytes_max.min(self.limits.value_bytes_max);
        let tail = Tail::new(file, Arc::clone(&progress), bytes_max);
        let folder = self.folder.clone();
        let encoded = tokio::task::spawn_blocking(move || follow(tail, &folder));
        Some(Following { progress, is_of: identity(&metadata), encoded })
    }
}

fn follow(mut tail: Tail, folder: &Path) -> Result<Compact, ValueError> {
    // By one thread: what writes the table needs the others.
    let encoded = encode(&mut tail, folder, 0).map_err(|fault| fault_of(fault, folder))?;
    Ok(encoded.holding(tail.finish()?))
}

impl Following {
    /// What is stored of a file that was written to its end and has `bytes` bytes; `None` where it is not the one that was followed, or
    /// anything was wrong with it.
    pub(super) async fn finish(mut self, file: &File, bytes: u64) -> Option<Compact> {
        if identity(&file.metadata().ok()?) != self.is_of {
            return None;
        }
        self.progress.set(Known::Ended(bytes));
        (&mut self.encoded).await.ok()?.ok()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.progress.set(Known::GivenUp);
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What is known of a file that somebody writes.
#[derive(Debug, Clone, Copy, Default)]
enum Known {
    #[default]
    Growing,
    /// It has this many bytes, and grows no more.
    Ended(u64),
    /// Nobody wants it any longer.
    GivenUp,
}

#[derive(Debug, Default)]
struct Progress {
    known: Mutex<Known>,
    changed: Condvar,
}

impl Progress {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, known: Known) {
        *self.known() = known;
        self.changed.notify_all();
    }

    /// Waits for news of the file, but no longer than `pause`.
    fn wait(&self, pause: Duration) {
        let known = self.known();
        if matches!(*known, Known::Growing) {
            drop(self.changed.wait_timeout(known, pause));
        }
    }
}

/// A file that grows, read message by message: of each nothing before it is there as a whole and was looked at.
struct Tail {
    file: File,
    progress: Arc<Progress>,
    framing: Framing,
    /// Where the last message ends that may be read.
    readable: u64,
    position: u64,
    bytes_max: u64,
    /// How many bytes the file had in the end.
    bytes: u64,
}

impl Tail {
    fn new(file: File, progress: Arc<Progress>, bytes_max: u64) -> Self {
        let framing = Framing::default();
        Self { file, progress, framing, readable: 0, position: 0, bytes_max, bytes: 0 }
    }

    /// Waits until there is more to be read; whether there is.
    fn grow(&mut self) -> io::Result<bool> {
        let mut pause = PAUSE_MIN;
        loop {
            let known = *self.progress.known();
            let bytes = match known {
                Known::Growing => self.file.metadata()?.len(),
                Known::Ended(bytes) => bytes,
                Known::GivenUp => return Err(io::Error::other("nobody waits for it")),
            };
            if bytes > self.bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.bytes = bytes;
            self.readable = self.framing.advance(&self.file, bytes).map_err(io::Error::other)?;
            if self.readable > self.position {
                return Ok(true);
            }
            if matches!(known, Known::Ended(_)) {
                return Ok(false);
            }
            self.progress.wait(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What the look at its messages says of the whole.
    fn finish(mut self) -> Result<Scan, TableError> {
        // The end of a table may be known before that of its file.
        while self.grow().map_err(|error| TableError::Malformed(error.to_string()))? {
            self.position = self.readable;
        }
        self.framing.finish(self.bytes)
    }
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.readable && !self.grow()? {
            return Ok(0);
        }
        let left = usize::try_from(self.readable - self.position).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        match self.file.read_at(&mut buffer[..most], self.position)? {
            0 if most > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.position += count as u64;
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::writer::StreamWriter;

    use super::*;
    use crate::value::compact::{Content, compact};
    use crate::value::{Effort, ValueLimits};
    use crate::{Bucket, BucketUrl};

    fn batch(start: i64, rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new((start..start + rows).collect::<Int64Array>());
        let texts: ArrayRef =
            Arc::new((start..start + rows).map(|n| Some(format!("text {n}"))).collect::<StringArray>());
        RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).unwrap()
    }

    fn stream(batches: i64) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch(0, 0).schema()).unwrap();
        (0..batches).for_each(|number| writer.write(&batch(number * 20_000, 20_000)).unwrap());
        writer.into_inner().unwrap()
    }

    struct Rig {
        folder: tempfile::TempDir,
        values: Values,
    }

    impl Rig {
        fn new(tables_bytes_max: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("values")).unwrap();
            let bucket = Bucket::open(&BucketUrl::Folder(folder.path().join("bucket")), None).unwrap();
            let limits = ValueLimits { tables_bytes_max, ..ValueLimits::default() };
            Self { values: Values::new(bucket, &folder.path().join("values"), limits), folder }
        }

        fn path(&self) -> std::path::PathBuf {
            self.folder.path().join("draft.arrow")
        }

        fn follow(&self) -> Option<Following> {
            self.values.follow(self.folder.path(), "draft.arrow")
        }

        fn stored(&self, stream: &[u8]) -> (Vec<u8>, Option<u64>, Option<String>) {
            let bytes = stream.len() as u64;
            parts(compact(io::Cursor::new(stream), bytes, self.folder.path(), Effort::Full).unwrap())
        }
    }

    /// The content, its rows and the index of its pages.
    fn parts(compact: Compact) -> (Vec<u8>, Option<u64>, Option<String>) {
        let content = match compact.content {
            Content::Memory(content) => content.to_vec(),
            Content::File(mut file) => {
                let mut content = Vec::new();
                file.read_to_end(&mut content).unwrap();
                content
            }
        };
        (content, compact.shape.length, compact.pages.map(|pages| serde_json::to_string(&pages).unwrap()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_grows_becomes_what_it_would_become_as_a_whole() {
        let rig = Rig::new(1 << 30);
        let whole = stream(12);
        // Wherever what is there ends for a while.
        for part in [700_000, 999_999, 64 << 10] {
            let mut file = File::create(rig.path()).unwrap();
            assert!(rig.follow().is_none(), "there is nothing of it");
            let (first, rest) = whole.split_at(BYTES_MIN as usize + part);
            file.write_all(first).unwrap();
            let following = rig.follow().unwrap();
            for part in rest.chunks(part) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                file.write_all(part).unwrap();
            }
            std::fs::rename(rig.path(), rig.folder.path().join("value.arrow")).unwrap();
            let file = File::open(rig.folder.path().join("value.arrow")).unwrap();
            let stored = following.finish(&file, whole.len() as u64).await.unwrap();
            assert!(parts(stored) == rig.stored(&whole));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_whole_or_another_file_is_not_taken_for_it() {
        let rig = Rig::new(64 << 20);
        let whole = stream(6);
        let finish = async |content: &[u8], bytes: usize| {
            std::fs::write(rig.path(), content).unwrap();
            let following = rig.follow().unwrap();
            following.finish(&File::open(rig.path()).unwrap(), bytes as u64).await.is_some()
        };
        assert!(finish(&whole, whole.len()).await);
        assert!(!finish(&whole[..whole.len() - 5_000], whole.len() - 5_000).await, "cut off");
        let large = [&whole[..], &[7; 64 << 20]].concat();
        assert!(!finish(&large, large.len()).await, "beyond the limit");
        let mut garbage = whole.clone();
        garbage[1_000_000..].fill(0x55);
        assert!(!finish(&garbage, garbage.len()).await);

        std::fs::write(rig.path(), &whole).unwrap();
        let following = rig.follow().unwrap();
        std::fs::write(rig.folder.path().join("other"), &whole).unwrap();
        let other = File::open(rig.folder.path().join("other")).unwrap();
        assert!(following.finish(&other, whole.len() as u64).await.is_none());
        std::os::unix::fs::symlink(rig.path(), rig.folder.path().join("link")).unwrap();
        assert!(rig.values.follow(rig.folder.path(), "link").is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_goes_on_with_what_is_given_up() {
        let rig = Rig::new(1 << 30);
        std::fs::write(rig.path(), &stream(6)[..1_200_000]).unwrap();
        let following = rig.follow().unwrap();
        let progress = Arc::clone(&following.progress);
        drop(following);
        let deadline = Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&progress) > 1 {
            assert!(Instant::now() < deadline, "it is still followed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
