//! The client of a bucket: put, get, list and delete objects by key, whatever the bucket is.
//!
//! Transient faults are tried again inside, within about 20 seconds; what comes out then is
//! [`BucketError::Unreachable`], and the caller decides how long to wait. It knows bytes and keys; what they mean is
//! the business of [`value`](crate::value).

mod mark;
mod open;
mod transfer;

pub use mark::NAME as FOLDER_MARK;

use std::future;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use protocol::Digest;

use crate::error::{from_check, from_object_store, from_write};
use crate::{BucketError, BucketUrl, Credentials};
use mark::Mark;
use open::Patience;

/// An open bucket; clones share one connection pool.
#[derive(Debug, Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: String,
    prefix: String,
    store: Arc<dyn ObjectStore>,
    /// The same bucket without retries, for checks that a person waits for.
    probe: Arc<dyn ObjectStore>,
    /// What tells whether a folder is the one that was opened; other buckets tell so themselves.
    mark: Option<Mark>,
}

/// What was written: enough to know it again when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Size of the object.
    pub bytes: u64,
    /// Checksum of the object.
    pub sha256: Digest,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written: Unix time in milliseconds.
    pub modified_ms: i64,
}

impl Bucket {
    /// Opens the bucket at `url`; a folder is made where there is none. Nothing is asked of a service yet; see [`check`](Self::check).
    ///
    /// # Errors
    /// [`BucketError::NoKeys`], [`BucketError::Refused`] where a folder is closed to us, [`BucketError::Io`] where it cannot be made.
    pub fn open(url: &BucketUrl, credentials: Option<&Credentials>) -> Result<Self, BucketError> {
        if let BucketUrl::Folder(path) = url {
            std::fs::create_dir_all(path).map_err(|source| in_folder(url, "made", source))?;
        }
        Self::open_with(url, credentials, Mark::make)
    }

