//! References to the values that travel between steps: what kind of value it is, and where its bytes are.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Digest, JobId, RunId};

/// A value without, or with, its bytes: small ones travel inside, large ones lie in the bucket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValueRef {
    /// What it is.
    pub kind: ValueKind,
    /// Elements of a list, rows of a table, entries of a dict, characters of a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Where its bytes are.
    pub place: Place,
}

impl ValueRef {
    /// A value that is `null`: what a step without a `return` gives.
    #[must_use]
    pub fn null() -> Self {
        Self { kind: ValueKind::Null, length: None, place: Place::Json(RawValue::NULL.to_owned()) }
    }

    /// The number of passes of a loop over it, or `None` where it is no list.
    #[must_use]
    pub fn passes(&self) -> Option<u64> {
        match self.kind {
            ValueKind::List | ValueKind::Table => self.length,
            _ => None,
        }
    }
}

/// The job, and its run, whose value, or part of one, is the object of this key; `None` where it is no key of a value's.
#[must_use]
pub fn maker(key: &str) -> Option<(RunId, JobId)> {
    let mut parts = key.strip_prefix("runs/")?.split('/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Kinds of values, in the words of the errors that users read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// `None`
    Null,
    /// `True` or `False`
    Bool,
    /// An integer of any size, or a float
    Number,
    /// A text
    String,
    /// A list of anything
    List,
    /// A dict with string keys
    Dict,
    /// Rows with named columns: Arrow, or records that were stored as Arrow
    Table,
}

impl ValueKind {
    /// The word for it, with its article: "a list", "a dict".
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Null => "None",
            Self::Bool => "a bool",
            Self::Number => "a number",
            Self::String => "a string",
            Self::List => "a list",
            Self::Dict => "a dict",
            Self::Table => "a table",
        }
    }
}

/// Where the bytes of a value are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Here, as JSON, with key order and digits as the step gave them.
    Json(Box<RawValue>),
    /// Here, as an Arrow IPC stream in base64.
    Arrow(String),
    /// In the bucket.
    Object {
        /// Key under the bucket's root: `runs/<run>/<job>/<attempt>-<mark>`.
        key: String,
        /// How it is encoded.
        format: Format,
        /// Size of the object.
        bytes: u64,
        /// Checksum of the object; verified when it is read.
        sha256: Digest,
        /// The index of its pages, for a large list or table: single elements are read without the rest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pages: Option<PageIndex>,
    },
    /// One element of a list, or one row of a table (as a dict), named by its place in it.
    Element {
        /// Where the list is.
        list: Box<Place>,
        /// Index from 0.
        index: u64,
    },
}

/// Where the pages of a large list or table are told: an object beside it, under its key and `.pages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageIndex {
    /// Size of that object.
    pub bytes: u64,
    /// Checksum of that object; verified when it is read.
    pub sha256: Digest,
}

/// Encodings of values in files and objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON document in UTF-8.
    Json,
    /// One Arrow IPC stream.
    Arrow,
}
