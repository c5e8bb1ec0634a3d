//! The fleet at a glance, and what is held back.

use serde::{Deserialize, Serialize};

use super::{Counts, RunView};
use crate::{RunId, SessionId};

/// The hub at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// Version of the hub.
    pub version: String,
    /// Jobs of all unfinished and finished runs together.
    pub counts: Counts,
    /// Jobs that are available or leased, by scope.
    pub scopes: Vec<ScopeView>,
    /// Workers heard from of late.
    pub workers: Vec<WorkerView>,
    /// Newest runs first.
    pub runs: Vec<RunView>,
    /// What is paused.
    #[serde(default)]
    pub paused: Vec<Pause>,
}

/// One scope with work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScopeView {
    /// Its name.
    pub scope: String,
    /// Jobs that can run now.
    pub available: u64,
    /// Jobs that workers are at.
    pub leased: u64,
    /// Whether a worker heard from of late serves it.
    pub served: bool,
}

/// One worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its session.
    pub session: SessionId,
    /// What it said of itself.
    pub info: WorkerInfo,
    /// Time since it was last heard from.
    pub silent_ms: u64,
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerInfo {
    /// Name of its machine.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
    /// Jobs it runs at once.
    pub slots: u32,
    /// Jobs it is running.
    pub busy: u32,
    /// Scopes it serves, first ones first.
    pub scopes: Vec<String>,
    /// Its Python.
    pub python: String,
    /// The sandbox that its steps run in: `full`, `off`, or the layers it is without. Empty: not told.
    pub sandbox: String,
    /// What SQL steps it can run: `sqlite3`, `duckdb`, `postgres`, `postgres:<connection>`; empty: not said.
    pub engines: Vec<String>,
    /// Jobs it would take now: free slots, fewer where memory is short.
    pub free: u32,
    /// Memory that is available to it, in bytes; 0: not told.
    pub memory_available_bytes: u64,
    /// All its memory, in bytes.
    pub memory_bytes: u64,
    /// What its attempts wait for, or are handed back for, in a sentence: a bucket that is away, a disk that is full. Empty: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub trouble: String,
}

/// What is to be paused or resumed. Jobs that run go on; no new ones are leased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// All jobs.
    Everything,
    /// The jobs of one scope.
    Scope(String),
    /// The jobs of one run.
    Run(RunId),
}
