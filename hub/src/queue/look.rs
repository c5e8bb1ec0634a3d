//! Looking at the queue: use cases that change nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::api::{Explanation, JobPage, JobView, Reason, ResultsAnswer, RunView, ScopeView, StatusAnswer};
use protocol::{JobId, JobState, RunId};

use super::Queue;
use crate::error::QueueError;

/// Pause before the second look at a run for one who waits for it to change; each further one is twice as long.
const WATCH_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses: changes come in thousands a second, most of them of other runs.
const WATCH_PAUSE_MAX: Duration = Duration::from_millis(50);
/// Runs shown in the status.
const STATUS_RUNS: usize = 20;

impl Queue {
    /// One run; waits until its version has passed `version` where one is given.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn run(&self, id: RunId, version: Option<u64>, wait: Duration) -> Result<RunView, QueueError> {
        let deadline = Instant::now() + wait.min(self.limits().wait_max);
        let mut changes = self.shared.bell.runs.subscribe();
        let mut pause = Duration::ZERO;
        loop {
            changes.mark_unchanged();
            let run = self.store().run(id.clone()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if version.is_none_or(|version| run.version > version) || left.is_zero() {
                return Ok(run);
            }
            if tokio::time::timeout(left, changes.changed()).await.is_ok() {
                tokio::time::sleep(pause.min(left)).await;
                pause = (2 * pause).clamp(WATCH_PAUSE_MIN, WATCH_PAUSE_MAX);
            }
        }
    }

    /// The newest runs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunView>, QueueError> {
        self.store().runs(limit.min(self.limits().page_max)).await
    }

    /// Jobs and items of a run, a page at a time; where a state is given only the jobs in it.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn jobs(
        &self,
        run: RunId,
        after: Option<JobId>,
        state: Option<JobState>,
        limit: usize,
    ) -> Result<JobPage, QueueError> {
        self.store().jobs(run, after, state, limit.clamp(1, self.limits().page_max)).await
    }

    /// One job.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn job(&self, job: JobId) -> Result<JobView, QueueError> {
        self.store().job(job).await
    }

    /// What the calls of a run came to.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn results(&self, run: RunId, limit: usize) -> Result<ResultsAnswer, QueueError> {
        self.store().results(run, limit.min(self.limits().results_max)).await
    }

    /// Whether any worker can run a job because the database that its step names is kept here.
    async fn has_connection_of(&self, explanation: &Explanation) -> Result<bool, QueueError> {
        match self.store().connection_of(explanation.job.id).await? {
            Some(connection) => self.keeps_connection(&connection).await,
            None => Ok(false),
        }
    }

    /// Why a job is, or is not, running.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn explain(&self, job: JobId) -> Result<Explanation, QueueError> {
        let mut explanation = self.store().explain(job).await?;
        let scope = explanation.job.scope.clone();
        if explanation.job.state == JobState::Available && !self.shared.sessions.serve(&scope) {
            explanation.reasons.insert(0, Reason::ScopeNotServed { scope });
        } else if explanation.job.state == JobState::Available
            && !self.shared.sessions.can_run(&scope, explanation.job.language)
            && !self.has_connection_of(&explanation).await?
        {
            let engine = explanation.job.language.as_str().to_owned();
            explanation.reasons.insert(0, Reason::EngineMissing { engine });
        } else if explanation.job.state == JobState::Available
            && explanation.job.available_at_ms.is_none()
            && let Some(workers) = self.shared.sessions.all_full(&scope, explanation.job.language)
        {
            explanation.reasons.push(Reason::WorkersFull { workers });
        }
        Ok(explanation)
    }

    /// The hub at a glance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn status(&self) -> Result<StatusAnswer, QueueError> {
        let sessions = &self.shared.sessions;
        let loads: BTreeMap<_, _> = self.store().scopes().await?;
        let scopes = loads
            .into_iter()
            .map(|(scope, load)| ScopeView {
                served: sessions.serve(&scope),
                scope,
                available: load.available,
                leased: load.leased,
            })
            .collect();
        Ok(StatusAnswer {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            counts: self.store().counts().await?,
            scopes,
            workers: sessions.views(Instant::now()),
            runs: self.store().runs(STATUS_RUNS).await?,
            paused: self.store().paused().await?,
        })
    }
}
