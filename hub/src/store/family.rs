//! What concerns a job and its relatives: cancelling what follows, starting a pipe over, cancelling a run.

use std::collections::BTreeSet;

use protocol::api::ResetAnswer;
use protocol::{ErrorKind, JobId, RunId, StepError};

use super::change::Change;
use super::job::Job;
use super::passes::{self, close_loops};
use super::row::job_number;
use super::settle::cut_short;
use super::{Store, views};
use crate::error::QueueError;
use crate::job::{Leased, Standing, State};

/// Jobs that are changed in one transaction where there may be a million of them.
const AT_ONCE: usize = 2_000;
/// Before the first job of a run.
const START: (i64, i64) = (i64::MIN, i64::MIN);
/// States of jobs that have not ended.
const OPEN: [State; 4] = [State::Waiting, State::Ready, State::Parked, State::Leased];

impl Store {
    /// Cancels everything of a run that has not ended. Of many jobs some are still open afterwards: then the run's number comes
    /// back, for [`Self::cancel_more`].
    ///
    /// # Errors
    /// There is no such run.
    pub async fn cancel_run(&self, run: RunId, now_ms: i64) -> Result<Option<i64>, QueueError> {
        self.write(move |change| cancel_run(change, &run, now_ms)).await
    }

    /// Cancels what is still open of a cancelled run, bit by bit, so that others come to their turns.
    ///
    /// # Errors
    /// The database failed.
    pub async fn cancel_more(&self, run: i64, now_ms: i64) -> Result<(), QueueError> {
        // What could be leased meanwhile comes first.
        for states in [&[State::Ready][..], &OPEN] {
            let mut after = Some(START);
            while let Some(from) = after {
                after = self.write(move |change| cancel_some(change, run, from, states, now_ms)).await?;
            }
        }
        Ok(())
    }

    /// Runs that were cancelled while jobs of theirs are open: somebody ended in the midst of it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn half_cancelled(&self) -> Result<Vec<i64>, QueueError> {
        self.read(|rows| rows.half_cancelled()).await
    }

    /// Starts the failed jobs of a run over, bit by bit, and those that must make again what others lack, with what follows them. Answers
    /// with their number.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn reset_failed(&self, run: RunId, now_ms: i64) -> Result<u64, QueueError> {
        let (mut started, mut after) = (0, Some(START));
        while let Some(from) = after {
            let run = run.clone();
            let (count, next) = self.write(move |change| reset_some(change, &run, from, now_ms)).await?;
            (started, after) = (started + count, next);
        }
        Ok(started)
    }

    /// Starts a job and all that follows it over. Answers with their number.
    ///
    /// # Errors
    /// There is no such job, or it is an item.
    pub async fn reset_job(&self, job: JobId, now_ms: i64) -> Result<ResetAnswer, QueueError> {
        self.write(move |change| {
            let id = job_number(job);
            let found = change.job(id)?.ok_or_else(|| QueueError::not_found(format!("job {job}")))?;
            if found.is_item() {
                let message = format!("{job} is an item of a loop: it has its value as soon as it exists");
                return Err(QueueError::Invalid(message));
            }
            go_on(change, found.run, true)?;
            let family = with_descendants(change, [id])?;
            change.load_jobs(family.iter().copied())?;
            cut_all_short(change, &family, Cut::StartedOver, now_ms)?;
            let loops_kept = loops_begun(change, &family)?;
            Ok(ResetAnswer { jobs: start_all_over(change, &family)?, loops_kept })
        })
        .await
    }
}

/// Loops over values of these jobs that have begun: their passes keep the items that they were made of.
fn loops_begun(change: &mut Change<'_>, jobs: &BTreeSet<i64>) -> Result<u64, QueueError> {
    let mut begun = 0;
    for id in jobs {
        let Some(job) = change.job(*id)? else { continue };
        if change.run(job.run)?.plan.feeds_loop(&job) && change.loop_of(*id)?.is_some_and(|of| of.length.is_some()) {
            begun += 1;
        }
    }
    Ok(begun)
}

