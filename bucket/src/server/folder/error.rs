//! What can go wrong with a folder of buckets.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::KeyProblem;

/// The folder did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("the folder {} is in use by another bucket server", .folder.display())]
    InUse { folder: PathBuf },
    #[error("the folder {} is gone: is its disk mounted?", .folder.display())]
    Gone { folder: PathBuf },
    #[error("there is no bucket `{bucket}`")]
    NoSuchBucket { bucket: String },
    #[error("the bucket `{bucket}` is not empty")]
    BucketNotEmpty { bucket: String },
    #[error("there is no object `{key}`")]
    NoSuchKey { key: String },
    #[error("the key cannot be used: {problem}")]
    InvalidKey { problem: KeyProblem },
    #[error("a condition of the request does not hold")]
    ConditionFailed,
    #[error("there is no such upload")]
    NoSuchUpload,
    #[error("part {number} is missing or not the one that was named")]
    InvalidPart { number: u32 },
    #[error("no part is named")]
    NoParts,
    #[error("parts are not named in ascending order")]
    InvalidPartOrder,
    #[error("part {number} has less than {bytes_min} bytes and is not the last")]
    PartTooSmall { number: u32, bytes_min: u64 },
    #[error("the parts have {bytes} bytes together, not {expected}")]
    OtherSize { bytes: u64, expected: u64 },
    #[error("the object is over the limit of {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("the file {} is not an object", .path.display())]
    Corrupt { path: PathBuf },
    #[error("failed to use {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl FolderError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
