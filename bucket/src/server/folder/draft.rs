//! An object that is being written. Nobody sees it until it is published; one that is dropped is gone.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::etag::{Sum, Summed};
use super::object::{Attributes, Object, ObjectInfo, write_info};
use super::places::Place;
use super::sync::{Naming, is_absent, make_folders};
use super::{Folder, FolderError, Upload};

/// How often a folder is made again that was removed, empty, just before an object came into it.
const FOLDER_TRIES_MAX: u32 = 100;
/// Of these, those without a pause before them, and how much longer each pause is than the one before: half a second in all.
const FOLDER_TRIES_AT_ONCE: u32 = 10;
const FOLDER_PAUSE: Duration = Duration::from_micros(120);

/// The object that a draft becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub bucket: String,
    pub key: String,
    pub attributes: Attributes,
    pub condition: Condition,
    /// The upload whose parts it is made of.
    pub upload: Option<String>,
}

/// What must hold for an object to be written or deleted; decided and done as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    /// There is no object of this key.
    IfAbsent,
    /// There is one, of any content.
    IfPresent,
    /// There is one with this ETag.
    IfMatch(String),
}

/// An object that is being written.
pub(crate) struct Draft {
    content: Content,
    sum: Sum,
    bytes: u64,
    bytes_max: u64,
}

/// Where it is written.
enum Content {
    /// Into a file of its own.
    File(NamedTempFile),
    /// To its place in an upload.
    Place(Place),
}

impl Content {
    fn path(&self) -> &Path {
        match self {
            Self::File(file) => file.path(),
            Self::Place(place) => place.path(),
        }
    }
}

impl Folder {
    /// Begins an object of at most `bytes_max` bytes.
    pub(crate) fn draft(&self, bytes_max: u64) -> Result<Draft, FolderError> {
        let drafts = self.drafts();
        let file = NamedTempFile::new_in(&drafts).map_err(|source| FolderError::io(&drafts, source))?;
        Ok(Draft { content: Content::File(file), sum: Sum::default(), bytes: 0, bytes_max })
    }

    /// Begins part `number` of an upload, of which it is known how long it will be.
    pub(crate) fn part_draft(
        &self,
        id: &str,
        name: Upload<'_>,
        number: u32,
        (bytes, bytes_max): (Option<u64>, u64),
    ) -> Result<Draft, FolderError> {
        let (folder, _) = self.upload(id, name)?;
        let place = match bytes {
            Some(bytes) => Place::claim(&folder, number, bytes),
            None => Ok(None),
        };
        let place = place.map_err(|error| match is_absent(&error) {
            true => FolderError::NoSuchUpload,
            false => FolderError::io(&folder, error),
        });
        match place? {
            Some(place) => Ok(Draft { content: Content::Place(place), sum: Sum::default(), bytes: 0, bytes_max }),
            None => self.draft(bytes_max),
        }
    }

    /// Makes a draft the object of its target. When this returns, it survives a crash and a loss of power.
    pub(crate) fn publish(&self, draft: Draft, target: &Target, etag: String) -> Result<ObjectInfo, FolderError> {
        let path = self.object_path(&target.bucket, &target.key)?;
        let (attributes, upload) = (target.attributes.clone(), target.upload.clone());
        let info = ObjectInfo { etag, modified_ms: now_ms(), attributes, upload };
        let file = draft.seal(&info, self.naming)?;
        self.publish_sealed(file, &path, target)?;
        Ok(info)
    }

    /// The same for a file that is whole.
    pub(super) fn publish_sealed(&self, file: NamedTempFile, path: &Path, target: &Target) -> Result<(), FolderError> {
        let guard = self.lock_key(path);
        self.check(path, &target.key, &target.condition)?;
        let file = place(file, path)?;
        drop(guard);
        let synced = self.naming.after(&file, path.parent().unwrap_or(path));
        synced.map_err(|source| FolderError::io(path, source))
    }