/// A run of which somebody starts jobs over is no longer cancelled, though others of its jobs may be.
fn go_on(change: &mut Change<'_>, run: i64, any: bool) -> Result<(), QueueError> {
    if any {
        change.flush()?;
        change.edited();
        change.rows.mark_cancelled(run, false)?;
        change.touch(run);
    }
    Ok(())
}

/// What ends an attempt although its worker is still at it.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Cancelled,
    StartedOver,
}

impl Cut {
    /// The word for it in the history, and a sentence.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Cancelled => ("cancelled", "cancelled while it ran"),
            Self::StartedOver => ("reset", "its job was started over while it ran"),
        }
    }
}

/// Adds the attempts of those jobs that run to the history, for their leases are about to be taken.
fn cut_all_short<'j>(
    change: &mut Change<'_>,
    jobs: impl IntoIterator<Item = &'j i64>,
    cut: Cut,
    now_ms: i64,
) -> Result<(), QueueError> {
    let (word, message) = cut.words();
    for id in jobs {
        let Some(job) = change.job(*id)?.and_then(Job::when::<Leased>) else { continue };
        cut_short(change, &job, word, StepError::new(ErrorKind::Cancelled, message), now_ms)?;
    }
    Ok(())
}

fn start_all_over(change: &mut Change<'_>, family: &BTreeSet<i64>) -> Result<u64, QueueError> {
    change.load_jobs(family.iter().copied())?;
    for id in family {
        if let Some(job) = change.job(*id)? {
            start_over(change, job, family)?;
        }
    }
    Ok(family.len() as u64)
}

/// Adds all descendants of `roots` to them, a generation at a time.
fn with_descendants(
    change: &mut Change<'_>,
    roots: impl IntoIterator<Item = i64>,
) -> Result<BTreeSet<i64>, QueueError> {
    let mut found: BTreeSet<i64> = roots.into_iter().collect();
    let mut generation: Vec<i64> = found.iter().copied().collect();
    while !generation.is_empty() {
        change.load_children(&generation)?;
        let mut next = Vec::new();
        for job in generation {
            next.extend(change.child_jobs(job)?.into_iter().filter(|child| found.insert(*child)));
        }
        generation = next;
    }
    Ok(found)
}

/// Cancels all that waits, however indirectly, for `job`, which is cancelled.
pub(super) fn cancel_descendants(change: &mut Change<'_>, job: i64, now_ms: i64) -> Result<(), QueueError> {
    let family = with_descendants(change, [job])?;
    cancel(change, &family, now_ms)?;
    family.iter().try_for_each(|id| passes::go_on(change, *id))
}

/// Cancels those that have not ended.
fn cancel<'j>(
    change: &mut Change<'_>,
    jobs: impl IntoIterator<Item = &'j i64> + Copy,
    now_ms: i64,
) -> Result<(), QueueError> {
    change.load_jobs(jobs.into_iter().copied())?;
    cut_all_short(change, jobs, Cut::Cancelled, now_ms)?;
    for id in jobs {
        if let Some(job) = change.job(*id)?.and_then(|job| job.go(Standing::cancel).gone()) {
            change.put_job(job)?;
        }
    }
    Ok(())
}

/// Starts over: the job, whose own attempt is settled, its ancestors up to first steps and items, and all descendants of those.
pub(super) fn reset(change: &mut Change<'_>, job: i64, now_ms: i64) -> Result<(), QueueError> {
    let mut ancestors = BTreeSet::new();
    let mut generation = BTreeSet::from([job]);
    while !generation.is_empty() {
        change.load_jobs(generation.iter().copied())?;
        let mut next = BTreeSet::new();
        for id in generation {
            if let Some(job) = change.job(id)?.filter(|job| !job.is_item())
                && ancestors.insert(id)
            {
                next.extend(job.parents.iter().filter(|parent| !ancestors.contains(parent)));
            }
        }
        generation = next;
    }
    let family = with_descendants(change, ancestors)?;
    change.load_jobs(family.iter().copied())?;
    cut_all_short(change, family.iter().filter(|id| **id != job), Cut::StartedOver, now_ms)?;
    start_all_over(change, &family)?;
    Ok(())
}

