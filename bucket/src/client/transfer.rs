//! Between files and objects, in pieces: memory stays bounded whatever their size.
//!
//! What takes a processor or the disk is done by threads that may wait, one step ahead of the network and one behind it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Bucket, Stored, corrupt_checksum, corrupt_size};
use crate::BucketError;
use crate::gathered::Gathered;

/// Size of a part of a large object; smaller objects go in one request.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// S3 takes at most 10,000 parts: larger objects have larger parts.
const PARTS_MAX: u64 = 9_000;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Bytes that are read from a file at once: little enough to be summed up before they leave the processor's cache.
const READ_BYTES: u64 = 512 << 10;
/// Bytes that are gathered before they go to a file.
const GATHERED_BYTES: usize = 1 << 20;

impl Bucket {
    /// Writes the content of an open file, from its current place to its end.
    ///
    /// The checksum is of the bytes that were sent, so that nobody who still writes to the file can make it wrong.
    ///
    /// # Errors
    /// See [`BucketError`]; [`BucketError::TooLarge`] for a file over `bytes_max`, also one that grows meanwhile.
    pub async fn put_file(&self, key: &str, file: File, bytes_max: u64) -> Result<Stored, BucketError> {
        let in_file = |source| BucketError::io(format_args!("the file for `{key}`"), source);
        let bytes = file.metadata().map_err(in_file)?.len();
        let too_large = |bytes| BucketError::TooLarge { key: key.to_owned(), bytes, bytes_max };
        if bytes > bytes_max {
            return Err(too_large(bytes));
        }
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let source = Source { file, part_bytes, bytes_left: bytes, bytes: 0, hasher: Sha256::new() };
        let (mut source, mut part) = ended(source.read_part()).await.map_err(in_file)?;
        if source.bytes < part_bytes {
            if source.bytes > bytes_max {
                return Err(too_large(source.bytes));
            }
            self.send(key, PutPayload::from_iter(part), PutMode::Overwrite).await?;
            return Ok(source.stored());
        }

        let path = self.path(key)?;
        self.stands().await?;
        let upload = self.shared.store.put_multipart(&path).await.map_err(|error| self.write_error(key, error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part_bytes as usize);
        let outcome = loop {
            if source.bytes > bytes_max {
                break Err(too_large(source.bytes));
            }
            if part.is_empty() {
                break Ok(source);
            }
            // The next part is read while this one waits to be sent.
            let reading = source.read_part();
            part.into_iter().for_each(|piece| upload.put(piece));
            let sent = upload.wait_for_capacity(PARTS_AT_ONCE).await;
            let read = ended(reading).await;
            if let Err(error) = sent {
                break Err(self.write_error(key, error));
            }
            (source, part) = match read {
                Ok(read) => read,
                Err(error) => break Err(in_file(error)),
            };
        };
        match outcome {
            Ok(source) => {
                upload.finish().await.map_err(|error| self.write_error(key, error))?;
                self.stands().await.map(|()| source.stored())
            }
            Err(error) => {
                // What is left of it is swept by the service's own rules where this fails too.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Reads an object into a new file and verifies that it is the one that was written.
    ///
    /// # Errors
    /// See [`BucketError`]; there is no file then.
    pub async fn get_to_file(&self, key: &str, target: &Path, expected: Stored) -> Result<(), BucketError> {
        let outcome = self.fetch(key, target, expected).await;
        if outcome.is_err() {
            // The error that counts is the one above.
            let _ = tokio::fs::remove_file(target).await;
        }
        outcome
    }

    /// When this returns, nobody writes to the file any more.
    async fn fetch(&self, key: &str, target: &Path, expected: Stored) -> Result<(), BucketError> {
        let in_file = |source| BucketError::io(target.display(), source);
        let answer = self.found(key, self.shared.store.get(&self.path(key)?).await).await?;
        if answer.meta.size != expected.bytes {
            return Err(corrupt_size(key, expected, answer.meta.size));
        }
        let (mut content, mut gathered) = (answer.into_stream(), Gathered::default());
        let mut sink = Sink::create(target);
        let received = loop {
            match content.try_next().await {
                Ok(Some(piece)) => gathered.push(piece),
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.error(key, error)),
            }
            if gathered.bytes() >= GATHERED_BYTES {
                sink = sink.write(gathered.take()).await.map_err(in_file)?;
            }
        };
        sink = sink.write(gathered.take()).await.map_err(in_file)?;
        let digest = sink.end().await.map_err(in_file)?;
        received?;
        if digest == expected.sha256 { Ok(()) } else { Err(corrupt_checksum(key)) }
    }
}

/// What a thread that may wait comes to.
async fn ended<T>(task: JoinHandle<io::Result<T>>) -> io::Result<T> {
    task.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A file, read part by part and summed up on the way.
struct Source {
    file: File,
    part_bytes: u64,
    /// What is still to come, as far as is known.
    bytes_left: u64,
    bytes: u64,
    hasher: Sha256,
}

impl Source {
    /// The next part, in pieces; none at the end.
    fn read_part(mut self) -> JoinHandle<io::Result<(Self, Vec<Bytes>)>> {
        spawn_blocking(move || {
            let (mut part, mut missing) = (Vec::new(), self.part_bytes);
            while missing > 0 {
                let wanted = missing.min(READ_BYTES);
                let mut piece = Vec::with_capacity(wanted.min(self.bytes_left) as usize);
                (&self.file).take(wanted).read_to_end(&mut piece)?;
                if piece.is_empty() {
                    break;
                }
                self.hasher.update(&piece);
                missing -= piece.len() as u64;
                self.bytes_left = self.bytes_left.saturating_sub(piece.len() as u64);
                part.push(Bytes::from(piece));
            }
            self.bytes += self.part_bytes - missing;
            Ok((self, part))
        })
    }

    fn stored(self) -> Stored {
        Stored { bytes: self.bytes, sha256: Digest(self.hasher.finalize().into()) }
    }
}

/// A file that is written as its content comes, which is summed up at the same time.
struct Sink {
    writing: JoinHandle<io::Result<File>>,
    summing: JoinHandle<io::Result<Sha256>>,
}

impl Sink {
    fn create(target: &Path) -> Self {
        let target = target.to_owned();
        Self { writing: spawn_blocking(|| File::create(target)), summing: spawn_blocking(|| Ok(Sha256::new())) }
    }

    /// Goes on with these when those before are written.
    async fn write(self, pieces: Vec<Bytes>) -> io::Result<Self> {
        let (mut file, mut hasher) = (ended(self.writing).await?, ended(self.summing).await?);
        let summed = pieces.clone();
        let writing = move || pieces.iter().try_for_each(|piece| file.write_all(piece)).map(|()| file);
        let summing = move || {
            summed.iter().for_each(|piece| hasher.update(piece));
            Ok(hasher)
        };
        Ok(Self { writing: spawn_blocking(writing), summing: spawn_blocking(summing) })
    }

    async fn end(self) -> io::Result<Digest> {
        ended(self.writing).await?;
        Ok(Digest(ended(self.summing).await?.finalize().into()))
    }
}
