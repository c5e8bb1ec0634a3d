//! Multipart uploads: parts that come in any order and become one object, all or nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::draft::{now_ms, seal};
use super::etag::Sum;
use super::object::{Attributes, Object, ObjectInfo};
use super::places;
use super::sync::{is_absent, make_folders, sync_folder};
use super::{Condition, Draft, Folder, FolderError, Target};

/// Smallest part that is not the last, as in S3.
pub(super) const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
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
    /// Whether its checksums are of the whole, and not of those of its parts.
    #[serde(default)]
    pub has_whole_checksum: bool,
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
    pub(crate) fn begin_upload(
        &self,
        name: Upload<'_>,
        attributes: Attributes,
        has_whole_checksum: bool,
    ) -> Result<String, FolderError> {
        let Upload { bucket, key } = name;
        self.object_path(bucket, key)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| FolderError::io(&self.uploads(), io::Error::other(error)))?;
        let id = hex::encode(random);
        let folder = self.uploads().join(&id);
        let (bucket, key, initiated_ms) = (bucket.to_owned(), key.to_owned(), now_ms());
        let info = UploadInfo { bucket, key, attributes, has_whole_checksum, initiated_ms };
        write_upload(&folder, &info).map_err(|source| FolderError::io(&folder, source))?;
        Ok(id)
    }

    /// Whether it was begun with a checksum of the whole; not where it is complete.
    pub(crate) fn has_whole_checksum(&self, id: &str, name: Upload<'_>) -> bool {
        self.upload(id, name).is_ok_and(|(_, info)| info.has_whole_checksum)
    }

    /// Adds a part to an upload, in place of one with its number.
    pub(crate) fn add_part(
        &self,
        id: &str,
        name: Upload<'_>,
        number: u32,
        draft: Draft,
        etag: String,
    ) -> Result<(), FolderError> {
        let (folder, _) = self.upload(id, name)?;
        let info = ObjectInfo { etag, modified_ms: now_ms(), attributes: Attributes::default(), upload: None };
        draft.become_part(info, &part_path(&folder, number), self.naming)
    }

    /// Makes the parts one object, in the order in which they are named. Where that has been done, as when the answer to a request was
    /// lost, it says so again as long as the object is there.
    pub(crate) fn complete_upload(
        &self,
        id: &str,
        name: Upload<'_>,
        parts: &[PartName],
        condition: Condition,
        (expected, bytes_max): (Option<u64>, u64),
    ) -> Result<ObjectInfo, FolderError> {
        // The first request may still be under way when it is asked again.
        let _turn = self.turns.take(id);
        if let Some(object) = self.completed(id, name, parts)? {
            if let Ok((folder, _)) = self.upload(id, name) {
                // Whoever completed it was ended before it could forget it. What cannot be removed now is swept later.
                let _ = self.forget_upload(&folder, id);
            }
            return Ok(object);
        }
        let (folder, info) = self.upload(id, name)?;
        let parts = find_parts(&folder, parts)?;
        let bytes = parts.iter().map(|part| part.info.bytes).fold(0, u64::saturating_add);
        if let Some(expected) = expected.filter(|expected| *expected != bytes) {
            return Err(FolderError::OtherSize { bytes, expected });
        }
        if bytes > bytes_max {
            return Err(FolderError::TooLarge { bytes_max });
        }
        let etag = etag_of(parts.iter().map(|part| part.info.etag.as_str()));
        let UploadInfo { bucket, key, attributes, .. } = info;
        let target = Target { bucket, key, attributes, condition, upload: Some(id.to_owned()) };
        let object = match self.publish_in_place(&folder, &parts, &target, &etag)? {
            Some(object) => object,
            None => {
                let mut draft = self.draft(bytes_max)?;
                for part in &parts {
                    let (file, start) = part.open(&folder)?;
                    draft.append(&file, start, part.info.bytes)?;
                }
                self.publish(draft, &target, etag)?
            }
        };
        // The object stands; what cannot be removed now is swept later.
        let _ = self.forget_upload(&folder, id);
        Ok(object)
    }

    /// Reads the parts of an upload, one after the other, in pieces; says whether there is such an upload.
    pub(crate) fn read_parts(
        &self,
        id: &str,
        name: Upload<'_>,
        parts: &[PartName],
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, FolderError> {
        let Ok((folder, _)) = self.upload(id, name) else { return Ok(false) };
        let mut piece = vec![0; 1 << 20];
        for part in find_parts(&folder, parts)? {
            let (file, start) = part.open(&folder)?;
            let mut read = 0;
            while read < part.info.bytes {
                let left = usize::try_from(part.info.bytes - read).unwrap_or(usize::MAX);
                let length = left.min(piece.len());
                let in_folder = |source| FolderError::io(&folder, source);
                file.read_exact_at(&mut piece[..length], start + read).map_err(in_folder)?;
                take(&piece[..length]);
                read += length as u64;
            }
        }
        Ok(true)
    }

    /// What an upload has become of these parts; it survives a loss of power.
    fn completed(&self, id: &str, name: Upload<'_>, parts: &[PartName]) -> Result<Option<ObjectInfo>, FolderError> {
        let path = self.object_path(name.bucket, name.key)?;
        let named: Option<Vec<&str>> = parts.iter().map(|part| part.etag.as_deref()).collect();
        let is_of_parts = |info: &ObjectInfo| named.is_none_or(|named| etag_of(named.into_iter()) == info.etag);
        let Some(info) = made_of(&path, id)?.filter(is_of_parts) else { return Ok(None) };
        let parent = path.parent().unwrap_or(&path);
        match sync_folder(parent) {
            Err(error) if !is_absent(&error) => Err(FolderError::io(parent, error)),
            _ => Ok(Some(info)),
        }
    }

    /// Makes the parts one object as they lie, where all have their places.
    fn publish_in_place(
        &self,
        folder: &Path,
        parts: &[Part],
        target: &Target,
        etag: &str,
    ) -> Result<Option<ObjectInfo>, FolderError> {
        if parts.iter().any(|part| !part.has_place) {
            return Ok(None);
        }
        let path = self.object_path(&target.bucket, &target.key)?;
        let in_folder = |source| FolderError::io(folder, source);
        let infos: Vec<PartInfo> = parts.iter().map(|part| part.info.clone()).collect();
        let Some(file) = places::take(folder, &infos, &self.drafts()).map_err(in_folder)? else { return Ok(None) };
        let (attributes, upload) = (target.attributes.clone(), target.upload.clone());
        let info = ObjectInfo { etag: etag.to_owned(), modified_ms: now_ms(), attributes, upload };
        let published = seal(file, &info, self.naming).and_then(|file| self.publish_sealed(file, &path, target));
        // What stands at its place already is not to be written to again.
        if published.is_err() && matches!(made_of(&path, target.upload.as_deref().unwrap_or_default()), Ok(None)) {
            places::put_back(folder).map_err(in_folder)?;
        }
        published.map(|()| Some(info))
    }

    /// Forgets an upload and its parts.
    pub(crate) fn abort_upload(&self, id: &str, name: Upload<'_>) -> Result<(), FolderError> {
        let _turn = self.turns.take(id);
        let (folder, _) = self.upload(id, name)?;
        self.forget_upload(&folder, id).map_err(|source| FolderError::io(&folder, source))
    }

    /// Removes an upload as one: what a crash leaves of it is no upload, and goes with the drafts.
    fn forget_upload(&self, folder: &Path, id: &str) -> io::Result<()> {
        let gone = self.drafts().join(format!("{id}.upload"));
        fs::rename(folder, &gone)?;
        fs::remove_dir_all(gone)
    }

    /// The parts of an upload by number.
    pub(crate) fn list_parts(&self, id: &str, name: Upload<'_>) -> Result<Vec<PartInfo>, FolderError> {
        let (folder, _) = self.upload(id, name)?;
        let in_folder = |source| FolderError::io(&folder, source);
        let mut parts = Vec::new();
        for entry in fs::read_dir(&folder).map_err(in_folder)? {
            let entry = entry.map_err(in_folder)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = name.strip_suffix(PART_SUFFIX).and_then(|number| number.parse().ok());
            let Some(number) = number.or_else(|| places::number_of(name)) else { continue };
            // `None` where the upload ends meanwhile, or the part is still written.
            parts.extend(find_part(&folder, number)?.map(|part| part.info));
        }
        parts.sort_by_key(|part| part.number);
        parts.dedup_by_key(|part| part.number);
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
            let folder = self.uploads().join(&id);
            let modified = fs::metadata(&folder).and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if age.is_some_and(|age| age > age_max) {
                self.forget_upload(&folder, &id).map_err(|source| FolderError::io(&folder, source))?;
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
    pub(super) fn upload(&self, id: &str, name: Upload<'_>) -> Result<(PathBuf, UploadInfo), FolderError> {
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

/// A part, and where it is.
struct Part {
    info: PartInfo,
    has_place: bool,
}

impl Part {
    /// A file that holds it, and where it begins.
    fn open(&self, folder: &Path) -> Result<(File, u64), FolderError> {
        let number = self.info.number;
        let opened = match self.has_place {
            true => places::open(folder, number),
            false => File::open(part_path(folder, number)).map(|file| (file, 0)),
        };
        opened.map_err(|source| FolderError::io(folder, source))
    }
}

/// The ETag of an object, by those of its parts.
fn etag_of<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> String {
    let (mut etags, count) = (Sum::default(), parts.len());
    parts.for_each(|etag| etags.update(etag.as_bytes()));
    etags.end().etag(count)
}

/// What is known of the object at a path, where it is one that this upload has become.
fn made_of(path: &Path, id: &str) -> Result<Option<ObjectInfo>, FolderError> {
    match Object::open(path) {
        // It is to be replaced.
        Err(FolderError::Corrupt { .. }) => Ok(None),
        object => Ok(object?.map(|object| object.info).filter(|info| info.upload.as_deref() == Some(id))),
    }
}

/// Looks at the parts one after the other: there may be ten thousand, more than a process may have open.
fn find_parts(folder: &Path, names: &[PartName]) -> Result<Vec<Part>, FolderError> {
    if names.is_empty() {
        return Err(FolderError::NoParts);
    }
    if !names.is_sorted_by(|one, next| one.number < next.number) {
        return Err(FolderError::InvalidPartOrder);
    }
    let last = names.last().map(|name| name.number);
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        let invalid = || FolderError::InvalidPart { number: name.number };
        let part = find_part(folder, name.number)?.ok_or_else(invalid)?;
        if name.etag.as_ref().is_some_and(|etag| *etag != part.info.etag) {
            return Err(invalid());
        }
        parts.push(part);
    }
    let is_too_small = |part: &&Part| part.info.bytes < PART_BYTES_MIN && Some(part.info.number) != last;
    match parts.iter().find(is_too_small) {
        Some(part) => Err(FolderError::PartTooSmall { number: part.info.number, bytes_min: PART_BYTES_MIN }),
        None => Ok(parts),
    }
}

/// A part; one that has a file of its own came after one that has its place.
fn find_part(folder: &Path, number: u32) -> Result<Option<Part>, FolderError> {
    if let Some(Object { info, bytes, .. }) = Object::open(&part_path(folder, number))? {
        let info = PartInfo { number, bytes, etag: info.etag, modified_ms: info.modified_ms };
        return Ok(Some(Part { info, has_place: false }));
    }
    let info = places::part(folder, number).map_err(|source| FolderError::io(folder, source))?;
    Ok(info.map(|info| Part { info, has_place: true }))
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

#[cfg(test)]
mod tests;
