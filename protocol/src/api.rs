//! Requests and answers of the hub's HTTP interface, all JSON, all under `/v1`.
//!
//! | route | request → answer |
//! |---|---|
//! | `GET /v1/health` (no token needed) | → [`Health`] |
//! | `POST /v1/bundles` | [`Manifest`] → [`MissingFiles`] |
//! | `PUT /v1/files/{digest}` | bytes → 204 |
//! | `GET /v1/files/{digest}` | → bytes |
//! | `GET /v1/bundles/{digest}` | → [`Manifest`] |
//! | `GET /v1/plans/{digest}` | → [`PlanAnswer`] |
//! | `POST /v1/runs` | [`SubmitRequest`] → [`SubmitAnswer`]; 422 with diagnostics; 409 with missing files |
//! | `GET /v1/runs?limit=` | → `Vec<`[`RunView`]`>`, newest first |
//! | `GET /v1/runs/{run}?wait_ms=&version=` | → [`RunView`], at once or when its version has passed `version` |
//! | `GET /v1/runs/{run}/jobs?after=&state=&limit=` | → [`JobPage`]: all jobs and items, or the jobs in one state |
//! | `GET /v1/runs/{run}/results?limit=` | → [`ResultsAnswer`] |
//! | `POST /v1/runs/{run}/cancel` | → [`RunView`] |
//! | `POST /v1/runs/{run}/reset` | → [`ResetAnswer`]: its failed jobs start over |
//! | `POST /v1/runs/{run}/again` | → [`RunView`]: a new run of the same script and files; repeatable with an `Idempotency-Key` |
//! | `POST /v1/pause`, `POST /v1/resume` | [`Pause`] → 204 |
//! | `GET /v1/jobs/{job}` | → [`JobView`] |
//! | `POST /v1/jobs/{job}/reset` | → [`ResetAnswer`]: it and what follows it start over |
//! | `GET /v1/jobs/{job}/explain` | → [`Explanation`] |
//! | `GET /v1/jobs/{job}/log?attempt=` | → the log of that attempt, or of the newest one that left one, as text |
//! | `GET /v1/jobs/{job}/log/live?attempt=&running=&after=&wait_ms=` | → [`LogNews`](crate::log::LogNews), when there is more than that |
//! | `POST /v1/logs` | [`LogRequest`](crate::log::LogRequest) → 204 |
//! | `GET /v1/jobs/{job}/value?head=` | → the value as JSON; of a list or table the first elements |
//! | `GET /v1/status` | → [`StatusAnswer`] |
//! | `PUT /v1/secrets/{name}` | [`SecretRequest`](crate::secret::SecretRequest) → 204 |
//! | `DELETE /v1/secrets/{name}` | → 204 |
//! | `GET /v1/secrets` | → `Vec<`[`SecretView`](crate::secret::SecretView)`>`, by name |
//! | `POST /v1/lease` | [`LeaseRequest`] → [`LeaseAnswer`] |
//! | `POST /v1/lease/secrets` | [`SecretsRequest`](crate::secret::SecretsRequest) → [`SecretsAnswer`](crate::secret::SecretsAnswer); 409 without that lease |
//! | `POST /v1/settle` | [`SettleRequest`] → [`SettleAnswer`]; 409 where every settlement in it was stale |
//! | `POST /v1/beat` | [`BeatRequest`] → [`BeatAnswer`] |
//!
//! An error is an [`ErrorBody`] with a status code that fits its kind. All but the health check need
//! `Authorization: Bearer <token>`; a stored key makes `POST /v1/runs` repeatable.

use serde::{Deserialize, Serialize};

use crate::plan::{Language, Source, Step};
use crate::{
    Diagnostic, Digest, JobId, JobState, LeaseToken, Manifest, Outcome, RunId, RunState, SessionId, StepError, ValueRef,
};

/// Answer of the health check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// Always `bue-hub`.
    pub service: String,
    /// Version of the program.
    pub version: String,
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the hub.
    pub protocol: u32,
}

/// Files of a bundle that the hub does not have yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MissingFiles {
    /// Digests of the files to send.
    pub missing: Vec<Digest>,
}

/// Asks for a run of a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The files; all must have been sent before.
    pub manifest: Manifest,
    /// Path of the script in it.
    pub script: String,
    /// Idempotency key: a second request with the same key answers with the first one's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A run was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitAnswer {
    /// The run, as it stands.
    pub run: RunView,
    /// Whether an earlier request with the same key had made it.
    pub repeated: bool,
    /// What is doubtful about the script.
    #[serde(default)]
    pub warnings: Vec<Diagnostic>,
}

