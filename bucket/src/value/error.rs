//! Why a value cannot be read or stored.

use std::io;
use std::path::Path;

use crate::BucketError;
use crate::table::TableError;

/// A value cannot be read or stored.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The bucket did not do its part.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// It is no table, or one that cannot be shown.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It is not JSON.
    #[error("the value is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// It is too large.
    #[error("the value is over the limit of {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// An element was asked of something that has none.
    #[error("there is no element [{index}] in {kind}")]
    NotAList {
        /// Which, from 0.
        index: u64,
        /// What it was asked of, with its article.
        kind: &'static str,
    },
    /// An element was asked of a list that is shorter.
    #[error("there is no element [{index}] in a list of {length}")]
    NoElement {
        /// Which, from 0.
        index: u64,
        /// Length of the list.
        length: u64,
    },
    /// A process named a file for its value that it may not name.
    #[error("the file `{name}` of the value cannot be used: {reason}")]
    Output {
        /// What it named.
        name: String,
        /// Why not.
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

impl ValueError {
    /// Whether the same may succeed later, or on another machine, without anybody changing a setting or the value.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bucket(error) => error.is_transient(),
            Self::Io { .. } => true,
            _ => false,
        }
    }

    /// Whether it is the fault of how the bucket was named or of its keys: never of the value.
    #[must_use]
    pub fn is_misconfigured(&self) -> bool {
        matches!(self, Self::Bucket(error) if error.is_misconfigured())
    }

    /// Whether a file of this machine could not be read or written.
    pub(super) fn is_of_this_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Bucket(BucketError::Io { .. }))
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}
