//! Parts of an upload that are written where they will be in the object, so that nothing is copied when it is complete.
//!
//! ```text
//! uploads/<id>/size           what all parts have but the last: the size of the first one that came
//!              places         one file: part N begins at N - 1 times that size
//!              places.done    the same, while it is made the object
//!              00007.place    part 7 has its place: empty while it is written, then what is known of it
//! ```
//!
//! A place is given out once. What comes for it again, and whatever does not fit, is a file of its own, which goes before a place; an
//! upload of which any part is such a file is copied together.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::object::ObjectInfo;
use super::sync::{is_absent, sync_folder};
use super::upload::{PART_BYTES_MIN, PartInfo};

const SIZE_FILE: &str = "size";
const PLACES_FILE: &str = "places";
const DONE_FILE: &str = "places.done";
const PLACE_SUFFIX: &str = ".place";

/// A place that a part is written to.
#[derive(Debug)]
pub(super) struct Place {
    file: File,
    start: u64,
    bytes: u64,
    known: PathBuf,
}

/// What is known of a part that has its place.
#[derive(serde::Serialize, serde::Deserialize)]
struct Known {
    bytes: u64,
    info: ObjectInfo,
}

impl Place {
    /// The place of part `number` of `bytes` bytes in the upload that has this folder; `None` where it has none.
    pub(super) fn claim(upload: &Path, number: u32, bytes: u64) -> io::Result<Option<Self>> {
        let size = match read_size(upload)? {
            Some(size) => size,
            None if bytes < PART_BYTES_MIN => return Ok(None),
            None => settle_size(upload, bytes)?,
        };
        let start = number.checked_sub(1).and_then(|before| size.checked_mul(before.into()));
        let Some(start) = start.filter(|_| bytes <= size) else { return Ok(None) };
        let known = place_path(upload, number);
        // Before the file is opened: whoever makes it the object takes it away first, and looks for places then.
        match File::create_new(&known) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            outcome => drop(outcome?),
        }
        match File::options().write(true).open(upload.join(PLACES_FILE)) {
            Err(error) if is_absent(&error) => Ok(None),
            outcome => Ok(Some(Self { file: outcome?, start, bytes, known })),
        }
    }

    /// Writes a piece that comes after `before` bytes. What is beyond the place belongs to other parts.
    pub(super) fn write(&self, piece: &[u8], before: u64) -> io::Result<()> {
        if before + piece.len() as u64 > self.bytes {
            return Err(io::Error::other("the part is larger than it was said to be"));
        }
        self.file.write_all_at(piece, self.start + before)
    }

    /// Makes it a part that survives a loss of power.
    pub(super) fn finish(self, bytes: u64, info: ObjectInfo) -> io::Result<()> {
        self.file.sync_data()?;
        let mut known = File::options().write(true).open(&self.known)?;
        known.write_all(&serde_json::to_vec(&Known { bytes, info })?)?;
        known.sync_all()?;
        sync_folder(self.known.parent().unwrap_or(&self.known))
    }

    pub(super) fn path(&self) -> &Path {
        &self.known
    }
}

/// What is known of a part that is in its place.
pub(super) fn part(upload: &Path, number: u32) -> io::Result<Option<PartInfo>> {
    let text = match fs::read(place_path(upload, number)) {
        Err(error) if is_absent(&error) => return Ok(None),
        outcome => outcome?,
    };
    // Not written to its end.
    let Ok(Known { bytes, info }) = serde_json::from_slice(&text) else { return Ok(None) };
    Ok(Some(PartInfo { number, bytes, etag: info.etag, modified_ms: info.modified_ms }))
}

/// The number of the part that a file of an upload's folder is the place of.
pub(super) fn number_of(name: &str) -> Option<u32> {
    name.strip_suffix(PLACE_SUFFIX)?.parse().ok()
}

/// All places, to read part `number` there, and where it begins.
pub(super) fn open(upload: &Path, number: u32) -> io::Result<(File, u64)> {
    let file = File::open(upload.join(PLACES_FILE));
    let file = file.or_else(|_| File::open(upload.join(DONE_FILE)))?;
    let size = read_size(upload)?.ok_or(io::ErrorKind::NotFound)?;
    Ok((file, size * u64::from(number.saturating_sub(1))))
}

/// The file of all places as the content of an object, under a name in `drafts`; `None` where it is not these parts, one after the
/// other, and nothing else. [`put_back`] undoes it.
pub(super) fn take(upload: &Path, parts: &[PartInfo], drafts: &Path) -> io::Result<Option<NamedTempFile>> {
    let Some(size) = read_size(upload)? else { return Ok(None) };
    let Some((last, others)) = parts.split_last() else { return Ok(None) };
    let are_in_order = (1..).zip(parts).all(|(number, part)| part.number == number);
    if !are_in_order || others.iter().any(|part| part.bytes != size) || last.bytes > size {
        return Ok(None);
    }
    let (places, done) = (upload.join(PLACES_FILE), upload.join(DONE_FILE));
    match fs::rename(&places, &done) {
        Err(error) if is_absent(&error) => return Ok(None),
        outcome => outcome?,
    }
    // From here on nobody begins to write to it. Whoever did has a place.
    if count(upload)? != parts.len() {
        put_back(upload)?;
        return Ok(None);
    }
    let mut file = tempfile::Builder::new().make_in(drafts, |name| {
        fs::hard_link(&done, name)?;
        File::options().read(true).write(true).open(name)
    })?;
    let bytes = size * others.len() as u64 + last.bytes;
    file.as_file().set_len(bytes)?;
    io::Seek::seek(file.as_file_mut(), io::SeekFrom::Start(bytes))?;
    Ok(Some(file))
}

/// Has parts come to their places again.
pub(super) fn put_back(upload: &Path) -> io::Result<()> {
    match fs::rename(upload.join(DONE_FILE), upload.join(PLACES_FILE)) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// How many places were given out.
fn count(upload: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(upload)? {
        count += usize::from(entry?.file_name().to_str().and_then(number_of).is_some());
    }
    Ok(count)
}

fn place_path(upload: &Path, number: u32) -> PathBuf {
    upload.join(format!("{number:05}{PLACE_SUFFIX}"))
}

fn read_size(upload: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(upload.join(SIZE_FILE)) {
        Err(error) if is_absent(&error) => Ok(None),
        outcome => Ok(outcome?.parse().ok()),
    }
}

/// The size that all places have from now on: this one, where no other part was first.
fn settle_size(upload: &Path, bytes: u64) -> io::Result<u64> {
    match File::create_new(upload.join(PLACES_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut file = NamedTempFile::new_in(upload)?;
    file.write_all(bytes.to_string().as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(upload.join(SIZE_FILE)) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        _ => {}
    }
    read_size(upload)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}
