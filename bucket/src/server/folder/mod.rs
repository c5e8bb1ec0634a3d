//! Objects in a folder of this machine: what the server keeps. It knows nothing of HTTP and S3's words.
//!
//! ```text
//! lock                        held by the one server that may use the folder
//! buckets/<bucket>/…          one file per object, see `layout` and `object`
//! drafts/                     objects that are being written
//! uploads/<id>/               multipart uploads: `upload.json` and the parts, see `places`
//! ```
//!
//! Every object is written as a draft and renamed to its place, with the disk told to keep both before anybody is told that it is there
//! (see `sync`), so that a reader, and whoever starts after a crash, finds either the old object or the new one, whole. All functions
//! block.

mod draft;
mod error;
mod etag;
mod layout;
mod listing;
mod object;
mod places;
mod sync;
#[cfg(test)]
mod tests;
mod turns;
mod upload;

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub(super) use draft::{Condition, Draft, Target};
pub(super) use error::FolderError;
pub(super) use layout::KeyProblem;
pub(super) use listing::{ListQuery, Listed, Page, Start};
pub(super) use object::{Attributes, Object, ObjectInfo};
use sync::Naming;
use turns::Turns;
pub(super) use upload::{PartName, Upload};

/// Locks that keys share: enough that two keys rarely meet.
const KEY_LOCKS: usize = 256;

/// A folder of buckets, open for this process alone.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    naming: Naming,
    /// Serialises changes of one key, so that a condition still holds when the change is made.
    key_locks: Vec<Mutex<()>>,
    hasher: RandomState,
    /// Of those who end an upload.
    turns: Turns,
    /// Released when the process ends, however it ends.
    _lock: File,
}

impl Folder {
    /// Opens or makes the folder, and removes what an earlier process left half written.
    pub(super) fn open(root: &Path) -> Result<Self, FolderError> {
        let in_root = |source| FolderError::io(root, source);
        sync::make_folders(root).map_err(in_root)?;
        let lock = File::create(root.join("lock")).map_err(in_root)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => FolderError::InUse { folder: root.to_owned() },
            TryLockError::Error(source) => in_root(source),
        })?;
        let folder = Self {
            root: root.to_owned(),
            naming: Naming::of(root).map_err(in_root)?,
            key_locks: (0..KEY_LOCKS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            turns: Turns::default(),
            _lock: lock,
        };
        let drafts = folder.drafts();
        if drafts.exists() {
            fs::remove_dir_all(&drafts).map_err(in_root)?;
        }
        for part in [drafts, folder.uploads(), folder.buckets()] {
            sync::make_folders(&part).map_err(in_root)?;
        }
        Ok(folder)
    }

    /// Makes a bucket; says whether it is new.
    pub(super) fn create_bucket(&self, bucket: &str) -> Result<bool, FolderError> {
        let path = self.bucket_path(bucket);
        if path.exists() {
            return Ok(false);
        }
        self.stands()?;
        sync::make_folders(&path).map_err(|source| FolderError::io(&path, source))?;
        Ok(true)
    }

    /// Removes an empty bucket.
    pub(super) fn delete_bucket(&self, bucket: &str) -> Result<(), FolderError> {
        let path = self.bucket(bucket)?;
        sync::remove_empty(&path).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty => FolderError::BucketNotEmpty { bucket: bucket.to_owned() },
            _ => FolderError::io(&path, source),
        })
    }

    /// Names of the buckets in order, and when each was made.
    pub(super) fn list_buckets(&self) -> Result<Vec<(String, SystemTime)>, FolderError> {
        self.stands()?;
        let path = self.buckets();
        let in_buckets = |source| FolderError::io(&path, source);
        let mut buckets = Vec::new();
        for entry in fs::read_dir(&path).map_err(in_buckets)? {
            let entry = entry.map_err(in_buckets)?;
            let metadata = entry.metadata().map_err(in_buckets)?;
            if let (true, Some(name)) = (metadata.is_dir(), layout::folder_segment(&entry.file_name())) {
                buckets.push((name, metadata.created().or_else(|_| metadata.modified()).map_err(in_buckets)?));
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    /// Opens an object for reading; it stays whole even when it is replaced meanwhile.
    pub(super) fn read(&self, bucket: &str, key: &str) -> Result<Object, FolderError> {
        let path = self.object_path(bucket, key)?;
        Object::open(&path)?.ok_or_else(|| FolderError::NoSuchKey { key: key.to_owned() })
    }

    /// Whether an object of this key could be written.
    pub(super) fn check_target(&self, bucket: &str, key: &str) -> Result<(), FolderError> {
        self.object_path(bucket, key).map(|_| ())
    }

    /// Removes an object; one that is not there is no error. After a loss of power, not a crash, it may be back.
    pub(super) fn delete(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), FolderError> {
        let bucket_path = self.bucket(bucket)?;
        let path = self.object_path(bucket, key)?;
        let _guard = self.lock_key(&path);
        self.check(&path, key, condition)?;
        match fs::remove_file(&path) {
            Ok(()) => sync::prune(&path, &bucket_path),
            Err(error) if sync::is_absent(&error) => {}
            Err(source) => return Err(FolderError::io(&path, source)),
        }
        Ok(())
    }

    fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    fn drafts(&self) -> PathBuf {
        self.root.join("drafts")
    }

    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn bucket_path(&self, bucket: &str) -> PathBuf {
        self.buckets().join(layout::folder_name(bucket))
    }

    /// The folder of a bucket that exists.
    pub(super) fn bucket(&self, bucket: &str) -> Result<PathBuf, FolderError> {
        let path = self.bucket_path(bucket);
        match path.is_dir() {
            true => Ok(path),
            false => self.stands().and_then(|()| Err(FolderError::NoSuchBucket { bucket: bucket.to_owned() })),
        }
    }

    /// Whether the folder itself is where it was: a disk may be unmounted.
    fn stands(&self) -> Result<(), FolderError> {
        match self.buckets().is_dir() {
            true => Ok(()),
            false => Err(FolderError::Gone { folder: self.root.clone() }),
        }
    }

    fn object_path(&self, bucket: &str, key: &str) -> Result<PathBuf, FolderError> {
        let bucket = self.bucket(bucket)?;
        let path = layout::object_path(key);
        path.map(|path| bucket.join(path)).map_err(|problem| FolderError::InvalidKey { problem })
    }

    fn lock_key(&self, path: &Path) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(path) as usize % self.key_locks.len();
        self.key_locks[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
