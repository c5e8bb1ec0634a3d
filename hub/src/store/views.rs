//! What is shown: runs, jobs, scopes. Read from a snapshot; nothing here writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::api::{AttemptView, Counts, JobPage, JobView, LogRef, RunView};
use protocol::{CallId, JobId, JobState, Language, RunId, RunState, StepError, ValueRef};

use super::Store;
use super::change::element_of;
use super::job::Job;
use super::plans::{PlanCache, PlanEntry};
use super::row::{Frame, LoopRow, PastAttempt, Run, Texts, job_id, job_number, value};
use super::rows::{Found, Rows};
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

impl Store {
    /// One run, with what is paused of it.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn run(&self, id: RunId) -> Result<RunView, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| {
            let run = find_run(rows, &id)?;
            let paused = super::pause::of_run(rows, &plans, &run)?;
            Ok(RunView { paused, ..run_view(run) })
        })
        .await
    }

    /// The newest runs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunView>, QueueError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |rows| Ok(rows.newest_runs(limit)?.into_iter().map(run_view).collect())).await
    }

    /// Runs that ended from `from_ms` on and before `until_ms`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs_ended(&self, from_ms: i64, until_ms: i64) -> Result<Vec<RunView>, QueueError> {
        self.read(move |rows| Ok(rows.runs_ended(from_ms, until_ms)?.into_iter().map(run_view).collect())).await
    }

    /// Jobs of all runs by state.
    ///
    /// # Errors
    /// The database failed.
    pub async fn counts(&self) -> Result<Counts, QueueError> {
        self.read(|rows| rows.totals()).await
    }

    /// Scopes with jobs that are ready or leased.
    ///
    /// # Errors
    /// The database failed.
    pub async fn scopes(&self) -> Result<BTreeMap<String, ScopeLoad>, QueueError> {
        self.read(|rows| {
            let mut loads: BTreeMap<String, ScopeLoad> = BTreeMap::new();
            for (scope, count) in rows.ready_counts()? {
                loads.entry(scope).or_default().available = count;
            }
            for (scope, count) in rows.lease_counts()? {
                loads.entry(scope).or_default().leased = count;
            }
            Ok(loads)
        })
        .await
    }

    /// Jobs and items of a run after `after`, in the order in which they were made, block by block; where a state is given only the
    /// jobs in it.
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
        let plans = Arc::clone(&self.plans);
        let states = state.map(State::behind).unwrap_or_default();
        let pick = move |rows: &mut dyn Rows, run, after, most| rows.page(run, after, &states, most);
        self.read(move |rows| page(rows, &plans, &run, after, limit, &pick)).await
    }

    /// Jobs of a run after `after`, in the same order, of which an attempt left a log.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn logged_jobs(&self, run: RunId, after: Option<JobId>, limit: usize) -> Result<JobPage, QueueError> {
        let plans = Arc::clone(&self.plans);
        let pick = |rows: &mut dyn Rows, run, after, most| rows.logged(run, after, most);
        self.read(move |rows| page(rows, &plans, &run, after, limit, pick)).await
    }

    /// The run that a job is of.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn run_of_job(&self, id: JobId) -> Result<RunId, QueueError> {
        self.read(move |rows| {
            let job = rows.jobs(&[job_number(id)])?.into_iter().next();
            let run = job.map(|job| rows.run(job.run)).transpose()?.flatten();
            run.map(|run| run.id).ok_or_else(|| QueueError::not_found(format!("job {id}")))
        })
        .await
    }

    /// One job or item, with the history of its attempts.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn job(&self, id: JobId) -> Result<JobView, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| job(rows, &plans, id)).await
    }

    /// The log of an attempt, or of a job's newest settled attempt that left one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn log(&self, id: JobId, attempt: Option<u32>) -> Result<Option<LogRef>, QueueError> {
        self.read(move |rows| {
            let text = rows.log(job_number(id), attempt)?;
            text.map(|text| {
                serde_json::from_str(&text).map_err(|error| QueueError::Unreadable(format!("a log: {error}")))
            })
            .transpose()
        })
        .await
    }
}

/// A run by its id.
pub(super) fn find_run(rows: &mut dyn Rows, id: &RunId) -> Result<Run, QueueError> {
    rows.run_by_id(id)?.ok_or_else(|| QueueError::not_found(format!("run {id}")))
}

pub(super) fn run_view(run: Run) -> RunView {
    let state = match (run.finished_ms, run.cancelled, run.counts.failed) {
        (None, ..) => RunState::Running,
        (Some(_), true, _) => RunState::Cancelled,
        (Some(_), false, 0) => RunState::Succeeded,
        (Some(_), false, _) => RunState::Failed,
    };
    RunView {
        id: run.id,
        script: run.script,
        state,
        counts: run.counts,
        created_ms: run.created_ms,
        finished_ms: run.finished_ms,
        pinned: run.pinned,
        paused: Vec::new(),
        version: run.version,
    }
}

fn page(
    rows: &mut dyn Rows,
    plans: &PlanCache,
    id: &RunId,
    after: Option<JobId>,
    limit: usize,
    pick: impl Fn(&mut dyn Rows, i64, (i64, i64), i64) -> Found<Vec<i64>>,
) -> Result<JobPage, QueueError> {
    let run = find_run(rows, id)?;
    let plan = plans.get(rows, run.plan)?;
    let after = match after {
        Some(job) => rows.jobs(&[job_number(job)])?.first().map_or((0, job_number(job)), |job| (job.frame, job.id)),
        None => (0, 0),
    };
    let mut ids = pick(rows, run.number, after, i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1)?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().filter(|_| more).map(|last| job_id(*last));
    Ok(JobPage { jobs: views(rows, &run.id, &plan, &ids)?, next })
}

