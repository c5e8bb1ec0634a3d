//! Rows as changes and views see them, whichever database keeps them.

use std::sync::Arc;

use protocol::api::Counts;
use protocol::{Digest, JobId, LeaseToken, LoopId, RunId, SessionId, ValueRef};

use crate::error::QueueError;
use crate::job::State;

/// One execution of a block: the script itself, or one pass of a loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub number: i64,
    pub run: i64,
    /// Number of the loop it is a pass of.
    pub of: Option<i64>,
    pub pass: i64,
    /// The pass's item.
    pub item: Option<i64>,
}

/// One loop in one frame.
#[derive(Debug, Clone)]
pub(crate) struct LoopRow {
    pub number: i64,
    pub run: i64,
    pub of: LoopId,
    pub frame: i64,
    pub source: i64,
    /// Known when its source has succeeded.
    pub length: Option<i64>,
    /// First pass still to be made.
    pub next: i64,
    /// Place of its entries in the ready index while there are passes to be made.
    pub age: Option<i64>,
    /// The list, as JSON of a [`ValueRef`].
    pub value: Option<Arc<str>>,
}

/// Place in the ready index of a scope: what can run goes out in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReadyKey {
    pub rank: i64,
    pub run: i64,
    pub age: i64,
    /// A job, or the negative number of a loop with passes still to be made.
    pub entry: i64,
}

/// What a job that is an input gives: its value, or for an item the place of its element.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Value(Option<Arc<str>>),
    Element { of: i64, pass: i64 },
}

/// A settled attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub job: i64,
    pub number: u32,
    pub token: LeaseToken,
    pub session: SessionId,
    pub since_ms: i64,
    pub settled_ms: i64,
    pub outcome: &'static str,
    pub error: Option<String>,
    pub log: Option<String>,
    pub sandbox: Option<String>,
}

/// A settled attempt, as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct PastAttempt {
    pub number: u32,
    pub session: SessionId,
    pub since_ms: i64,
    pub settled_ms: i64,
    pub outcome: String,
    pub error: Option<String>,
    pub sandbox: Option<String>,
}

/// What comes of an attempt that ended without a settlement.
#[derive(Debug, Clone)]
pub(crate) struct LateRow {
    pub job: i64,
    pub number: u32,
    pub log: Option<String>,
    pub sandbox: Option<String>,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub number: i64,
    pub id: RunId,
    pub plan: Digest,
    pub root: i64,
    pub script: String,
    pub created_ms: i64,
    pub finished_ms: Option<i64>,
    pub cancelled: bool,
    pub pinned: bool,
    pub version: u64,
    pub counts: Counts,
}

/// A run that is being made.
#[derive(Debug, Clone)]
pub(crate) struct NewRun {
    pub number: i64,
    pub id: RunId,
    pub key: Option<String>,
    pub plan: Digest,
    pub root: i64,
    pub script: String,
    pub created_ms: i64,
}

/// Numbers by which the counts of one run change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta {
    pub states: [i64; 7],
    /// Loops with passes still to be made.
    pub cursors: i64,
}

/// The next numbers to give out. Kept in the database, so that no number is given twice, whatever was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub job: i64,
    pub frame: i64,
    pub of_loop: i64,
    pub run: i64,
    pub scope: i64,
}

/// The texts of a job that views show.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub id: i64,
    pub value: Option<String>,
    pub error: Option<String>,
}

/// The last job of a call in a frame.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub frame: i64,
    pub call: u32,
    pub job: i64,
    pub state: State,
    pub value: Option<String>,
}

/// The id of a job on the wire.
pub(crate) fn job_id(number: i64) -> JobId {
    JobId(u64::try_from(number).unwrap_or(0))
}

/// The number of a job in the store; 0, which no job has, where it cannot be one.
pub(crate) fn job_number(id: JobId) -> i64 {
    i64::try_from(id.0).unwrap_or(0)
}

/// Reads a state number.
pub(crate) fn state(number: i64) -> Result<State, QueueError> {
    State::from_number(number).ok_or_else(|| QueueError::Unreadable(format!("job state {number}")))
}

/// Reads a run's id.
pub(crate) fn run_id(text: &str) -> Result<RunId, QueueError> {
    text.parse().map_err(|error| QueueError::Unreadable(format!("a run id: {error}")))
}

/// Reads a reference to a value.
pub(crate) fn value(text: &str) -> Result<ValueRef, QueueError> {
    serde_json::from_str(text).map_err(|error| QueueError::Unreadable(format!("a value: {error}")))
}

/// The text form of something that is stored as JSON.
pub(crate) fn json<T: serde::Serialize>(what: &T) -> Result<String, QueueError> {
    serde_json::to_string(what).map_err(|error| QueueError::Invalid(format!("cannot be stored: {error}")))
}