    /// The same for who only reads: nothing is made.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_to_read(url: &BucketUrl, credentials: Option<&Credentials>) -> Result<Self, BucketError> {
        Self::open_with(url, credentials, Mark::of)
    }

    fn open_with(
        url: &BucketUrl,
        credentials: Option<&Credentials>,
        marked: fn(&Path) -> io::Result<Mark>,
    ) -> Result<Self, BucketError> {
        let prefix = match url {
            BucketUrl::S3(s3) if !s3.prefix.is_empty() => format!("{}/", s3.prefix),
            _ => String::new(),
        };
        let mark = match url {
            BucketUrl::Folder(path) => Some(marked(path).map_err(|source| in_folder(url, "used", source))?),
            _ => None,
        };
        let store = open::store(url, credentials, Patience::Retry)?;
        let probe = open::store(url, credentials, Patience::Once)?;
        Ok(Self { shared: Arc::new(Shared { place: url.to_string(), prefix, store, probe, mark }) })
    }

    /// The bucket's URL.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.shared.place
    }

    /// Whether the bucket is there and lets us in; a folder that was opened for writing, also whether that can be done. Answers within
    /// a few seconds.
    ///
    /// # Errors
    /// [`BucketError::Unreachable`], [`BucketError::Refused`] or [`BucketError::NoBucket`].
    pub async fn check(&self) -> Result<(), BucketError> {
        self.stands().await?;
        if let Some(mark) = &self.shared.mark {
            mark.check_access(&self.shared.place).await?;
        }
        let path = self.path("check")?;
        let asked = match self.shared.probe.head(&path).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_check(&self.shared.place, error)),
        };
        // An answer to HEAD has no body: that an object is missing looks as if the bucket were, and a refusal says nothing of its reason.
        // A listing tells.
        match asked {
            Ok(()) | Err(BucketError::NoBucket { .. } | BucketError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        let listed = self.shared.probe.list_with_delimiter(Some(&path)).await;
        listed.map_err(|error| from_check(&self.shared.place, error))?;
        match asked {
            Err(refused @ BucketError::Refused { .. }) => Err(refused),
            _ => Ok(()),
        }
    }

    /// Writes an object, in place of one that has this key.
    ///
    /// # Errors
    /// See [`BucketError`].
    pub async fn put(&self, key: &str, content: Bytes) -> Result<Stored, BucketError> {
        self.put_with(key, content, PutMode::Overwrite).await
    }

    /// Writes an object that must not be there yet; of several writers exactly one succeeds.
    ///
    /// # Errors
    /// [`BucketError::Exists`] for the others.
    pub async fn create(&self, key: &str, content: Bytes) -> Result<Stored, BucketError> {
        self.put_with(key, content, PutMode::Create).await
    }

    async fn put_with(&self, key: &str, content: Bytes, mode: PutMode) -> Result<Stored, BucketError> {
        let stored = Stored { bytes: content.len() as u64, sha256: Digest::of(&content) };
        self.send(key, content.into(), mode).await?;
        Ok(stored)
    }

    async fn send(&self, key: &str, content: PutPayload, mode: PutMode) -> Result<(), BucketError> {
        let path = self.path(key)?;
        self.stands().await?;
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.shared.store.put_opts(&path, content, options).await;
        put.map_err(|error| self.write_error(key, error))?;
        self.stands().await
    }

    /// Reads an object of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`BucketError::NotFound`], [`BucketError::TooLarge`] and others.
    pub async fn get(&self, key: &str, bytes_max: u64) -> Result<Bytes, BucketError> {
        let path = self.path(key)?;
        let answer = self.found(key, self.shared.store.get(&path).await).await?;
        if answer.meta.size > bytes_max {
            return Err(BucketError::TooLarge { key: key.to_owned(), bytes: answer.meta.size, bytes_max });
        }
        answer.bytes().await.map_err(|error| self.error(key, error))
    }

    /// Reads an object and verifies that it is the one that was written.
    ///
    /// # Errors
    /// [`BucketError::Corrupt`] where it is not, and others.
    pub async fn get_verified(&self, key: &str, expected: Stored) -> Result<Bytes, BucketError> {
        let content = match self.get(key, expected.bytes).await {
            Err(BucketError::TooLarge { bytes, .. }) => return Err(corrupt_size(key, expected, bytes)),
            content => content?,
        };
        if content.len() as u64 != expected.bytes {
            return Err(corrupt_size(key, expected, content.len() as u64));
        }
        if Digest::of(&content) != expected.sha256 {
            return Err(corrupt_checksum(key));
        }
        Ok(content)
    }

    /// Reads a range of an object and verifies that it is what was written there.
    ///
    /// # Errors
    /// [`BucketError::Corrupt`] where it is not, and others.
    pub async fn get_range(&self, key: &str, range: Range<u64>, expected: Digest) -> Result<Bytes, BucketError> {
        let read = self.shared.store.get_range(&self.path(key)?, range).await;
        let content = self.found(key, read).await?;
        if Digest::of(&content) == expected { Ok(content) } else { Err(corrupt_checksum(key)) }
    }

    /// The objects in the folder `prefix` and below it, one after another in no certain order, however many there are.
    ///
    /// # Errors
    /// See [`BucketError`].
    pub fn entries(&self, prefix: &str) -> Result<BoxStream<'static, Result<Entry, BucketError>>, BucketError> {
        let path = self.path(prefix)?;
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        let found = self.shared.store.list(Some(&path));
        let entries = found
            .map(move |meta| meta.map(|meta| bucket.entry(meta)).map_err(|error| bucket.error(&prefix, error)))
            .try_filter(|entry| future::ready(entry.key != mark::NAME));
        let bucket = self.clone();
        let begun = async move { bucket.stands().await.map(|()| entries) };
        Ok(begun.try_flatten_stream().boxed())
    }

    fn entry(&self, meta: ObjectMeta) -> Entry {
        Entry {
            key: meta.location.as_ref().strip_prefix(&self.shared.prefix).unwrap_or_default().to_owned(),
            bytes: meta.size,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }

    /// The objects in the folder `prefix` and below it, in order of their keys; the whole bucket for an empty prefix.
    ///
    /// # Errors
    /// See [`BucketError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, BucketError> {
        let mut entries: Vec<Entry> = self.entries(prefix)?.try_collect().await?;
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// See [`BucketError`].
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let path = self.path(key)?;
        match self.shared.store.delete(&path).await {
            Ok(()) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => self.stands().await,
            Err(error) => Err(self.error(key, error)),
        }
    }

    /// Removes the objects in the folder `prefix` and below it; says how many there were.
    ///
    /// # Errors
    /// See [`BucketError`]; some objects may be gone by then.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<u64, BucketError> {
        if prefix.trim_matches('/').is_empty() {
            let reason = "removing everything takes naming it".to_owned();
            return Err(BucketError::Invalid { key: prefix.to_owned(), reason });
        }
        let path = self.path(prefix)?;
        self.stands().await?;
        let store = &self.shared.store;
        let found = Box::pin(store.list(Some(&path)).map_ok(|meta| meta.location));
        let removed: Vec<_> =
            store.delete_stream(found).try_collect().await.map_err(|error| self.error(prefix, error))?;
        Ok(removed.len() as u64)
    }

    fn path(&self, key: &str) -> Result<StorePath, BucketError> {
        StorePath::parse(format!("{}{key}", self.shared.prefix))
            .map_err(|error| BucketError::Invalid { key: key.to_owned(), reason: error.to_string() })
    }

    /// Whether a folder is the one that was opened.
    async fn stands(&self) -> Result<(), BucketError> {
        match &self.shared.mark {
            Some(mark) => mark.check(&self.shared.place).await,
            None => Ok(()),
        }
    }

    /// What was asked of an object. That there is none is only known of a folder that is the one that was opened.
    async fn found<T>(&self, key: &str, answer: object_store::Result<T>) -> Result<T, BucketError> {
        match answer.map_err(|error| self.error(key, error)) {
            Err(error @ BucketError::NotFound { .. }) => self.stands().await.and(Err(error)),
            other => other,
        }
    }

    fn error(&self, key: &str, error: object_store::Error) -> BucketError {
        from_object_store(&self.shared.place, key, error)
    }

    fn write_error(&self, key: &str, error: object_store::Error) -> BucketError {
        from_write(&self.shared.place, key, error)
    }
}

/// The error of a folder of which it is said what cannot be done with it.
fn in_folder(url: &BucketUrl, done: &str, source: io::Error) -> BucketError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            // The error of a file that was to be made names one that nobody knows.
            let source = source.kind();
            BucketError::Refused { place: url.to_string(), reason: format!("the folder cannot be {done}: {source}") }
        }
        _ => BucketError::io(url, source),
    }
}

fn corrupt_size(key: &str, expected: Stored, bytes: u64) -> BucketError {
    let reason = format!("it has {bytes} bytes, {} were written", expected.bytes);
    BucketError::Corrupt { key: key.to_owned(), reason }
}

fn corrupt_checksum(key: &str) -> BucketError {
    BucketError::Corrupt { key: key.to_owned(), reason: "its checksum is not that of what was written".to_owned() }
}