/// One job or item, with the history of its attempts.
pub(super) fn job(rows: &mut dyn Rows, plans: &PlanCache, id: JobId) -> Result<JobView, QueueError> {
    let absent = || QueueError::not_found(format!("job {id}"));
    let job = rows.jobs(&[job_number(id)])?.into_iter().next().ok_or_else(absent)?;
    let run = rows.run(job.run)?.ok_or_else(absent)?;
    let plan = plans.get(rows, run.plan)?;
    let view = views(rows, &run.id, &plan, &[job.id])?.into_iter().next().ok_or_else(absent)?;
    let history = rows.history(job.id)?.into_iter().map(|attempt| attempt_view(job.id, attempt));
    Ok(JobView { history: history.collect::<Result<_, _>>()?, ..view })
}

fn attempt_view(job: i64, attempt: PastAttempt) -> Result<AttemptView, QueueError> {
    Ok(AttemptView {
        number: attempt.number,
        worker: attempt.session,
        begun_ms: attempt.since_ms,
        ended_ms: attempt.settled_ms,
        outcome: attempt.outcome,
        error: error_of(job, attempt.error)?.map(|error| StepError { trace: None, ..error }),
        sandbox: attempt.sandbox,
    })
}

/// The error of a job, as it is stored.
pub(super) fn error_of(job: i64, text: Option<String>) -> Result<Option<StepError>, QueueError> {
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| QueueError::Unreadable(format!("an error of j{job}: {error}")))
}

/// Jobs and items of one run, as they are shown, in the order of `ids`.
pub(super) fn views(
    rows: &mut dyn Rows,
    run: &RunId,
    plan: &PlanEntry,
    ids: &[i64],
) -> Result<Vec<JobView>, QueueError> {
    let jobs: HashMap<i64, Job> = rows.jobs(ids)?.into_iter().map(|job| (job.id, job)).collect();
    let mut texts: HashMap<i64, Texts> = rows.texts(ids)?.into_iter().map(|texts| (texts.id, texts)).collect();
    let items = Items::of(rows, jobs.values())?;
    let present = ids.iter().filter_map(|id| jobs.get(id));
    present.map(|job| view(run, plan, job, texts.remove(&job.id), &items)).collect()
}

/// What items are named by, and have as their values.
struct Items {
    frames: HashMap<i64, Frame>,
    loops: HashMap<i64, LoopRow>,
}

impl Items {
    fn of<'a>(rows: &mut dyn Rows, jobs: impl Iterator<Item = &'a Job>) -> Result<Self, QueueError> {
        let frames: Vec<i64> = jobs.filter(|job| job.is_item()).map(|job| job.frame).collect();
        let frames: HashMap<i64, Frame> =
            rows.frames(&frames)?.into_iter().map(|frame| (frame.number, frame)).collect();
        let mut loops: Vec<i64> = frames.values().filter_map(|frame| frame.of).collect();
        loops.sort_unstable();
        loops.dedup();
        let loops = rows.loops(&loops)?.into_iter().map(|of| (of.number, of)).collect();
        Ok(Self { frames, loops })
    }

    fn find(&self, item: &Job) -> Result<(&LoopRow, i64), QueueError> {
        let frame = self.frames.get(&item.frame);
        let found = frame.and_then(|frame| Some((self.loops.get(&frame.of?)?, frame.pass)));
        found.ok_or_else(|| QueueError::Unreadable(format!("the loop of item j{} is gone", item.id)))
    }
}

fn view(run: &RunId, plan: &PlanEntry, job: &Job, texts: Option<Texts>, items: &Items) -> Result<JobView, QueueError> {
    let step = plan.step(job.step)?;
    let (text, error) = texts.map_or((None, None), |texts| (texts.value, texts.error));
    let (name, value) = if job.is_item() {
        let (of, pass) = items.find(job)?;
        let variable = plan.blueprints.variables.get(&of.of).map_or("item", String::as_str);
        (format!("{variable}_{pass}"), Some(element_of(of.value.as_deref(), pass)?))
    } else {
        (step.name.clone(), value_of(job, text.as_deref())?)
    };
    Ok(JobView {
        id: job_id(job.id),
        run: run.clone(),
        name,
        item: job.is_item(),
        build: job.call.is_some_and(|call| plan.is_source(CallId(call))),
        language: if job.is_item() { Language::Python } else { step.language },
        scope: step.settings.scope.clone(),
        priority: job.priority,
        timeout_ms: step.settings.timeout_ms,
        retries: step.settings.retries,
        state: job.state().on_the_wire(),
        attempts: job.standing().attempts(),
        parents: job.parents.iter().copied().map(job_id).collect(),
        available_at_ms: job.standing().from_ms(),
        worker: job.standing().held().map(|held| held.session),
        since_ms: job.standing().held().map(|held| held.since_ms),
        error: error_of(job.id, error)?,
        value,
        history: Vec::new(),
    })
}

fn value_of(job: &Job, text: Option<&str>) -> Result<Option<ValueRef>, QueueError> {
    text.filter(|_| job.state() == State::Succeeded).map(value).transpose()
}
