//! Why a job is not running: answered from the state, in one snapshot.

use std::sync::Arc;

use protocol::api::{Explanation, JobView, ParentView, Pause, Reason};
use protocol::{JobId, JobState};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::pause;
use super::plans::PlanCache;
use super::views;
use crate::error::QueueError;

/// Jobs that go first are counted up to this number.
const BEHIND_MAX: i64 = 10_000;

impl SqliteStore {
    /// Why a job is, or is not, running; whether a worker serves its scope is not known here.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |connection| {
            let job = views::job(connection, &plans, id)?;
            let reasons = match (job.state, job.available_at_ms) {
                (JobState::Waiting, _) => vec![Reason::Parents(open_parents(connection, &plans, &job)?)],
                (JobState::Available, Some(from_ms)) => {
                    let mut reasons = pauses(connection, &job)?;
                    reasons.push(Reason::Until { from_ms, after_error: job.error.is_some() });
                    reasons
                }
                (JobState::Available, None) => {
                    let mut reasons = pauses(connection, &job)?;
                    reasons.extend(behind(connection, &job)?);
                    reasons
                }
                _ => Vec::new(),
            };
            Ok(Explanation { job, reasons })
        })
        .await
    }
}

fn open_parents(connection: &Connection, plans: &PlanCache, job: &JobView) -> Result<Vec<ParentView>, QueueError> {
    let mut open: Vec<ParentView> = Vec::new();
    for parent in &job.parents {
        let view = views::job(connection, plans, *parent)?;
        if view.state != JobState::Succeeded && open.iter().all(|known| known.job != view.id) {
            open.push(ParentView { job: view.id, name: view.name, state: view.state });
        }
    }
    Ok(open)
}

fn pauses(connection: &Connection, job: &JobView) -> Result<Vec<Reason>, QueueError> {
    let concerns = |what: &Pause| match what {
        Pause::Everything => true,
        Pause::Scope(scope) => *scope == job.scope,
        Pause::Run(run) => *run == job.run,
    };
    Ok(pause::read(connection)?.into_iter().filter(concerns).map(Reason::Paused).collect())
}

fn behind(connection: &Connection, job: &JobView) -> Result<Option<Reason>, QueueError> {
    let id = i64::try_from(job.id.0).unwrap_or(0);
    let key: Option<(i64, i64, i64, i64)> = connection
        .prepare_cached(
            "SELECT ready.scope, ready.rank, ready.run, ready.age FROM ready
             JOIN scopes ON scopes.number = ready.scope JOIN jobs ON jobs.id = ?1
             WHERE scopes.name = ?2 AND ready.run = jobs.run AND ready.rank IN (jobs.priority, -jobs.priority)
                 AND ready.age = ?1 AND ready.entry = ?1",
        )?
        .query_row(params![id, job.scope], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((scope, rank, run, age)) = key else { return Ok(None) };
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM ready WHERE scope = ?1 AND (rank, run, age, entry) < (?2, ?3, ?4, ?5) LIMIT ?6)",
        )?
        .query_row(params![scope, rank, run, age, id, BEHIND_MAX], |row| row.get(0))?;
    Ok(Some(Reason::Behind { jobs: u64::try_from(count).unwrap_or(0), or_more: count == BEHIND_MAX }))
}
