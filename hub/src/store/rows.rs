//! What a database must be able to do for the queue, inside one transaction: read sets of rows, and write one [`Changes`].
//!
//! The use cases are written once, over this trait. A database brings only its SQL; each method asks for many rows at once, so that
//! one over a network needs few round trips.

use protocol::api::{Counts, Pause};
use protocol::{Digest, LeaseToken, RunId, SessionId};

use super::change::Changes;
use super::effects::Effects;
use super::job::Job;
use super::row::{Delta, End, Frame, Input, LateRow, LoopRow, Numbers, PastAttempt, ReadyKey, Run, Texts};
use super::secrets::Sealed;
use crate::error::QueueError;
use crate::job::State;

/// The answer of a database.
pub(crate) type Found<T> = Result<T, QueueError>;

/// One open transaction. What is not there is left out of an answer.
pub(crate) trait Rows:
    JobRows + LoopRows + IndexRows + OpenRows + LeaseRows + RunRows + KeptRows + SecretRows
{
    /// The next numbers to give out.
    fn numbers(&mut self) -> Found<Numbers>;
    /// Writes what a change came to.
    fn write(&mut self, changes: &Changes) -> Found<()>;
    /// Adds to the counts of runs; a run with nothing left that can run is finished.
    fn count(&mut self, deltas: &[(i64, Delta)], now_ms: i64) -> Found<()>;
    /// Tells the other hubs of this database, when the transaction is committed.
    fn announce(&mut self, effects: &Effects) -> Found<()>;
}

/// Jobs and items.
pub(crate) trait JobRows {
    /// Jobs and items, with their leases.
    fn jobs(&mut self, ids: &[i64]) -> Found<Vec<Job>>;
    /// Values and errors of jobs.
    fn texts(&mut self, ids: &[i64]) -> Found<Vec<Texts>>;
    /// What jobs and items give to those that take them as inputs.
    fn inputs(&mut self, ids: &[i64]) -> Found<Vec<(i64, Input)>>;
    /// Pairs of parent and child.
    fn children(&mut self, parents: &[i64]) -> Found<Vec<(i64, i64)>>;
    /// Jobs and items of a run after a frame and an id, block by block; where states are given only jobs in one of them.
    fn page(&mut self, run: i64, after: (i64, i64), states: &[State], limit: i64) -> Found<Vec<i64>>;
    /// The same of jobs of which an attempt left a log.
    fn logged(&mut self, run: i64, after: (i64, i64), limit: i64) -> Found<Vec<i64>>;
    /// The last jobs of the calls in some frames.
    fn ends(&mut self, run: i64, frames: &[i64]) -> Found<Vec<End>>;
}

/// Frames and loops.
pub(crate) trait LoopRows {
    /// Frames by number.
    fn frames(&mut self, numbers: &[i64]) -> Found<Vec<Frame>>;
    /// Loops by number.
    fn loops(&mut self, numbers: &[i64]) -> Found<Vec<LoopRow>>;
    /// Loops by the job whose value is their list.
    fn loops_of(&mut self, sources: &[i64]) -> Found<Vec<LoopRow>>;
    /// Loops of a run with passes still to be made.
    fn open_loops(&mut self, run: i64) -> Found<Vec<LoopRow>>;
    /// Captured calls of a frame with their last jobs.
    fn bindings(&mut self, frame: i64) -> Found<Vec<(u32, i64)>>;
    /// Frames of the passes of one loop of a frame, in order.
    fn passes(&mut self, frame: i64, of: u32, limit: i64) -> Found<Vec<i64>>;
}