    /// Whether a condition holds for the object at `path`, which has this key. The key is locked.
    pub(super) fn check(&self, path: &Path, key: &str, condition: &Condition) -> Result<(), FolderError> {
        if *condition == Condition::None {
            return Ok(());
        }
        let present = Object::open(path)?;
        match (condition, present) {
            (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => Ok(()),
            (Condition::IfMatch(etag), Some(object)) if object.info.etag == *etag => Ok(()),
            (Condition::IfMatch(_) | Condition::IfPresent, None) => Err(FolderError::NoSuchKey { key: key.to_owned() }),
            _ => Err(FolderError::ConditionFailed),
        }
    }
}

/// Renames a file to its place, in a folder that a deletion may be removing at the same time.
fn place(mut file: NamedTempFile, path: &Path) -> Result<File, FolderError> {
    let in_place = |source| FolderError::io(path, source);
    let parent = path.parent().unwrap_or(path);
    for tried in 0..FOLDER_TRIES_MAX {
        // Whoever was overtaken so often lets the others pass.
        if tried > FOLDER_TRIES_AT_ONCE {
            std::thread::sleep(FOLDER_PAUSE * (tried - FOLDER_TRIES_AT_ONCE));
        }
        match make_folders(parent) {
            Err(error) if is_absent(&error) => continue,
            outcome => outcome.map_err(in_place)?,
        }
        match file.persist(path) {
            Err(error) if is_absent(&error.error) => file = error.file,
            outcome => return outcome.map_err(|error| in_place(error.error)),
        }
    }
    Err(in_place(io::ErrorKind::ResourceBusy.into()))
}

impl Draft {
    /// Appends to the content.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), FolderError> {
        let before = self.bytes;
        self.grow(piece.len() as u64)?;
        self.sum.update(piece);
        let written = match &mut self.content {
            Content::File(file) => file.write_all(piece),
            Content::Place(place) => place.write(piece, before),
        };
        written.map_err(|source| FolderError::io(self.content.path(), source))
    }

    /// Appends a range of another object's content.
    pub(crate) fn write_range(&mut self, object: &Object, start: u64, length: u64) -> Result<(), FolderError> {
        const PIECE_BYTES: u64 = 1 << 20;
        let end = start + length;
        let mut place = start;
        while place < end {
            let piece = object.read_range(place, (end - place).min(PIECE_BYTES) as usize)?;
            self.write(&piece)?;
            place += piece.len() as u64;
        }
        Ok(())
    }

    /// Appends a range of another object's content, by the kernel where it can. The ETag does not cover it.
    pub(crate) fn append(&mut self, source: &File, start: u64, length: u64) -> Result<(), FolderError> {
        self.grow(length)?;
        let Content::File(file) = &mut self.content else {
            return Err(FolderError::io(self.content.path(), io::ErrorKind::Unsupported.into()));
        };
        let mut source = source;
        // Nobody else reads this handle by its own position.
        let copied = source.seek(io::SeekFrom::Start(start)).and_then(|_| {
            let mut range = io::Read::take(source, length);
            io::copy(&mut range, file.as_file_mut())
        });
        match copied {
            Ok(copied) if copied == length => Ok(()),
            Ok(_) => Err(FolderError::io(file.path(), io::ErrorKind::UnexpectedEof.into())),
            Err(source) => Err(FolderError::io(file.path(), source)),
        }
    }

    /// What was written comes to; asked once, at the end.
    pub(crate) fn take_sum(&mut self) -> Summed {
        std::mem::take(&mut self.sum).end()
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn grow(&mut self, bytes: u64) -> Result<(), FolderError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max { Err(FolderError::TooLarge { bytes_max: self.bytes_max }) } else { Ok(()) }
    }

    /// Completes the file.
    fn seal(self, info: &ObjectInfo, naming: Naming) -> Result<NamedTempFile, FolderError> {
        match self.content {
            Content::File(file) => seal(file, info, naming),
            Content::Place(place) => Err(FolderError::io(place.path(), io::ErrorKind::Unsupported.into())),
        }
    }

    /// Makes it a part of an upload, at its place or as the file `path`.
    pub(super) fn become_part(self, info: ObjectInfo, path: &Path, naming: Naming) -> Result<(), FolderError> {
        let in_upload = |error: io::Error| match is_absent(&error) {
            // Completed or aborted meanwhile.
            true => FolderError::NoSuchUpload,
            false => FolderError::io(path, error),
        };
        match self.content {
            Content::Place(place) => place.finish(self.bytes, info).map_err(in_upload),
            Content::File(file) => {
                let file = seal(file, &info, naming)?.persist(path).map_err(|error| in_upload(error.error))?;
                naming.after(&file, path.parent().unwrap_or(path)).map_err(in_upload)
            }
        }
    }
}

/// Writes what is known of an object behind its content, and makes the file ready for its name.
pub(super) fn seal(mut file: NamedTempFile, info: &ObjectInfo, naming: Naming) -> Result<NamedTempFile, FolderError> {
    let written = write_info(file.as_file_mut(), info).and_then(|()| naming.before(file.as_file()));
    written.map_err(|source| FolderError::io(file.path(), source))?;
    Ok(file)
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