/// Parents of the family are open; those outside it are as they are.
fn start_over(change: &mut Change<'_>, job: Job, family: &BTreeSet<i64>) -> Result<(), QueueError> {
    let parents: BTreeSet<i64> = job.parents.iter().copied().collect();
    change.load_jobs(parents.iter().copied())?;
    let mut open_parents = 0;
    for parent in parents {
        if family.contains(&parent) || change.state_of(parent)? != Some(State::Succeeded) {
            open_parents += 1;
        }
    }
    let id = job.id;
    change.put_job(job.go(|standing| standing.start_over(open_parents)))?;
    change.set_value(id, None)?;
    change.set_error(id, None)
}

fn cancel_run(change: &mut Change<'_>, run: &RunId, now_ms: i64) -> Result<Option<i64>, QueueError> {
    let number = change.run_number(run)?;
    let closed = close_loops(change, number)?;
    let open = some_jobs(change, number, START, &OPEN)?;
    cancel(change, &open, now_ms)?;
    if closed || !open.is_empty() {
        change.edited();
        change.rows.mark_cancelled(number, true)?;
        change.touch(number);
    }
    Ok((open.len() == AT_ONCE).then_some(number))
}

/// Cancels some jobs of a run in these states; answers with the place of the last one where there may be more.
fn cancel_some(
    change: &mut Change<'_>,
    run: i64,
    after: (i64, i64),
    states: &[State],
    now_ms: i64,
) -> Result<Option<(i64, i64)>, QueueError> {
    let is_cancelled = change.rows.run(run)?.is_some_and(|run| run.cancelled);
    if !is_cancelled {
        // Somebody starts jobs of it over.
        return Ok(None);
    }
    let open = some_jobs(change, run, after, states)?;
    cancel(change, &open, now_ms)?;
    next_place(change, &open)
}

/// Starts some failed jobs of a run over; answers with their number, and the place of the last one where there may be more.
fn reset_some(
    change: &mut Change<'_>,
    run: &RunId,
    after: (i64, i64),
    now_ms: i64,
) -> Result<(u64, Option<(i64, i64)>), QueueError> {
    let number = change.run_number(run)?;
    let failed = some_jobs(change, number, after, &[State::Failed])?;
    go_on(change, number, !failed.is_empty())?;
    let next = next_place(change, &failed)?;
    let makers = makers_of_lost(change, number, &failed)?;
    let mut family = with_descendants(change, makers)?;
    family.extend(failed);
    change.load_jobs(family.iter().copied())?;
    cut_all_short(change, &family, Cut::StartedOver, now_ms)?;
    Ok((start_all_over(change, &family)?, next))
}

/// The jobs of which values are lost that these failed ones take.
fn makers_of_lost(change: &mut Change<'_>, run: i64, failed: &[i64]) -> Result<BTreeSet<i64>, QueueError> {
    let mut makers = BTreeSet::new();
    for texts in change.rows.texts(failed)? {
        let error = views::error_of(texts.id, texts.error)?;
        makers.extend(error.and_then(|error| error.lost).map(job_number));
    }
    change.load_jobs(makers.iter().copied())?;
    let mut found = BTreeSet::new();
    for id in makers {
        let is_there = |job: &Job| job.run == run && !job.is_item() && job.standing().state() == State::Succeeded;
        found.extend(change.job(id)?.filter(is_there).map(|job| job.id));
    }
    Ok(found)
}

/// The first jobs of a run in these states after a place.
fn some_jobs(change: &mut Change<'_>, run: i64, after: (i64, i64), states: &[State]) -> Result<Vec<i64>, QueueError> {
    change.flush()?;
    change.rows.page(run, after, states, AT_ONCE as i64)
}

/// The place of the last of some jobs, where they were as many as were asked for.
fn next_place(change: &mut Change<'_>, jobs: &[i64]) -> Result<Option<(i64, i64)>, QueueError> {
    let Some(last) = jobs.last().filter(|_| jobs.len() == AT_ONCE) else { return Ok(None) };
    change.load_jobs([*last])?;
    Ok(change.job(*last)?.map(|job| (job.frame, *last)))
}
