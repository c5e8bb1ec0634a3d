//! Bundles and runs: uploaded, looked at, explained.

use serde::{Deserialize, Serialize};

use super::Pause;
use crate::plan::Language;
use crate::{Diagnostic, Digest, JobId, JobState, Manifest, RunId, RunState, SessionId, StepError, ValueRef};

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
    /// It is kept whatever the bounds of the hub.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// What keeps further jobs of it from being started: it is paused itself, or one of its scopes, or everything. Only where one run is
    /// asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<Pause>,
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
    /// When the worker that is at it got it: Unix time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Its last error, also while it is being tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Its value, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueRef>,
    /// Attempts that are over and still kept, the first ones first. Only where one job is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<AttemptView>,
}

/// An attempt that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// Its number, from 1. One that is missing was never begun, or handed back, or is no longer kept.
    pub number: u32,
    /// The worker that was at it.
    pub worker: SessionId,
    /// When the worker got it: Unix time in milliseconds.
    pub begun_ms: i64,
    /// When it was over.
    pub ended_ms: i64,
    /// What came of it: `success`, `pending`, `reset`, `cancel`, `error` or `release`, as its worker said; `cancelled`, or `reset` with an
    /// error, where it was ended while it ran; `lost` with its worker.
    pub outcome: String,
    /// Its error, without the traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// The sandbox that it ran in; `None`: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
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
    /// Whether there are more than the limit allowed: `skip` asks for what comes after so many. A run that goes on may have other ones by then.
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

/// Jobs start over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResetAnswer {
    /// How many.
    pub jobs: u64,
    /// Loops over values of theirs whose passes stay as they are: an item keeps its value.
    #[serde(default)]
    pub loops_kept: u64,
}

/// Why a job is, or is not, running.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// The job.
    pub job: JobView,
    /// What keeps it, the weightiest first; empty for a job that is running or has ended.
    pub reasons: Vec<Reason>,
}

/// Why a run is, or is not, getting on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunExplanation {
    /// The run.
    pub run: RunView,
    /// Its jobs that have not ended, together with those that the same keeps; the ones nearest to their end first.
    pub open: Vec<OpenJobs>,
}

/// Jobs of a run that have not ended and have the same in their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenJobs {
    /// Where they stand.
    pub state: JobState,
    /// How many, at the least: looking stops at a bound.
    pub jobs: u64,
    /// Whether looking stopped at the bound, so that there may be more.
    #[serde(default)]
    pub or_more: bool,
    /// They are jobs of passes still to be made; the example is the job whose value their loop runs over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passes: bool,
    /// One of them, where one was found within the bound: of running ones the one that runs longest.
    #[serde(default)]
    pub example: Option<JobName>,
    /// When the worker got the example, for jobs that run: Unix time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// What keeps them, the weightiest first; parents are those of the example.
    pub reasons: Vec<Reason>,
}

/// A job with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobName {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
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
    /// No worker heard from of late that could run it has a free slot.
    WorkersFull {
        /// How many workers that are.
        workers: u64,
    },
    /// Workers that have it, or could run it, lack what they need.
    WorkersWait {
        /// How many workers that are.
        workers: u64,
        /// What they wait for, in a sentence.
        trouble: String,
    },
    /// It waits for a time.
    Until {
        /// Unix time in milliseconds.
        from_ms: i64,
        /// What its last attempt came to.
        after: After,
    },
}

/// What the last attempt of a job that waits for a time came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It said pending.
    Pending,
    /// It failed, and there are retries left.
    Error,
    /// Its worker handed it back for a while.
    Release,
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
