//! Errors of the folder in the words of S3.

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::error::CORRUPT_OBJECT;
use crate::server::folder::{FolderError, KeyProblem};

impl From<FolderError> for S3Error {
    fn from(error: FolderError) -> Self {
        let code = match &error {
            FolderError::NoSuchBucket { .. } => S3ErrorCode::NoSuchBucket,
            FolderError::BucketNotEmpty { .. } => S3ErrorCode::BucketNotEmpty,
            FolderError::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
            FolderError::InvalidKey { problem: KeyProblem::TooLong | KeyProblem::SegmentTooLong } => {
                S3ErrorCode::KeyTooLongError
            }
            FolderError::InvalidKey { .. } => S3ErrorCode::InvalidArgument,
            FolderError::ConditionFailed => S3ErrorCode::PreconditionFailed,
            FolderError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            FolderError::InvalidPart { .. } => S3ErrorCode::InvalidPart,
            FolderError::NoParts => S3ErrorCode::MalformedXML,
            FolderError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            FolderError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            FolderError::OtherSize { .. } => S3ErrorCode::InvalidRequest,
            FolderError::TooLarge { .. } => S3ErrorCode::EntityTooLarge,
            FolderError::Io { source, .. } if is_full(source) => return storage_full(&error),
            FolderError::Corrupt { .. } => return corrupt(&error),
            FolderError::InUse { .. } | FolderError::Io { .. } => {
                // Only here must someone act; the caller learns no paths of this machine.
                tracing::error!(%error, "a request failed for a reason of this server");
                return Self::with_message(
                    S3ErrorCode::InternalError,
                    "the server could not use its folder; see its log",
                );
            }
        };
        Self::with_message(code, error.to_string())
    }
}

/// Whether the disk, or what its user may have of it, is used up.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Not a fault of the server, which S3 clients would try again.
fn corrupt(error: &FolderError) -> S3Error {
    tracing::error!(%error, "a damaged object was asked for");
    let code = S3ErrorCode::Custom(CORRUPT_OBJECT.into());
    let message = "the file of this object is damaged: write the object again, or delete it";
    let mut corrupt = S3Error::with_message(code, message);
    corrupt.set_status_code(StatusCode::UNPROCESSABLE_ENTITY);
    corrupt
}

fn storage_full(error: &FolderError) -> S3Error {
    tracing::error!(%error, "the disk is full");
    let code = S3ErrorCode::Custom("StorageFull".into());
    let mut full = S3Error::with_message(code, "the disk of the server is full");
    full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    full
}
