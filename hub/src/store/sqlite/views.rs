//! What is shown: runs, jobs, scopes. Read from a snapshot; nothing here writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::api::{Counts, JobPage, JobView, LogRef, RunView};
use protocol::{CallId, Digest, JobId, Language, LoopId, RunId, RunState, SessionId, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::lease::{job_id, value_of};
use super::passes::parents_of;
use super::plans::{PlanCache, PlanEntry};
use super::settle::state;
use crate::error::QueueError;
use crate::job::State;

/// Jobs and leases of one scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeLoad {
    /// Jobs that can run now.
    pub available: u64,
    /// Jobs that workers are at.
    pub leased: u64,
}

impl SqliteStore {
    /// One run.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn run(&self, id: RunId) -> Result<RunView, QueueError> {
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("{SELECT_RUN} WHERE id = ?1"))?
                .query_row([id.as_str()], run_columns)
                .optional()?
                .ok_or_else(|| QueueError::not_found(format!("run {id}")))?
        })
        .await
    }

    /// The newest runs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunView>, QueueError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{SELECT_RUN} ORDER BY number DESC LIMIT ?1"))?;
            let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], run_columns)?;
            rows.map(|row| row?).collect()
        })
        .await
    }

    /// Jobs of all runs by state.
    ///
    /// # Errors
    /// The database failed.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT total(n_waiting), total(n_ready), total(n_parked), total(n_leased), total(n_succeeded),
                         total(n_failed), total(n_cancelled) FROM runs",
                )?
                .query_row([], |row| {
                    let number = |place| row.get::<_, f64>(place).map(|number| number as u64);
                    Ok(Counts {
                        waiting: number(0)?,
                        available: number(1)?,
                        pending: number(2)?,
                        leased: number(3)?,
                        succeeded: number(4)?,
                        failed: number(5)?,
                        cancelled: number(6)?,
                    })
                })?)
        })
        .await
    }

    /// Scopes with jobs that are ready or leased.
    ///
    /// # Errors
    /// The database failed.
    pub async fn scopes(&self) -> Result<BTreeMap<String, ScopeLoad>, QueueError> {
        self.read(|connection| {
            let mut loads: BTreeMap<String, ScopeLoad> = BTreeMap::new();
            for (table, is_ready) in [("ready", true), ("leases", false)] {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT scopes.name, count(*) FROM {table} JOIN scopes ON scopes.number = {table}.scope GROUP BY 1"
                ))?;
                let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)))?;
                for row in rows {
                    let (name, count) = row?;
                    let load = loads.entry(name).or_default();
                    if is_ready { load.available = count } else { load.leased = count }
                }
            }
            Ok(loads)
        })
        .await
    }

    /// Jobs and items of a run after `after`, in the order in which they were made, block by block.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn jobs(&self, run: RunId, after: Option<JobId>, limit: usize) -> Result<JobPage, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |connection| jobs(connection, &plans, &run, after, limit)).await
    }

    /// One job or item.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn job(&self, id: JobId) -> Result<JobView, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |connection| job(connection, &plans, id)).await
    }

    /// The value of a job or item, where it has one.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn value(&self, id: JobId) -> Result<Option<ValueRef>, QueueError> {
        self.job(id).await.map(|job| job.value)
    }

    /// The log of a job's newest settled attempt, with the attempt's number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn log(&self, id: JobId) -> Result<Option<LogRef>, QueueError> {
        self.read(move |connection| {
            let text: Option<Option<String>> = connection
                .prepare_cached(
                    "SELECT log FROM attempts WHERE job = ?1 AND log IS NOT NULL ORDER BY number DESC LIMIT 1",
                )?
                .query_row([i64::try_from(id.0).unwrap_or(0)], |row| row.get(0))
                .optional()?;
            text.flatten()
                .map(|text| {
                    serde_json::from_str(&text).map_err(|error| QueueError::Unreadable(format!("a log: {error}")))
                })
                .transpose()
        })
        .await
    }
}

const SELECT_RUN: &str = "SELECT id, script, created_ms, finished_ms, cancelled, version,
    n_waiting, n_ready, n_parked, n_leased, n_succeeded, n_failed, n_cancelled FROM runs";

fn run_columns(row: &Row<'_>) -> rusqlite::Result<Result<RunView, QueueError>> {
    let text: String = row.get(0)?;
    let finished_ms: Option<i64> = row.get(3)?;
    let counts = Counts {
        waiting: row.get(6)?,
        available: row.get(7)?,
        pending: row.get(8)?,
        leased: row.get(9)?,
        succeeded: row.get(10)?,
        failed: row.get(11)?,
        cancelled: row.get(12)?,
    };
    let state = match (finished_ms, row.get::<_, bool>(4)?, counts.failed) {
        (None, ..) => RunState::Running,
        (Some(_), true, _) => RunState::Cancelled,
        (Some(_), false, 0) => RunState::Succeeded,
        (Some(_), false, _) => RunState::Failed,
    };
    let script = row.get(1)?;
    let (created_ms, version) = (row.get(2)?, row.get(5)?);
    Ok(super::submit::parse_run(text).map(|id| RunView { id, script, state, counts, created_ms, finished_ms, version }))
}

