//! What can go wrong with a bucket, named by what the caller can do about it.

use std::error::Error;
use std::io;

use object_store::client::HttpError;

/// The word of `bue bucket` for an object whose file is damaged.
pub(crate) const CORRUPT_OBJECT: &str = "CorruptObject";

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
    /// Nobody said who we are.
    #[error("there are no keys for the bucket {place}")]
    NoKeys {
        /// The bucket's URL.
        place: String,
    },
    /// Something answers there, and it is no bucket or has none of this name: someone must correct the address.
    #[error("{place} is not a bucket: {reason}")]
    NoBucket {
        /// The bucket's URL.
        place: String,
        /// What it answered.
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

    /// Whether it is the fault of how the bucket was named or of its keys: never of an object.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NoKeys { .. } | Self::NoBucket { .. })
    }

    pub(crate) fn io(path: impl std::fmt::Display, source: io::Error) -> Self {
        Self::Io { path: path.to_string(), source }
    }
}

/// What `error`, met at `key` of the bucket at `place`, means for the caller.
pub(crate) fn from_object_store(place: &str, key: &str, error: object_store::Error) -> BucketError {
    use object_store::Error as Store;
    let key = key.to_owned();
    if let Store::InvalidPath { source } = error {
        return BucketError::Invalid { key, reason: source.to_string() };
    }
    let answer = Answer::read(&innermost(&error));
    let refused = || BucketError::Refused { place: place.to_owned(), reason: answer.reason.clone() };
    match error {
        _ if answer.code == CORRUPT_OBJECT => BucketError::Corrupt { key, reason: "its file is damaged".to_owned() },
        _ if matches!(answer.code.as_str(), "NoSuchBucket" | "InvalidBucketName") => no_bucket(place, answer),
        // Of an object that is missing S3 says so in its own words.
        Store::NotFound { .. } if answer.is_foreign() => no_bucket(place, answer),
        Store::NotFound { .. } => BucketError::NotFound { key },
        Store::AlreadyExists { .. } | Store::Precondition { .. } => BucketError::Exists { key },
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => refused(),
        _ if matches!(answer.status, Some(401 | 403)) => refused(),
        other => from_other(place, key, &other, answer),
    }
}

/// What `error`, met when writing, means for the caller. A bucket never answers a write with "no such object", and
/// refuses one only in the words of S3: what does is no bucket.
pub(crate) fn from_write(place: &str, key: &str, error: object_store::Error) -> BucketError {
    let answer = Answer::read(&innermost(&error));
    match from_object_store(place, key, error) {
        // A repeated request to complete it met an upload that is complete, or was swept: the whole is to be written again.
        BucketError::NotFound { .. } if answer.code == "NoSuchUpload" => {
            BucketError::Unreachable { place: place.to_owned(), reason: answer.reason }
        }
        BucketError::NotFound { .. } => no_bucket(place, answer),
        // What came there was not what was sent.
        BucketError::Invalid { .. } if answer.code == "BadDigest" => {
            BucketError::Unreachable { place: place.to_owned(), reason: answer.reason }
        }
        BucketError::Invalid { .. } if answer.is_foreign() => no_bucket(place, answer),
        other => other,
    }
}

/// What `error`, met when asking whether a bucket is there, says of it.
pub(crate) fn from_check(place: &str, error: object_store::Error) -> BucketError {
    let answer = Answer::read(&innermost(&error));
    match from_object_store(place, "check", error) {
        BucketError::Invalid { reason, .. } if !answer.is_foreign() => {
            BucketError::Refused { place: place.to_owned(), reason }
        }
        BucketError::NotFound { .. } | BucketError::Exists { .. } | BucketError::Invalid { .. } => {
            no_bucket(place, answer)
        }
        other => other,
    }
}

fn no_bucket(place: &str, answer: Answer) -> BucketError {
    BucketError::NoBucket { place: place.to_owned(), reason: answer.reason }
}

