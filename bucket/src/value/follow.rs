//! Tables that are made what is stored while they are still written, so that this need not wait for the last row.
//!
//! What is read meanwhile counts only for the very file that is handed over in the end. Whatever goes wrong here, that file is stored
//! as any other. A file to which users' code can write is copied as far as that says it is written, and all is read from the copy.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::at_hand::{AtHand, Copying};
use super::compact::{Compact, encode, fault_of};
use super::encode::helpers_max;
use super::store::{Writer, open_output};
use super::{ValueError, Values};
use crate::table::{Framing, Scan, TableError};

/// Processors that whoever writes a table and whoever reads it take: others may help to encode it.
const PROCESSORS_TAKEN: usize = 2;
/// Size from which on a table is worth being followed.
const BYTES_MIN: u64 = 1 << 20;
/// How long nothing is looked for in a file that does not grow: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// How long it is waited for users' code to write on: it has said that it writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A table that is encoded as it grows. Dropped, it is given up.
#[derive(Debug)]
pub struct Following {
    progress: Arc<Progress>,
    pub(super) is_of: (u64, u64),
    copy: Option<Arc<Copying>>,
    encoded: JoinHandle<Result<Compact, ValueError>>,
}

impl Values {
    /// Follows the table that is written into a file in `folder`, if that is there by now: one of a program of ours if it is worth it,
    /// one of users' code as far as it is [told](Following::told) how much there is.
    #[must_use]
    pub fn follow(&self, folder: &Path, name: &str, writer: Writer) -> Option<Following> {
        let file = open_output(folder, name).ok()?;
        let metadata = file.metadata().ok()?;
        if writer == Writer::Done && metadata.len() < BYTES_MIN {
            return None;
        }
        let copy = match writer {
            Writer::Unknown => {
                let source = file.try_clone().ok()?;
                Some(Arc::new(Copying::begin(source, &self.folder, self.limits.tables_bytes_max).ok()?))
            }
            Writer::Done => None,
        };
        let progress = Arc::new(Progress::default());
        let bytes_max = self.limits.tables_bytes_max.min(self.limits.value_bytes_max);
        let tail = Tail::new(file, copy.clone(), Arc::clone(&progress), bytes_max).ok()?;
        let helpers = match writer {
            Writer::Unknown => helpers_max().saturating_sub(PROCESSORS_TAKEN),
            // It may have several threads itself.
            Writer::Done => 0,
        };
        let folder = self.folder.clone();
        let encoded = tokio::task::spawn_blocking(move || follow(tail, &folder, helpers));
        Some(Following { progress, is_of: identity(&metadata), copy, encoded })
    }
}

fn follow(mut tail: Tail, folder: &Path, helpers: usize) -> Result<Compact, ValueError> {
    let encoded = encode(&mut tail, folder, helpers).map_err(|fault| fault_of(fault, folder))?;
    Ok(encoded.holding(tail.finish()?))
}

/// Makes of a file of `bytes` bytes that somebody can still write to what is stored: each byte of it is looked at once.
pub(super) fn encode_once(file: File, bytes: u64, folder: &Path, helpers: usize) -> Result<Compact, ValueError> {
    let progress = Arc::new(Progress::default());
    progress.set(Known::Ended(bytes));
    let tail = Tail::new(file, None, progress, bytes).map_err(|source| ValueError::io(folder, source))?;
    follow(tail, folder, helpers)
}

impl Following {
    /// Says that the first `bytes` bytes of a file that users' code writes stay as they are.
    pub fn told(&self, bytes: u64) {
        self.progress.grow(bytes);
    }

    /// The copy of a file that was written to its end and has `bytes` bytes; `None` where it is not the one that was followed, or not
    /// copied. It may have to wait for a disk.
    pub(super) fn copy(&self, file: &File, bytes: u64) -> Option<AtHand> {
        let copy = self.copy.as_ref()?;
        if identity(&file.metadata().ok()?) != self.is_of {
            return None;
        }
        let kept = copy.finish(bytes).ok()?;
        self.progress.set(Known::Ended(bytes));
        Some(kept)
    }

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

pub(super) fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What is known of a file that somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// So many bytes are known to stay as they are.
    Growing(u64),
    /// It has this many bytes, and grows no more.
    Ended(u64),
    /// Nobody wants it any longer.
    GivenUp,
}

