//! Errors of the folder in the words of S3.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::error::CORRUPT_OBJECT;
use crate::server::folder::{FolderError, KeyProblem};

/// Time in which no more than one line is logged of each kind of trouble: clients try again, and there may be many.
const LINE_PAUSE: Duration = Duration::from_secs(10);

static FULL: Lines = Lines::new();
static GONE: Lines = Lines::new();
static OTHER: Lines = Lines::new();

/// Lines of one kind in the log.
struct Lines {
    /// When the last one was logged, and how many were not since.
    state: Mutex<(Option<Instant>, u64)>,
}

impl Lines {
    const fn new() -> Self {
        Self { state: Mutex::new((None, 0)) }
    }

    /// Whether a line is to be logged now: then, how many were not before it.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, unsaid) = &mut *state;
        if last.is_some_and(|last| now.saturating_duration_since(last) < LINE_PAUSE) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

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
            FolderError::Gone { .. } => return gone(&error),
            FolderError::InUse { .. } | FolderError::Io { .. } => {
                // Only here must someone act; the caller learns no paths of this machine.
                if let Some(unsaid) = OTHER.admit(Instant::now()) {
                    tracing::error!(%error, unsaid, "a request failed for a reason of this server");
                }
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

fn gone(error: &FolderError) -> S3Error {
    if let Some(unsaid) = GONE.admit(Instant::now()) {
        tracing::error!(%error, unsaid, "a request was refused");
    }
    S3Error::with_message(S3ErrorCode::ServiceUnavailable, "the server's folder is gone; see its log")
}

fn storage_full(error: &FolderError) -> S3Error {
    if let Some(unsaid) = FULL.admit(Instant::now()) {
        tracing::error!(%error, unsaid, "the disk is full");
    }
    let code = S3ErrorCode::Custom("StorageFull".into());
    let mut full = S3Error::with_message(code, "the disk of the server is full");
    full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_logged_now_and_then_with_how_many_were_not() {
        let (lines, start) = (Lines::new(), Instant::now());
        let admitted: Vec<_> = (0..25).filter_map(|second| lines.admit(start + Duration::from_secs(second))).collect();
        assert_eq!(admitted, [0, 9, 9]);
    }
}
