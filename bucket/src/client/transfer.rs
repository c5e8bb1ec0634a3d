//! Between files and objects, in pieces: memory stays bounded whatever their size.

use std::fs::File;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, WriteMultipart};
use protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Bucket, Stored, corrupt_checksum, corrupt_size};
use crate::BucketError;

/// Size of a part of a large object; smaller objects go in one request.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// S3 takes at most 10,000 parts: larger objects have larger parts.
const PARTS_MAX: u64 = 9_000;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 4;

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
        let mut source = Source::new(file, part_bytes);
        let first = source.next().await.map_err(in_file)?;
        let second = source.next().await.map_err(in_file)?;
        if second.is_empty() {
            self.put(key, first).await?;
            return Ok(source.stored());
        }

        let path = self.path(key)?;
        let upload = self.shared.store.put_multipart(&path).await.map_err(|error| self.write_error(key, error))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part_bytes as usize);
        upload.put(first);
        let mut part = second;
        let outcome = loop {
            if part.is_empty() {
                break Ok(());
            }
            upload.put(part);
            if source.bytes > bytes_max {
                break Err(too_large(source.bytes));
            }
            if let Err(error) = upload.wait_for_capacity(PARTS_AT_ONCE).await {
                break Err(self.write_error(key, error));
            }
            part = match source.next().await {
                Ok(part) => part,
                Err(error) => break Err(in_file(error)),
            };
        };
        match outcome {
            Ok(()) => upload.finish().await.map(|_| source.stored()).map_err(|error| self.write_error(key, error)),
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

    async fn fetch(&self, key: &str, target: &Path, expected: Stored) -> Result<(), BucketError> {
        let in_file = |source| BucketError::io(target.display(), source);
        let answer = self.shared.store.get(&self.path(key)?).await.map_err(|error| self.error(key, error))?;
        if answer.meta.size != expected.bytes {
            return Err(corrupt_size(key, expected, answer.meta.size));
        }
        let mut file = tokio::fs::File::create(target).await.map_err(in_file)?;
        let mut hasher = Sha256::new();
        let mut content = answer.into_stream();
        while let Some(piece) = content.try_next().await.map_err(|error| self.error(key, error))? {
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(in_file)?;
        }
        file.flush().await.map_err(in_file)?;
        if Digest(hasher.finalize().into()) == expected.sha256 { Ok(()) } else { Err(corrupt_checksum(key)) }
    }
}

/// A file, read part by part and summed up on the way.
struct Source {
    file: tokio::fs::File,
    part_bytes: u64,
    hasher: Sha256,
    bytes: u64,
}

impl Source {
    fn new(file: File, part_bytes: u64) -> Self {
        Self { file: tokio::fs::File::from_std(file), part_bytes, hasher: Sha256::new(), bytes: 0 }
    }

    /// The next part; empty at the end.
    async fn next(&mut self) -> std::io::Result<Bytes> {
        let mut part = BytesMut::new();
        while (part.len() as u64) < self.part_bytes {
            let missing = self.part_bytes - part.len() as u64;
            if (&mut self.file).take(missing).read_buf(&mut part).await? == 0 {
                break;
            }
        }
        self.hasher.update(&part);
        self.bytes += part.len() as u64;
        Ok(part.freeze())
    }

    fn stored(self) -> Stored {
        Stored { bytes: self.bytes, sha256: Digest(self.hasher.finalize().into()) }
    }
}
