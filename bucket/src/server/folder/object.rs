//! The file of one object: its content, and at the end what is known of it.
//!
//! ```text
//! content | attributes as JSON | length of the JSON: u32, little endian | MAGIC
//! ```
//!
//! One file, so that one rename puts content and attributes in place together; the content first, so that it streams
//! through and ranges need no shift.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use serde::{Deserialize, Serialize};

use super::FolderError;
use super::sync::is_absent;

/// The last bytes of every object's file; the number is the version of the format.
const MAGIC: [u8; 8] = *b"BUEOBJ1\n";
/// Bytes after the JSON.
const TAIL_BYTES: u64 = 4 + MAGIC.len() as u64;
/// Largest JSON: S3 takes 8 KiB of headers.
const INFO_BYTES_MAX: u64 = 64 << 10;

/// What is known of an object besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectInfo {
    /// What tells this content from others of its key; see `etag`.
    pub etag: String,
    /// When it was written: Unix time in milliseconds.
    pub modified_ms: i64,
    /// What the writer said of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// The upload whose parts it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// What the writer of an object said of it; given back to readers as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_disposition: Option<String>,
    pub content_language: Option<String>,
    pub cache_control: Option<String>,
    pub user: BTreeMap<String, String>,
}

/// An object, open for reading.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub info: ObjectInfo,
    /// Size of the content.
    pub bytes: u64,
    pub file: Arc<File>,
    path: PathBuf,
}

impl Object {
    /// Opens the file of an object; `None` where there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, FolderError> {
        let in_file = |source| FolderError::io(path, source);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(in_file(error)),
        };
        let corrupt = || FolderError::Corrupt { path: path.to_owned() };
        let file_bytes = file.metadata().map_err(in_file)?.len();
        let tail_at = file_bytes.checked_sub(TAIL_BYTES).ok_or_else(corrupt)?;
        let mut tail = [0; TAIL_BYTES as usize];
        file.read_exact_at(&mut tail, tail_at).map_err(in_file)?;
        let [a, b, c, d, magic @ ..] = tail;
        let info_bytes = u64::from(u32::from_le_bytes([a, b, c, d]));
        if magic != MAGIC || info_bytes > INFO_BYTES_MAX {
            return Err(corrupt());
        }
        let bytes = tail_at.checked_sub(info_bytes).ok_or_else(corrupt)?;
        let mut info = vec![0; info_bytes as usize];
        file.read_exact_at(&mut info, bytes).map_err(in_file)?;
        let info = serde_json::from_slice(&info).map_err(|_| corrupt())?;
        Ok(Some(Self { info, bytes, file: Arc::new(file), path: path.to_owned() }))
    }

    /// A piece of the content.
    pub(crate) fn read_range(&self, start: u64, length: usize) -> Result<Vec<u8>, FolderError> {
        let mut piece = Vec::with_capacity(length);
        while piece.len() < length {
            let place = start + piece.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(&mut piece), place) {
                Ok(0) => return Err(FolderError::io(&self.path, io::ErrorKind::UnexpectedEof.into())),
                Err(rustix::io::Errno::INTR) | Ok(_) => {}
                Err(error) => return Err(FolderError::io(&self.path, error.into())),
            }
        }
        piece.truncate(length);
        Ok(piece)
    }
}

/// Writes what comes after the content.
pub(super) fn write_info(file: &mut File, info: &ObjectInfo) -> io::Result<()> {
    let json = serde_json::to_vec(info)?;
    let length = u32::try_from(json.len()).ok().filter(|length| u64::from(*length) <= INFO_BYTES_MAX);
    let length = length.ok_or(io::ErrorKind::InvalidInput)?;
    let mut tail = json;
    tail.extend_from_slice(&length.to_le_bytes());
    tail.extend_from_slice(&MAGIC);
    file.write_all(&tail)
}
