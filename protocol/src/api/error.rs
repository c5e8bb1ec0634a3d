//! Answers that are errors.

use serde::{Deserialize, Serialize};

use crate::{Diagnostic, Digest};

/// Body of every answer that is an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
    /// For a wrong script: all that is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// For a wrong script: the diagnostics as text for people, without colours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
    /// For an incomplete bundle: the files to send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Digest>,
}

/// An error of the hub's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For programs.
    pub kind: ApiErrorKind,
    /// For people: names the thing and the place.
    pub message: String,
    /// The way out, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of errors of the hub's interface, each with its status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiErrorKind {
    /// 401: no token, or a wrong one.
    Unauthorized,
    /// 404: no such route, run, job, bundle or file.
    NotFound,
    /// 410: the value is in the bucket no more, or damaged there.
    Lost,
    /// 400: the request itself is wrong. 405: its method.
    Invalid,
    /// 422: the script is wrong; see the diagnostics.
    Script,
    /// 409: files of the bundle must be sent first.
    MissingFiles,
    /// 409: it contradicts what is there.
    Conflict,
    /// 409: the lease is no longer the sender's.
    Stale,
    /// 413: over a limit that the message names.
    TooLarge,
    /// 503: try again later.
    Unavailable,
    /// 500: an error of the hub.
    Internal,
}
