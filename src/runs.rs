//! Runs as they can be looked at: behind a hub's address, or in the queue of this very process.

use protocol::api::{JobPage, ResultsAnswer, RunView};
use protocol::{JobId, JobState, RunId};

use crate::client::Client;
use crate::error::Result;

/// Jobs asked for at once.
pub const PAGE: usize = 1_000;

/// Somewhere runs are kept.
pub trait Runs {
    /// One run, when something of it has changed since `version`, or after a while.
    async fn run_after(&self, run: &RunId, version: u64) -> Result<RunView>;
    /// The next jobs of a run, block by block: all, or those in one state.
    async fn jobs(&self, run: &RunId, after: Option<JobId>, state: Option<JobState>) -> Result<JobPage>;
    /// What the calls of a run's script came to, the first `limit`.
    async fn results(&self, run: &RunId, limit: usize) -> Result<ResultsAnswer>;
    /// The value of a job, as JSON text.
    async fn value(&self, job: JobId) -> Result<String>;
    /// The value of a job, as JSON text for being drawn; of a list or table the first `count` elements.
    async fn head(&self, job: JobId, count: u64) -> Result<String>;
    /// How the user gets at the whole value of a job.
    fn way_to_value(&self, job: JobId) -> String;
    /// How the user gets at the results that were not shown.
    fn way_to_results(&self, run: &RunId) -> String;
    /// How the user gets at the log of a job, where there is a way.
    fn way_to_log(&self, job: JobId) -> Option<String>;
    /// How the user gets at all jobs that failed, where there is a way.
    fn way_to_failed(&self, run: &RunId) -> Option<String>;
    /// How the user is told why a run does not get on, where there is a way.
    fn way_to_reasons(&self, run: &RunId) -> Option<String>;
}

impl Runs for Client {
    async fn run_after(&self, run: &RunId, version: u64) -> Result<RunView> {
        Ok(Self::run_after(self, run, version).await?)
    }

    async fn jobs(&self, run: &RunId, after: Option<JobId>, state: Option<JobState>) -> Result<JobPage> {
        Ok(Self::jobs(self, run, after, state, PAGE).await?)
    }

    async fn results(&self, run: &RunId, limit: usize) -> Result<ResultsAnswer> {
        Ok(Self::results(self, run, 0, limit).await?)
    }

    async fn value(&self, job: JobId) -> Result<String> {
        Ok(Self::value(self, job).await?)
    }

    async fn head(&self, job: JobId, count: u64) -> Result<String> {
        Ok(Self::head(self, job, count).await?)
    }

    fn way_to_value(&self, job: JobId) -> String {
        format!("bue value {job}")
    }

    fn way_to_results(&self, run: &RunId) -> String {
        format!("`bue results {run} -b {}` gives all", self.address())
    }

    fn way_to_log(&self, job: JobId) -> Option<String> {
        Some(format!("bue logs {job} -b {}", self.address()))
    }

    fn way_to_failed(&self, run: &RunId) -> Option<String> {
        Some(format!("`bue status {run} --state failed -b {}`", self.address()))
    }

    fn way_to_reasons(&self, run: &RunId) -> Option<String> {
        Some(format!("`bue explain {run} -b {}`", self.address()))
    }
}