/// A run, summed up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// Path of the script in its bundle.
    pub script: String,
    /// Where it stands.
    pub state: RunState,
    /// Jobs by state; items are not counted.
    pub counts: Counts,
    /// When it was accepted: Unix time in milliseconds.
    pub created_ms: i64,
    /// When nothing more could run.
    #[serde(default)]
    pub finished_ms: Option<i64>,
    /// Grows with every change; for `?version=`.
    pub version: u64,
}

/// Numbers of jobs by state. Jobs of loop passes that are still to be made count as waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Some parent has not succeeded.
    pub waiting: u64,
    /// Can run now.
    pub available: u64,
    /// Will run again after a pause: pending answers and retries.
    pub pending: u64,
    /// A worker is at it.
    pub leased: u64,
    /// Done.
    pub succeeded: u64,
    /// Ended in an error.
    pub failed: u64,
    /// Will not run.
    pub cancelled: u64,
}

impl Counts {
    /// All jobs.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.waiting + self.available + self.pending + self.leased + self.succeeded + self.failed + self.cancelled
    }
}

/// One job, or one item of a loop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its run.
    pub run: RunId,
    /// The step's name, or `<variable>_<index>` of an item.
    pub name: String,
    /// Whether it is an item of a loop.
    #[serde(default)]
    pub item: bool,
    /// Whether it belongs to a loop's source.
    #[serde(default)]
    pub build: bool,
    /// Language of its step.
    pub language: Language,
    /// Its routing queue.
    pub scope: String,
    /// Its priority now.
    pub priority: i64,
    /// Time limit of one attempt.
    pub timeout_ms: u64,
    /// Retries its step allows.
    pub retries: u32,
    /// Where it stands.
    pub state: JobState,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Jobs and items whose values it takes, in order.
    pub parents: Vec<JobId>,
    /// When it may run, for a job that is available later: Unix time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_at_ms: Option<i64>,
    /// The worker that is at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<SessionId>,
    /// Its last error, also while it is being tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Its value, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueRef>,
}

/// Some jobs of a run, by id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// What to pass as `after` for the next page; `None` at the end.
    #[serde(default)]
    pub next: Option<JobId>,
}

/// What the calls of a script came to, in the order of the script, loops pass by pass.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultsAnswer {
    /// One entry for each call; loop sources excepted.
    pub results: Vec<ResultView>,
    /// Whether there are more than the limit allowed.
    pub truncated: bool,
}

/// What one call came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultView {
    /// Name of the pipe.
    pub pipe: String,
    /// The variable it was assigned to.
    pub variable: Option<String>,
    /// Its last job.
    pub job: JobId,
    /// Where that job stands.
    pub state: JobState,
    /// Its value, where it has one.
    #[serde(default)]
    pub value: Option<ValueRef>,
}

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

/// Jobs start over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResetAnswer {
    /// How many.
    pub jobs: u64,
}

/// Why a job is, or is not, running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job: JobView,
    /// What keeps it, the weightiest first; empty for a job that is running or has ended.
    pub reasons: Vec<Reason>,
}

/// One thing that keeps a job from running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// These parents have not succeeded.
    Parents(Vec<ParentView>),
    /// Something was paused.
    Paused(Pause),
    /// No worker heard from of late serves its scope.
    ScopeNotServed {
        /// The scope.
        scope: String,
    },
    /// No worker heard from of late, of those that serve its scope, can run steps of its language.
    EngineMissing {
        /// What it lacks: `duckdb` or `postgres`.
        engine: String,
    },
    /// Jobs that go before it in its scope.
    Behind {
        /// How many, at the least: counting stops at a bound.
        jobs: u64,
        /// Whether counting stopped at the bound.
        or_more: bool,
    },
    /// It waits for a time, after a pending answer or before a retry.
    Until {
        /// Unix time in milliseconds.
        from_ms: i64,
        /// Whether the last attempt was an error.
        after_error: bool,
    },
}

/// A parent that keeps a job waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
}

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
}

/// Answer to a beat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BeatAnswer {
    /// Leases that are no longer the worker's: it should stop these attempts.
    pub revoked: Vec<LeaseToken>,
    /// Time until the next beat is wanted.
    pub beat_ms: u64,
}

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
    /// 400: the request itself is wrong.
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
