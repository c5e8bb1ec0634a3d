//! Between hub and workers: leases, what came of them, beats.

use serde::{Deserialize, Serialize};

use super::WorkerInfo;
use crate::plan::{Source, Step};
use crate::{Digest, JobId, LeaseToken, Outcome, RunId, SessionId, ValueRef};

/// Asks for work; answered at once when there is some, else when there is or the wait is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks.
    pub session: SessionId,
    /// Scopes in order: earlier ones go first.
    pub scopes: Vec<String>,
    /// How many jobs it can take.
    pub slots: u32,
    /// How many more it can take of steps that share an interpreter.
    #[serde(default)]
    pub shared_slots: u32,
    /// How long it will wait; the hub may answer earlier.
    pub wait_ms: u64,
    /// What the worker says of itself.
    #[serde(default)]
    pub info: WorkerInfo,
}

/// Work, or none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// At most as many as were asked for.
    pub leases: Vec<Lease>,
}

/// The right and the duty to run one attempt of one job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lease {
    /// Needed to settle it.
    pub token: LeaseToken,
    /// The job.
    pub job: JobId,
    /// Its run.
    pub run: RunId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Names the [`PlanAnswer`] with the step.
    pub plan: Digest,
    /// Index of the step in it.
    pub step: u32,
    /// Its priority now.
    pub priority: i64,
    /// Its arguments, in order.
    pub inputs: Vec<ValueRef>,
    /// Whether it takes a place for steps that share an interpreter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The job of the next step in its chain, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_job: Option<JobId>,
}

/// What a worker needs to know of a plan; never changes for a digest, so it may be kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// Digest of the bundle's manifest.
    pub bundle: Digest,
    /// Path of the script in the bundle.
    pub script: String,
    /// Sources of steps.
    pub sources: Vec<Source>,
    /// Steps.
    pub steps: Vec<Step>,
    /// For each of them the index of the one that takes its result and nothing else, wherever it is used; `None` where there is none, or
    /// there are several. Empty from a hub that does not tell.
    #[serde(default)]
    pub next: Vec<Option<u32>>,
}

/// Hands in what came of some attempts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SettleRequest {
    /// Who hands it in.
    pub session: SessionId,
    /// At most [`SETTLEMENTS_MAX`].
    pub settlements: Vec<Settlement>,
}

/// Most settlements in one request.
pub const SETTLEMENTS_MAX: usize = 1_000;

/// What came of one attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// Number of the attempt.
    pub attempt: u32,
    /// Token of its lease.
    pub token: LeaseToken,
    /// What came of it.
    pub outcome: Outcome,
    /// Whether the attempt left a log in the bucket.
    #[serde(default)]
    pub log: Option<LogRef>,
    /// The sandbox that it ran in, in the words of [`WorkerInfo::sandbox`]; `None` from a worker that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// Where the log of an attempt is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogRef {
    /// Here: a short one.
    Text(String),
    /// In the bucket.
    Object {
        /// Its key.
        key: String,
        /// Its size.
        bytes: u64,
    },
}

/// Answers to settlements, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SettleAnswer {
    /// One for each settlement.
    pub answers: Vec<Settled>,
}

/// What the hub made of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settled {
    /// It counts. A repeated request gets this answer too and changes nothing.
    Settled,
    /// The lease was no longer this worker's; nothing was changed.
    Stale,
}

/// Tells the hub that a worker lives, and what it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BeatRequest {
    /// Who beats.
    pub session: SessionId,
    /// Leases it holds; one that the hub gave and that is not here after a while was lost on the way.
    pub held: Vec<HeldLease>,
    /// What the worker says of itself.
    #[serde(default)]
    pub info: WorkerInfo,
}

/// One lease a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    /// The job.
    pub job: JobId,
    /// Token of the lease.
    pub token: LeaseToken,
    /// Its step does not run: it is yet to start, or has ended and its value waits for the bucket. None of that counts towards the
    /// time limit of the step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
}

/// Says that a session is over: its worker has handed in what it had, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodbyeRequest {
    /// Who ends.
    pub session: SessionId,
}

/// Answer to a beat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BeatAnswer {
    /// Leases that are no longer the worker's: it should stop these attempts.
    pub revoked: Vec<LeaseToken>,
    /// Time until the next beat is wanted.
    pub beat_ms: u64,
}
