//! Multipart uploads: parts that come in any order and become one object, all or nothing.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::draft::now_ms;
use super::etag::Sum;
use super::object::{Attributes, Object, ObjectInfo};
use super::sync::{is_absent, make_folders, sync_folder};
use super::{Condition, Draft, Folder, FolderError, Target};

/// Smallest part that is not the last, as in S3.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// File that says what an upload is to become.
const UPLOAD_FILE: &str = "upload.json";
/// What the files of parts end with.
const PART_SUFFIX: &str = ".part";

/// What an upload is to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadInfo {
    pub bucket: String,
    pub key: String,
    #[serde(default)]
    pub attributes: Attributes,
    /// Unix time in milliseconds.
    pub initiated_ms: i64,
}

/// A part as the one who completes an upload names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    pub number: u32,
    pub etag: Option<String>,
}

/// A part as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartInfo {
    pub number: u32,
    pub bytes: u64,
    pub etag: String,
    pub modified_ms: i64,
}

impl Folder {
    /// Begins an upload; gives its id.
    pub(crate) fn begin_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Result<String, FolderError> {
        self.object_path(bucket, key)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| FolderError::io(&self.uploads(), io::Error::other(error)))?;
        let id = hex::encode(random);
        let folder = self.uploads().join(&id);
        let info = UploadInfo { bucket: bucket.to_owned(), key: key.to_owned(), attributes, initiated_ms: now_ms() };
        write_upload(&folder, &info).map_err(|source| FolderError::io(&folder, source))?;
        Ok(id)
    }

    /// Adds a part to an upload, in place of one with its number.
    pub(crate) fn add_part(
        &self,
        id: &str,
        name: Upload<'_>,
        number: u32,
        mut draft: Draft,
    ) -> Result<String, FolderError> {
        let (folder, _) = self.upload(id, name)?;
        let info = ObjectInfo { etag: draft.take_etag(), modified_ms: now_ms(), attributes: Attributes::default() };
        let file = draft.seal(&info)?;
        match file.persist(part_path(&folder, number)) {
            // Completed or aborted meanwhile.
            Err(error) if is_absent(&error.error) => return Err(FolderError::NoSuchUpload),
            outcome => outcome.map_err(|error| FolderError::io(&folder, error.error))?,
        };
        sync_folder(&folder).map_err(|source| FolderError::io(&folder, source))?;
        Ok(info.etag)
    }

    /// Makes the parts one object, in the order in which they are named.
    pub(crate) fn complete_upload(
        &self,
        id: &str,
        name: Upload<'_>,
        parts: &[PartName],
        condition: Condition,
        bytes_max: u64,
    ) -> Result<ObjectInfo, FolderError> {
        let (folder, info) = self.upload(id, name)?;
        check_parts(&folder, parts)?;
        let mut draft = self.draft(bytes_max)?;
        let mut etags = Sum::default();
        for name in parts {
            let part = open_part(&folder, name)?;
            draft.append(&part, 0, part.bytes)?;
            etags.update(part.info.etag.as_bytes());
        }
        let target = Target { bucket: info.bucket, key: info.key, attributes: info.attributes, condition };
        let object = self.publish(draft, &target, etags.etag(parts.len()))?;
        // The object stands; what cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&folder);
        Ok(object)
    }

    /// Forgets an upload and its parts.
    pub(crate) fn abort_upload(&self, id: &str, name: Upload<'_>) -> Result<(), FolderError> {
        let (folder, _) = self.upload(id, name)?;
        fs::remove_dir_all(&folder).map_err(|source| FolderError::io(&folder, source))
    }

    /// The parts of an upload by number.
    pub(crate) fn list_parts(&self, id: &str, name: Upload<'_>) -> Result<Vec<PartInfo>, FolderError> {
        let (folder, _) = self.upload(id, name)?;
        let in_folder = |source| FolderError::io(&folder, source);
        let mut parts = Vec::new();
        for entry in fs::read_dir(&folder).map_err(in_folder)? {
            let entry = entry.map_err(in_folder)?;
            let number = entry.file_name().to_str().and_then(|name| name.strip_suffix(PART_SUFFIX)?.parse().ok());
            let Some(number) = number else { continue };
            // `None` where the upload ends meanwhile.
            if let Some(part) = Object::open(&entry.path())? {
                let ObjectInfo { etag, modified_ms, .. } = part.info;
                parts.push(PartInfo { number, bytes: part.bytes, etag, modified_ms });
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// The uploads into a bucket that are neither complete nor aborted, with their ids, by key.
    pub(crate) fn list_uploads(&self, bucket: &str) -> Result<Vec<(String, UploadInfo)>, FolderError> {
        self.bucket(bucket)?;
        let mut uploads: Vec<_> = self
            .upload_ids()?
            .into_iter()
            .filter_map(|id| read_upload(&self.uploads().join(&id)).map(|info| (id, info)))
            .filter(|(_, info)| info.bucket == bucket)
            .collect();
        uploads.sort_by(|(one_id, one), (other_id, other)| (&one.key, one_id).cmp(&(&other.key, other_id)));
        Ok(uploads)
    }

    /// Removes uploads that were begun longer ago than `age_max`; says how many.
    pub(crate) fn sweep_uploads(&self, age_max: Duration) -> Result<usize, FolderError> {
        let mut swept = 0;
        for id in self.upload_ids()? {
            let folder = self.uploads().join(id);
            let modified = fs::metadata(&folder).and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if age.is_some_and(|age| age > age_max) {
                fs::remove_dir_all(&folder).map_err(|source| FolderError::io(&folder, source))?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn upload_ids(&self) -> Result<Vec<String>, FolderError> {
        let uploads = self.uploads();
        let in_uploads = |source| FolderError::io(&uploads, source);
        let entries = fs::read_dir(&uploads).map_err(in_uploads)?;
        entries.map(|entry| Ok(entry.map_err(in_uploads)?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// The folder of an upload, where id, bucket and key belong together.
    fn upload(&self, id: &str, name: Upload<'_>) -> Result<(PathBuf, UploadInfo), FolderError> {
        let well_formed = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.uploads().join(id);
        let info = if well_formed { read_upload(&folder) } else { None };
        match info {
            Some(info) if info.bucket == name.bucket && info.key == name.key => Ok((folder, info)),
            _ => Err(FolderError::NoSuchUpload),
        }
    }
}

/// What a request says an upload is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
}

/// Looks at the parts one after the other: there may be ten thousand, more than a process may have open.
fn check_parts(folder: &Path, names: &[PartName]) -> Result<(), FolderError> {
    if !names.is_sorted_by(|one, next| one.number < next.number) || names.is_empty() {
        return Err(FolderError::InvalidPartOrder);
    }
    let last = names.last().map(|name| name.number);
    for name in names {
        let part = open_part(folder, name)?;
        if part.bytes < PART_BYTES_MIN && Some(name.number) != last {
            return Err(FolderError::PartTooSmall { number: name.number, bytes_min: PART_BYTES_MIN });
        }
    }
    Ok(())
}

fn open_part(folder: &Path, name: &PartName) -> Result<Object, FolderError> {
    let invalid = || FolderError::InvalidPart { number: name.number };
    let part = Object::open(&part_path(folder, name.number))?.ok_or_else(invalid)?;
    let is_named = name.etag.as_ref().is_none_or(|etag| *etag == part.info.etag);
    if is_named { Ok(part) } else { Err(invalid()) }
}

fn part_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:05}{PART_SUFFIX}"))
}

fn write_upload(folder: &Path, info: &UploadInfo) -> io::Result<()> {
    make_folders(folder)?;
    let mut file = fs::File::create_new(folder.join(UPLOAD_FILE))?;
    file.write_all(&serde_json::to_vec(info)?)?;
    file.sync_all()?;
    sync_folder(folder)
}

/// `None` for one that is gone, or was begun only halfway when the process ended.
fn read_upload(folder: &Path) -> Option<UploadInfo> {
    serde_json::from_slice(&fs::read(folder.join(UPLOAD_FILE)).ok()?).ok()
}