/// A job's columns.
struct RawJob {
    id: i64,
    run: i64,
    frame: i64,
    call: Option<u32>,
    step: u32,
    priority: i64,
    state: i64,
    attempts: u32,
    parents: String,
    from_ms: Option<i64>,
    error: Option<String>,
    session: Option<[u8; 8]>,
}

const SELECT_JOB: &str = "SELECT jobs.id, jobs.run, jobs.frame, jobs.call, jobs.step, jobs.priority, jobs.state,
    jobs.attempts, jobs.parents, jobs.from_ms, jobs.error, leases.session
    FROM jobs LEFT JOIN leases ON leases.job = jobs.id";

fn raw_job(row: &Row<'_>) -> rusqlite::Result<RawJob> {
    Ok(RawJob {
        id: row.get(0)?,
        run: row.get(1)?,
        frame: row.get(2)?,
        call: row.get(3)?,
        step: row.get(4)?,
        priority: row.get(5)?,
        state: row.get(6)?,
        attempts: row.get(7)?,
        parents: row.get(8)?,
        from_ms: row.get(9)?,
        error: row.get(10)?,
        session: row.get(11)?,
    })
}

fn jobs(
    connection: &Connection,
    plans: &PlanCache,
    run: &RunId,
    after: Option<JobId>,
    limit: usize,
) -> Result<JobPage, QueueError> {
    let (number, plan) = run_plan(connection, plans, run)?;
    let after_id = after.map_or(0, |job| i64::try_from(job.0).unwrap_or(i64::MAX));
    let frame: i64 = connection
        .prepare_cached("SELECT frame FROM jobs WHERE id = ?1")?
        .query_row([after_id], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT_JOB} WHERE jobs.run = ?1 AND (jobs.frame, jobs.id) > (?2, ?3) ORDER BY jobs.frame, jobs.id LIMIT ?4"
    ))?;
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX - 1);
    let rows = statement.query_map(params![number, frame, after_id, wanted + 1], raw_job)?;
    let mut jobs = Vec::new();
    let mut next = None;
    for row in rows {
        if jobs.len() >= limit {
            next = jobs.last().map(|job: &JobView| job.id);
            break;
        }
        jobs.push(job_view(connection, run, &plan, row?)?);
    }
    Ok(JobPage { jobs, next })
}

/// Number and plan of a run.
pub(super) fn run_plan(
    connection: &Connection,
    plans: &PlanCache,
    run: &RunId,
) -> Result<(i64, Arc<PlanEntry>), QueueError> {
    let (number, digest) = connection
        .prepare_cached("SELECT number, plan FROM runs WHERE id = ?1")?
        .query_row([run.as_str()], |row| Ok((row.get::<_, i64>(0)?, Digest(row.get(1)?))))
        .optional()?
        .ok_or_else(|| QueueError::not_found(format!("run {run}")))?;
    Ok((number, plans.get(connection, digest)?))
}

/// One job or item.
pub(super) fn job(connection: &Connection, plans: &PlanCache, id: JobId) -> Result<JobView, QueueError> {
    let number = i64::try_from(id.0).unwrap_or(0);
    let raw = connection
        .prepare_cached(&format!("{SELECT_JOB} WHERE jobs.id = ?1"))?
        .query_row([number], raw_job)
        .optional()?
        .ok_or_else(|| QueueError::not_found(format!("job {id}")))?;
    let (text, digest) = connection
        .prepare_cached("SELECT id, plan FROM runs WHERE number = ?1")?
        .query_row([raw.run], |row| Ok((row.get::<_, String>(0)?, Digest(row.get(1)?))))?;
    let run = super::submit::parse_run(text)?;
    let plan = plans.get(connection, digest)?;
    job_view(connection, &run, &plan, raw)
}

fn job_view(connection: &Connection, run: &RunId, plan: &PlanEntry, raw: RawJob) -> Result<JobView, QueueError> {
    let step = plan.step(raw.step)?;
    let now = state(raw.state)?;
    let item = raw.call.is_none();
    let value = if now == State::Succeeded { value_of(connection, raw.id)? } else { None };
    let error = raw
        .error
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|error| QueueError::Unreadable(format!("an error of j{}: {error}", raw.id)))?;
    Ok(JobView {
        id: job_id(raw.id),
        run: run.clone(),
        name: if item { item_name(connection, plan, raw.frame)? } else { step.name.clone() },
        item,
        build: raw.call.is_some_and(|call| plan.is_source(CallId(call))),
        language: if item { Language::Python } else { step.language },
        scope: step.settings.scope.clone(),
        priority: raw.priority,
        timeout_ms: step.settings.timeout_ms,
        retries: step.settings.retries,
        state: now.on_the_wire(),
        attempts: raw.attempts,
        parents: parents_of(&raw.parents)?.into_iter().map(job_id).collect(),
        available_at_ms: raw.from_ms,
        worker: raw.session.map(SessionId),
        error,
        value,
    })
}

fn item_name(connection: &Connection, plan: &PlanEntry, frame: i64) -> Result<String, QueueError> {
    let (of, pass): (u32, i64) = connection
        .prepare_cached(
            "SELECT loops.loop, frames.pass FROM frames JOIN loops ON loops.number = frames.loop WHERE frames.number = ?1",
        )?
        .query_row([frame], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let variable = plan.blueprints.variables.get(&LoopId(of)).map_or("item", String::as_str);
    Ok(format!("{variable}_{pass}"))
}