/// Indexes of what can run, and what is paused.
pub(crate) trait IndexRows {
    /// What is paused.
    fn pauses(&mut self) -> Found<Vec<Pause>>;
    /// Adds to, and takes from, what is paused.
    fn set_pause(&mut self, what: &str, paused: bool) -> Found<bool>;
    /// The number of a scope.
    fn scope(&mut self, name: &str) -> Found<Option<i64>>;
    /// The ready index of a scope, in order, after a place in it.
    fn ready(&mut self, scope: i64, after: Option<ReadyKey>, limit: i64) -> Found<Vec<ReadyKey>>;
    /// Entries of a scope before a place, counted up to a bound; `None` where nothing stands at that place.
    fn behind(&mut self, scope: i64, key: ReadyKey, bound: i64) -> Found<Option<i64>>;
    /// Entries of the ready index by scope.
    fn ready_counts(&mut self) -> Found<Vec<(String, u64)>>;
    /// Leases by scope.
    fn lease_counts(&mut self) -> Found<Vec<(String, u64)>>;
    /// Parked jobs whose time has come.
    fn due(&mut self, now_ms: i64, limit: i64) -> Found<Vec<i64>>;
    /// When the first of the parked jobs is to be ready.
    fn next_due(&mut self) -> Found<Option<i64>>;
    /// Parked jobs with the times they wait for, in order, after a time and a job.
    fn parked(&mut self, after: (i64, i64), limit: i64) -> Found<Vec<(i64, i64)>>;
    /// Moves what could run of a run out of the ready index.
    fn hold(&mut self, run: i64) -> Found<()>;
    /// Moves it back.
    fn release(&mut self, run: i64) -> Found<()>;
}

/// What of a run has not ended, looked at within a bound: each asks for no more than so many rows, of however many runs.
pub(crate) trait OpenRows {
    /// What could run of a run in a scope, also where it is held back.
    fn entries_of(&mut self, run: i64, scope: i64, bound: i64) -> Found<Vec<OpenEntry>>;
    /// The job of a run that is leased longest, and since when.
    fn longest_leased(&mut self, run: i64, bound: i64) -> Found<Option<(i64, i64)>>;
    /// Parked jobs of a run among those whose time comes first.
    fn parked_of(&mut self, run: i64, bound: i64) -> Found<Vec<OpenParked>>;
    /// Waiting jobs of a run among its first and its last ones.
    fn waiting_of(&mut self, run: i64, bound: i64) -> Found<Vec<i64>>;
}

/// An entry of the ready index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenEntry {
    /// A job, or the negative number of a loop with passes still to be made.
    pub entry: i64,
    /// The step of a job.
    pub step: Option<u32>,
}

/// A parked job.
#[derive(Debug, Clone)]
pub(crate) struct OpenParked {
    pub job: i64,
    pub step: u32,
    pub from_ms: i64,
    /// What came of its newest settled attempt.
    pub outcome: Option<String>,
}

/// Leases and the history of attempts.
pub(crate) trait LeaseRows {
    /// Sessions that hold leases.
    fn sessions(&mut self) -> Found<Vec<SessionId>>;
    /// Leases of a session: job, token, since when.
    fn leases_of(&mut self, session: SessionId) -> Found<Vec<(i64, LeaseToken, i64)>>;
    /// Leases of a session whose time is over before `soon_ms`: job, token.
    fn leases_ending(&mut self, session: SessionId, soon_ms: i64) -> Found<Vec<(i64, LeaseToken)>>;
    /// Leases whose time is over when none counts from before `start_ms`; and when the next one's is.
    fn overdue(&mut self, now_ms: i64, start_ms: i64, limit: i64) -> Found<(Vec<i64>, Option<i64>)>;
    /// No lease was given after this time.
    fn date_leases_back(&mut self, latest_ms: i64) -> Found<u64>;
    /// Of attempts (job, number) those that were settled, with their tokens.
    fn settled(&mut self, attempts: &[(i64, u32)]) -> Found<Vec<(i64, u32, LeaseToken)>>;
    /// What came of the newest settled attempt of a job.
    fn last_outcome(&mut self, job: i64) -> Found<Option<String>>;
    /// Settled attempts of a job, by number.
    fn history(&mut self, job: i64) -> Found<Vec<PastAttempt>>;
    /// Adds logs and sandboxes to attempts of a session that lack them. Answers with the attempts to which anything was added.
    fn add_late(&mut self, session: SessionId, late: &[LateRow]) -> Found<Vec<(i64, u32)>>;
    /// The log of an attempt, or of the newest attempt that left one, as JSON.
    fn log(&mut self, job: i64, number: Option<u32>) -> Found<Option<String>>;
}

