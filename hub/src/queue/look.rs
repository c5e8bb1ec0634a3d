//! Looking at the queue: use cases that change nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::api::{
    After, Explanation, JobPage, JobView, Reason, ResultsAnswer, RunExplanation, RunView, ScopeView, StatusAnswer,
    WorkerInfo,
};
use protocol::{JobAddress, JobId, JobState, RunId, SessionId};

use super::Queue;
use crate::error::QueueError;
use crate::store::Place;

/// Pause before the second look at a run for one who waits for it to change; each further one is twice as long.
const WATCH_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest of these pauses: changes come in thousands a second, most of them of other runs.
const WATCH_PAUSE_MAX: Duration = Duration::from_millis(50);
/// Things that workers wait for and that are told as reasons.
const TROUBLES_MAX: usize = 3;
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

    /// The job of this name.
    ///
    /// # Errors
    /// The name has a run, and the job is not of it.
    pub async fn find(&self, address: JobAddress) -> Result<JobId, QueueError> {
        let JobAddress { run: Some(run), job } = address else { return Ok(address.job) };
        let of = self.store().run_of_job(job).await?;
        if of == run { Ok(job) } else { Err(QueueError::OfAnotherRun { job, run, of }) }
    }

    /// One job.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn job(&self, job: JobId) -> Result<JobView, QueueError> {
        self.store().job(job).await
    }

    /// What the calls of a run came to, after the first `skip` of them.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn results(&self, run: RunId, skip: usize, limit: usize) -> Result<ResultsAnswer, QueueError> {
        self.store().results(run, skip, limit.min(self.limits().results_max)).await
    }

    /// Why a job is, or is not, running.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn explain(&self, job: JobId) -> Result<Explanation, QueueError> {
        let Explanation { job, mut reasons } = self.store().explain(job).await?;
        if job.state == JobState::Available {
            let connection = self.store().connection_of(job.id).await?;
            let place = Place { scope: job.scope.clone(), language: job.language, connection };
            self.add_reason_of_fleet(&place, &mut reasons).await?;
        }
        if let Some(worker) = job.worker {
            self.add_troubles(&mut reasons, |session, _| session == worker);
        }
        Ok(Explanation { job, reasons })
    }

    /// Why a run is, or is not, getting on. It costs the same however large the run is.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn explain_run(&self, run: RunId) -> Result<RunExplanation, QueueError> {
        let (mut explanation, places) = self.store().explain_run(run).await?;
        for (open, place) in explanation.open.iter_mut().zip(places) {
            if let Some(place) = place {
                self.add_reason_of_fleet(&place, &mut open.reasons).await?;
            }
            if open.state == JobState::Leased {
                self.add_troubles(&mut open.reasons, |_, _| true);
            }
        }
        Ok(explanation)
    }

    /// Adds what workers wait for.
    fn add_troubles(&self, reasons: &mut Vec<Reason>, concerns: impl Fn(SessionId, &WorkerInfo) -> bool) {
        let troubles = self.shared.sessions.troubles(concerns).into_iter().take(TROUBLES_MAX);
        reasons.extend(troubles.map(|(trouble, workers)| Reason::WorkersWait { workers, trouble }));
    }

    /// Adds what keeps jobs that could run from being given to a worker: that there is none for them weighs most, that all are busy least.
    async fn add_reason_of_fleet(&self, place: &Place, reasons: &mut Vec<Reason>) -> Result<(), QueueError> {
        let sessions = &self.shared.sessions;
        let Place { scope, language, connection } = place;
        let waits = reasons.iter().any(|reason| matches!(reason, Reason::Until { .. }));
        if reasons.iter().any(|reason| matches!(reason, Reason::Until { after: After::Release, .. })) {
            self.add_troubles(reasons, |_, info| info.scopes.contains(scope));
        }
        if !sessions.serve(scope) {
            reasons.insert(0, Reason::ScopeNotServed { scope: scope.clone() });
        } else if !sessions.can_run(scope, *language) && !self.keeps(connection.as_deref()).await? {
            reasons.insert(0, Reason::EngineMissing { engine: language.as_str().to_owned() });
        } else if !waits && let Some(workers) = sessions.all_full(scope, *language) {
            reasons.push(Reason::WorkersFull { workers });
            self.add_troubles(reasons, |_, info| info.scopes.contains(scope));
        }
        Ok(())
    }

    /// Whether any worker can run a step because the database that it names is kept here.
    async fn keeps(&self, connection: Option<&str>) -> Result<bool, QueueError> {
        match connection {
            Some(connection) => self.keeps_connection(connection).await,
            None => Ok(false),
        }
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
