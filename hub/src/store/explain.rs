//! Why a job is not running: answered from the state, in one snapshot.

use std::sync::Arc;

use protocol::api::{After, Explanation, JobView, ParentView, Pause, Reason};
use protocol::{JobId, JobState};

use super::row::{ReadyKey, job_number};
use super::rows::Rows;
use super::{Store, views};
use crate::error::QueueError;

/// Jobs that go first are counted up to this number.
const BEHIND_MAX: i64 = 10_000;

impl Store {
    /// Why a job is, or is not, running; whether a worker serves its scope is not known here.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, QueueError> {
        let plans = Arc::clone(&self.plans);
        let options = self.options;
        self.read(move |rows| {
            let job = views::job(rows, &plans, id)?;
            let mut reasons = Vec::new();
            match (job.state, job.available_at_ms) {
                (JobState::Waiting, _) => reasons.push(Reason::Parents(open_parents(rows, &plans, &job)?)),
                (JobState::Available, Some(from_ms)) => {
                    reasons.extend(pauses(rows, &job)?);
                    reasons.push(Reason::Until { from_ms, after: last(rows, &job)? });
                }
                (JobState::Available, None) => {
                    reasons.extend(pauses(rows, &job)?);
                    reasons.extend(behind(rows, &job, options.rank(job.priority))?);
                }
                _ => {}
            }
            Ok(Explanation { job, reasons })
        })
        .await
    }
}

/// What the attempt said after which a job waits.
fn last(rows: &mut dyn Rows, job: &JobView) -> Result<After, QueueError> {
    Ok(after(rows.last_outcome(job_number(job.id))?.as_deref()))
}

/// What a job waits for after an outcome.
pub(super) fn after(outcome: Option<&str>) -> After {
    match outcome {
        Some("error") => After::Error,
        Some("release") => After::Release,
        _ => After::Pending,
    }
}

/// The parents of a job that have not succeeded.
pub(super) fn open_parents(
    rows: &mut dyn Rows,
    plans: &super::plans::PlanCache,
    job: &JobView,
) -> Result<Vec<ParentView>, QueueError> {
    let run = views::find_run(rows, &job.run)?;
    let plan = plans.get(rows, run.plan)?;
    let mut ids: Vec<i64> = Vec::new();
    for parent in job.parents.iter().map(|parent| job_number(*parent)) {
        if !ids.contains(&parent) {
            ids.push(parent);
        }
    }
    let parents = views::views(rows, &job.run, &plan, &ids)?.into_iter();
    let open = parents.filter(|parent| parent.state != JobState::Succeeded);
    Ok(open.map(|parent| ParentView { job: parent.id, name: parent.name, state: parent.state }).collect())
}

fn pauses(rows: &mut dyn Rows, job: &JobView) -> Result<Vec<Reason>, QueueError> {
    let concerns = |what: &Pause| match what {
        Pause::Everything => true,
        Pause::Scope(scope) => *scope == job.scope,
        Pause::Run(run) => *run == job.run,
    };
    Ok(rows.pauses()?.into_iter().filter(concerns).map(Reason::Paused).collect())
}

fn behind(rows: &mut dyn Rows, job: &JobView, rank: i64) -> Result<Option<Reason>, QueueError> {
    let id = job_number(job.id);
    let run = views::find_run(rows, &job.run)?.number;
    let Some(scope) = rows.scope(&job.scope)? else { return Ok(None) };
    let count = rows.behind(scope, ReadyKey { rank, run, age: id, entry: id }, BEHIND_MAX)?;
    Ok(count.map(|count| Reason::Behind { jobs: u64::try_from(count).unwrap_or(0), or_more: count == BEHIND_MAX }))
}