/// Runs, plans, bundles and files.
pub(crate) trait RunRows {
    /// Notes whether a run was cancelled as a whole.
    fn mark_cancelled(&mut self, run: i64, cancelled: bool) -> Found<()>;
    /// Cancelled runs with jobs that are open.
    fn half_cancelled(&mut self) -> Found<Vec<i64>>;
    /// A run by number.
    fn run(&mut self, number: i64) -> Found<Option<Run>>;
    /// A run by id.
    fn run_by_id(&mut self, id: &RunId) -> Found<Option<Run>>;
    /// A run by idempotency key.
    fn run_of_key(&mut self, key: &str) -> Found<Option<RunId>>;
    /// The newest runs.
    fn newest_runs(&mut self, limit: i64) -> Found<Vec<Run>>;
    /// Runs that ended in a time, from `from_ms` on and before `until_ms`.
    fn runs_ended(&mut self, from_ms: i64, until_ms: i64) -> Found<Vec<Run>>;
    /// Notes whether a run is kept whatever the bounds.
    fn pin(&mut self, run: i64, pinned: bool) -> Found<()>;
    /// Jobs of all runs by state.
    fn totals(&mut self) -> Found<Counts>;
    /// A plan's bundle and body.
    fn plan(&mut self, digest: Digest) -> Found<Option<(Digest, String)>>;
    /// The manifest of a bundle, as JSON.
    fn manifest(&mut self, digest: Digest) -> Found<Option<String>>;
    /// The content of a file.
    fn file(&mut self, digest: Digest) -> Found<Option<Vec<u8>>>;
    /// Those of some files that are stored.
    fn files_here(&mut self, digests: &[Digest]) -> Found<Vec<Digest>>;
    /// Stores a file; storing it again makes it young again.
    fn put_file(&mut self, digest: Digest, content: &[u8], now_ms: i64) -> Found<()>;
}

/// Deleting what is no longer kept.
pub(crate) trait KeptRows {
    /// Finished runs without a pin that are over one of the bounds: settled before, or more than so many newer ones of their state.
    fn expired(&mut self, what: Expired, limit: i64) -> Found<Vec<i64>>;
    /// Hides a run for good.
    fn retire(&mut self, run: i64) -> Found<()>;
    /// A run that was retired and is not deleted yet.
    fn retired(&mut self) -> Found<Option<(i64, RunId)>>;
    /// Deletes up to `limit` jobs of a run with all that belongs to them, and the run itself when there are none left. Answers with
    /// whether it is gone.
    fn delete_some(&mut self, run: i64, limit: i64) -> Found<bool>;
    /// Deletes plans that no run uses, and bundles that no plan does. Answers with the number of plans.
    fn delete_unused_plans(&mut self) -> Found<u64>;
    /// All bundles.
    fn bundles(&mut self) -> Found<Vec<Digest>>;
    /// Files that were stored before a time.
    fn files_from_before(&mut self, stored_before_ms: i64) -> Found<Vec<Digest>>;
    /// Deletes those of some files that were not stored anew since a time.
    fn delete_files(&mut self, digests: &[Digest], stored_before_ms: i64) -> Found<()>;
}

/// Sealed secrets.
pub(crate) trait SecretRows {
    /// All of them, by name.
    fn secrets(&mut self) -> Found<Vec<Sealed>>;
    /// Stores one in place of that of the same name.
    fn put_secret(&mut self, secret: &Sealed) -> Found<()>;
    /// Deletes one; answers with whether there was one.
    fn remove_secret(&mut self, name: &str) -> Found<bool>;
}

/// Which finished runs are no longer kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expired {
    pub state: Ended,
    pub finished_before_ms: i64,
    pub runs_max: i64,
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    Failed,
    Cancelled,
}
