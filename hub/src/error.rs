//! Errors of the hub, named by what the caller can do about them.

use protocol::api::{ApiError, ApiErrorKind, ErrorBody};
use protocol::{Diagnostic, Digest, JobId, RunId};

/// Why a request was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What was asked for is not there.
    #[error("{what} is not here")]
    NotFound {
        /// The thing, with its name: "run r0…", "job j7".
        what: String,
    },
    /// A job was asked for as one of a run that it is not of.
    #[error("job {job} is not of run {run}, but of run {of}")]
    OfAnotherRun {
        /// The job.
        job: JobId,
        /// The run that was named.
        run: RunId,
        /// The run that it is of.
        of: RunId,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The script is wrong.
    #[error("the script has errors")]
    Script {
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
        /// The same for people.
        rendered: String,
    },
    /// Files of the bundle must be sent first.
    #[error("{} files of the bundle must be sent first", .0.len())]
    MissingFiles(Vec<Digest>),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Over a limit.
    #[error("{what} has {size} {unit}, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        size: u64,
        /// What `size` counts.
        unit: &'static str,
        /// The most there may be.
        limit: u64,
        /// Name of the setting.
        setting: &'static str,
    },
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The store refused what it should not have refused.
    #[error("the queue's database failed: {source}")]
    Store {
        /// Whether it may be over when the request is repeated.
        passing: bool,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A change was not written; others that came with it may have been to blame.
    #[error("the queue could not be written: {0}")]
    Unwritten(String),
    /// What is in the store cannot be read.
    #[error("the queue's database holds something unreadable: {0}")]
    Unreadable(String),
}

impl QueueError {
    /// `what` is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// The kind on the wire.
    #[must_use]
    pub fn kind(&self) -> ApiErrorKind {
        match self {
            Self::NotFound { .. } | Self::OfAnotherRun { .. } => ApiErrorKind::NotFound,
            Self::Invalid(_) => ApiErrorKind::Invalid,
            Self::Script { .. } => ApiErrorKind::Script,
            Self::MissingFiles(_) => ApiErrorKind::MissingFiles,
            Self::Conflict(_) => ApiErrorKind::Conflict,
            Self::TooLarge { .. } => ApiErrorKind::TooLarge,
            Self::Unavailable(_) | Self::Unwritten(_) => ApiErrorKind::Unavailable,
            Self::Store { passing: true, .. } => ApiErrorKind::Unavailable,
            Self::Store { .. } | Self::Unreadable(_) => ApiErrorKind::Internal,
        }
    }

    /// Whether it may be over when the same is tried again.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Store { passing: true, .. } | Self::Unwritten(_) | Self::Unavailable(_))
    }

    /// Whether a statement failed in the database: nothing more can be done in its transaction.
    pub(crate) fn is_of_the_database(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    /// What each of those is told whose changes failed together.
    pub(crate) fn of_all(&self) -> Self {
        match self {
            Self::Store { source, .. } => Self::Unwritten(source.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OfAnotherRun { run, .. } => Some(format!("`bue status {run} --all` lists the jobs of {run}")),
            Self::TooLarge { setting, .. } => Some(format!("{setting} on the hub raises the limit")),
            Self::Store { passing: true, .. } | Self::Unwritten(_) => {
                Some("look at the database and its disk; the request can be repeated".to_owned())
            }
            _ => None,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(self) -> ErrorBody {
        let error = ApiError { kind: self.kind(), message: self.to_string(), hint: self.hint() };
        let mut body = ErrorBody { error, diagnostics: Vec::new(), rendered: None, missing: Vec::new() };
        match self {
            Self::Script { diagnostics, rendered } => {
                body.diagnostics = diagnostics;
                body.rendered = Some(rendered);
            }
            Self::MissingFiles(missing) => body.missing = missing,
            _ => {}
        }
        body
    }
}

/// Why a hub could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {source}", path.display())]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("cannot open the queue database {path}: {source}")]
    Open {
        /// Its file, or its address without the password.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address of the database is none.
    #[error("the PostgreSQL address of the queue cannot be used: {source}")]
    Address {
        /// Why; without what is secret in it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A copy of the queue cannot be made or used.
    #[error("cannot use {} as a copy of the queue: {source}", path.display())]
    Copy {
        /// The copy.
        path: std::path::PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is nothing to copy.
    #[error("there is no queue at {}", path.display())]
    NoQueue {
        /// Where it would be.
        path: std::path::PathBuf,
    },
    /// Hubs that share a database must give jobs out in one order.
    #[error("hubs that run on the queue database {path} have another REVERSE_PRIORITY")]
    OtherOrder {
        /// Its address without the password.
        path: String,
    },
    /// Another hub has it open.
    #[error("the queue database {} is in use by another hub", path.display())]
    InUse {
        /// Its file.
        path: std::path::PathBuf,
    },
    /// A newer version made it.
    #[error("the queue database {path} has schema {found}, this program knows up to {known}")]
    Newer {
        /// Its file, or its address without the password.
        path: String,
        /// Its schema version.
        found: i64,
        /// The newest one this program knows.
        known: i64,
    },
    /// The listening socket failed.
    #[error("failed to serve: {0}")]
    Serve(std::io::Error),
    /// A bug ended what writes the queue. What was answered is on disk; a new start goes on from there.
    #[error("what writes the queue ended by a bug: nothing more can be written, and the hub ends")]
    Writer,
}