/// Faults that object_store has no kind for: told apart by what lies under them.
fn from_other(place: &str, key: String, error: &object_store::Error, answer: Answer) -> BucketError {
    let unreachable = |reason| BucketError::Unreachable { place: place.to_owned(), reason };
    if find::<HttpError>(error).is_some() {
        return unreachable(answer.reason);
    }
    if let Some(source) = find::<io::Error>(error) {
        let source = source.raw_os_error().map_or_else(|| source.kind().into(), io::Error::from_raw_os_error);
        return if source.kind() == io::ErrorKind::PermissionDenied {
            BucketError::Refused { place: place.to_owned(), reason: format!("`{key}` in it: {source}") }
        } else {
            BucketError::Io { path: format!("`{key}` in {place}"), source }
        };
    }
    match answer.status {
        // Too slow, too many: these pass.
        Some(408 | 429) => unreachable(answer.reason),
        // A range that the object no longer has.
        Some(416) => BucketError::Corrupt { key, reason: answer.reason },
        Some(400..=499) => BucketError::Invalid { key, reason: answer.reason },
        Some(_) => unreachable(answer.reason),
        // A folder has no answers; what is not the system's fault is a file that lacks what is asked of it.
        None if place.starts_with("file://") => BucketError::Corrupt { key, reason: answer.reason },
        // It answered that all is well, with something that S3 never says.
        None => no_bucket(place, answer),
    }
}

/// What a service answered, as far as it can be told.
struct Answer {
    status: Option<u16>,
    /// S3's word for the error; empty where there is none.
    code: String,
    /// For people.
    reason: String,
}

impl Answer {
    /// Reads it from the text of an error: the type that holds it is private to object_store.
    fn read(text: &str) -> Self {
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let status = after("status code: ").and_then(|rest| rest.get(..3)?.parse().ok());
        let element = |name: &str| {
            let (content, _) = after(&format!("<{name}>"))?.split_once(&format!("</{name}>"))?;
            Some(content.to_owned())
        };
        let code = element("Code").unwrap_or_default();
        let reason = match (code.as_str(), element("Message")) {
            ("NoSuchBucket" | "InvalidBucketName", _) => "the service has none of this name".to_owned(),
            ("", _) => text.to_owned(),
            ("SignatureDoesNotMatch", None) => {
                "the service answered SignatureDoesNotMatch: the secret key does not belong to this access key"
                    .to_owned()
            }
            (code, None) => format!("the service answered {code}"),
            (code, Some(message)) => format!("the service answered {code}: {message}"),
        };
        Self { status, code, reason }
    }

    /// Whether a status came without the words that S3 gives with it.
    fn is_foreign(&self) -> bool {
        self.status.is_some() && self.code.is_empty()
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

/// The text of the deepest cause: the only one that says what happened rather than what was being done.
fn innermost(error: &(dyn Error + 'static)) -> String {
    /// Longest excerpt of a service's answer, in characters.
    const REASON_CHARACTERS_MAX: usize = 2_000;
    let text = chain(error).last().unwrap_or(error).to_string();
    text.chars().take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_was_completed_before_is_to_be_written_again() {
        let text = "Server returned non-2xx status code: 404 Not Found: <Error><Code>NoSuchUpload</Code>\
            <Message>gone</Message></Error>";
        let error = || object_store::Error::NotFound { path: "k".to_owned(), source: text.into() };
        assert!(matches!(from_write("s3://b", "k", error()), BucketError::Unreachable { .. }));
        let other = object_store::Error::NotFound { path: "k".to_owned(), source: "status code: 404".into() };
        assert!(matches!(from_write("s3://b", "k", other), BucketError::NoBucket { .. }));
    }

    #[test]
    fn a_range_that_an_object_lacks_is_a_fault_of_the_object() {
        let error = |text: &str| object_store::Error::Generic { store: "S3", source: text.into() };
        let text = "status code: 416 Range Not Satisfiable: <Error><Code>InvalidRange</Code></Error>";
        assert!(matches!(from_object_store("s3://b", "k", error(text)), BucketError::Corrupt { .. }));
    }

    #[test]
    fn an_answer_of_s3_is_read_for_people() {
        let text = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error>\
            <Code>SignatureDoesNotMatch</Code><Message>check your key</Message></Error>";
        let answer = Answer::read(text);
        assert_eq!((answer.status, answer.code.as_str()), (Some(403), "SignatureDoesNotMatch"));
        assert_eq!(answer.reason, "the service answered SignatureDoesNotMatch: check your key");
        let other = Answer::read("Connection refused (os error 111)");
        assert_eq!((other.status, other.reason.as_str()), (None, "Connection refused (os error 111)"));
    }
}