impl Default for Known {
    fn default() -> Self {
        Self::Growing(0)
    }
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

    /// Says how much of it there is, where that is more than is known.
    fn grow(&self, more: u64) {
        let mut known = self.known();
        if matches!(*known, Known::Growing(bytes) if bytes < more) {
            *known = Known::Growing(more);
            self.changed.notify_all();
        }
    }

    /// Waits until something else is known than this, but no longer than `pause`.
    fn wait(&self, known: Known, pause: Duration) {
        drop(self.changed.wait_timeout_while(self.known(), pause, |now| *now == known));
    }
}

/// A file that grows, read message by message: of each nothing before it is there as a whole and was looked at.
struct Tail {
    /// What is read: the copy, where there is one.
    file: File,
    copy: Option<Arc<Copying>>,
    /// Where the message begins that was looked at last, and what was read of its head.
    start: u64,
    head: Vec<u8>,
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
    fn new(file: File, copy: Option<Arc<Copying>>, progress: Arc<Progress>, bytes_max: u64) -> io::Result<Self> {
        let file = copy.as_ref().map_or(Ok(file), |copy| copy.open())?;
        let (head, framing) = (Vec::new(), Framing::default());
        Ok(Self { file, copy, start: 0, head, progress, framing, readable: 0, position: 0, bytes_max, bytes: 0 })
    }

    /// Waits until there is more to be read; whether there is.
    fn grow(&mut self) -> io::Result<bool> {
        let (mut pause, since) = (PAUSE_MIN, Instant::now());
        loop {
            let known = *self.progress.known();
            let bytes = match known {
                Known::Growing(_) if self.copy.is_some() && since.elapsed() > PATIENCE => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Known::Growing(bytes) if self.copy.is_some() => bytes,
                Known::Growing(_) => self.file.metadata()?.len(),
                Known::Ended(bytes) => bytes,
                Known::GivenUp => return Err(io::Error::other("nobody waits for it")),
            };
            if bytes > self.bytes_max {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if let Some(copy) = &self.copy {
                copy.copy_up_to(bytes)?;
            }
            self.bytes = bytes;
            self.readable = self.look(bytes)?;
            if self.readable > self.position {
                return Ok(true);
            }
            if matches!(known, Known::Ended(_)) {
                return Ok(false);
            }
            self.progress.wait(known, pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Looks at the next message, if it lies within the first `bytes` bytes as a whole; answers with where it ends.
    fn look(&mut self, bytes: u64) -> io::Result<u64> {
        if self.start != self.readable {
            self.start = self.readable;
            self.head.clear();
        }
        let head = Head { file: &self.file, start: self.start, known: &mut self.head, position: self.start };
        self.framing.step(head, bytes).map_err(io::Error::other)
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
        // What was looked at is not read again: it may be another by now.
        let place = usize::try_from(self.position - self.start).unwrap_or(usize::MAX);
        let count = match self.head.get(place..).filter(|known| !known.is_empty()) {
            Some(known) => {
                let count = known.len().min(most);
                buffer[..count].copy_from_slice(&known[..count]);
                count
            }
            None => self.file.read_at(&mut buffer[..most], self.position)?,
        };
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// The head of a message, read from the file as it is asked for: the second time it is what it was the first time.
struct Head<'tail> {
    file: &'tail File,
    start: u64,
    known: &'tail mut Vec<u8>,
    position: u64,
}

impl Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let place = usize::try_from(self.position - self.start).map_err(io::Error::other)?;
        if self.known.len() < place + buffer.len() {
            let (before, bytes) = (self.known.len(), place + buffer.len());
            self.known.resize(bytes, 0);
            let count = self.file.read_at(&mut self.known[before..], self.start + before as u64)?;
            self.known.truncate(before + count);
        }
        let rest = self.known.get(place..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Head<'_> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        match place {
            SeekFrom::Start(position) if position >= self.start => self.position = position,
            // Nobody goes anywhere else.
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests;
