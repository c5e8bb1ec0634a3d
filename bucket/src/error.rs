//! What can go wrong with a bucket, named by what the caller can do about it.

use std::error::Error;
use std::io;

use object_store::client::HttpError;

/// A bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// It may answer later: wait and try again.
    #[error("the bucket {place} cannot be reached: {reason}")]
    Unreachable {
        /// The bucket's URL.
        place: String,
        /// What happened, in the words of the system or the service.
        reason: String,
    },
    /// It answers and will not let us in: someone must correct credentials, rights or the bucket's name.
    #[error("the bucket {place} refused us: {reason}")]
    Refused {
        /// The bucket's URL.
        place: String,
        /// What happened, in the words of the service.
        reason: String,
    },
    /// There is no such object.
    #[error("there is no object `{key}` in the bucket")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// There is such an object already, and it was not to be replaced.
    #[error("there already is an object `{key}` in the bucket")]
    Exists {
        /// Its key.
        key: String,
    },
    /// The object is not the one that was written: trying again does not help.
    #[error("the object `{key}` in the bucket is corrupt: {reason}")]
    Corrupt {
        /// Its key.
        key: String,
        /// What differs.
        reason: String,
    },
    /// The object is larger than the caller allows.
    #[error("the object `{key}` of {bytes} bytes is over the limit of {bytes_max} bytes")]
    TooLarge {
        /// Its key.
        key: String,
        /// Its size.
        bytes: u64,
        /// What was allowed.
        bytes_max: u64,
    },
    /// The request can never succeed as it is.
    #[error("the bucket does not take `{key}`: {reason}")]
    Invalid {
        /// The key or prefix.
        key: String,
        /// Why.
        reason: String,
    },
    /// A file of this machine could not be read or written.
    #[error("failed to use {path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BucketError {
    /// Whether the same request may succeed later without anybody changing a setting or a value.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Io { .. })
    }

    pub(crate) fn io(path: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Io { path: path.to_string(), source }
    }
}

/// What `error`, met at `key` of the bucket at `place`, means for the caller.
pub(crate) fn from_object_store(place: &str, key: &str, error: object_store::Error) -> BucketError {
    use object_store::Error as Store;
    let place = place.to_owned();
    let key = key.to_owned();
    match error {
        Store::NotFound { .. } if error.to_string().contains("NoSuchBucket") => {
            BucketError::Refused { place, reason: "there is no such bucket".to_owned() }
        }
        Store::NotFound { .. } => BucketError::NotFound { key },
        Store::AlreadyExists { .. } | Store::Precondition { .. } => BucketError::Exists { key },
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            BucketError::Refused { place, reason: innermost(&error) }
        }
        Store::InvalidPath { source } => BucketError::Invalid { key, reason: source.to_string() },
        other => from_other(place, key, &other),
    }
}

/// Faults that object_store has no kind for: told apart by what lies under them.
fn from_other(place: String, key: String, error: &object_store::Error) -> BucketError {
    let reason = innermost(error);
    if find::<HttpError>(error).is_some() {
        return BucketError::Unreachable { place, reason };
    }
    if let Some(source) = find::<io::Error>(error) {
        let source = source.raw_os_error().map_or_else(|| io::Error::from(source.kind()), io::Error::from_raw_os_error);
        return if source.kind() == io::ErrorKind::PermissionDenied {
            BucketError::Refused { place, reason: source.to_string() }
        } else {
            BucketError::Io { path: format!("`{key}` in {place}"), source }
        };
    }
    // The type that holds the status is private to object_store: its text is what there is.
    let answered_4xx = reason.contains("status code: 4");
    if answered_4xx && !reason.contains("status code: 429") && !reason.contains("status code: 408") {
        return BucketError::Invalid { key, reason };
    }
    BucketError::Unreachable { place, reason }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

/// The text of the deepest cause: the only one that says what happened rather than what was being done.
fn innermost(error: &(dyn Error + 'static)) -> String {
    /// Longest excerpt of a service's answer in a message, in characters.
    const REASON_CHARACTERS_MAX: usize = 600;
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}
