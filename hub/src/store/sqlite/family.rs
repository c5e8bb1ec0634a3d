//! What concerns a job and its relatives: cancelling what follows, starting a pipe over, cancelling a run.

use std::collections::BTreeSet;

use protocol::{JobId, RunId};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::change::Change;
use super::passes::{close_loops, parents_of};
use super::settle::{Row, row, state};
use crate::error::QueueError;
use crate::job::State;

impl SqliteStore {
    /// Cancels everything of a run that has not ended.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn cancel_run(&self, run: RunId) -> Result<(), QueueError> {
        self.write(move |change| cancel_run(change, &run)).await
    }

    /// Starts the failed jobs of a run over. Answers with their number.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn reset_failed(&self, run: RunId) -> Result<u64, QueueError> {
        self.write(move |change| {
            let number = run_number(change, &run)?;
            let failed: BTreeSet<i64> = change
                .connection
                .prepare_cached("SELECT id FROM jobs WHERE run = ?1 AND state = ?2")?
                .query_map([number, State::Failed as i64], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            start_all_over(change, &failed)
        })
        .await
    }

    /// Starts a job and all that follows it over. Answers with their number.
    ///
    /// # Errors
    /// There is no such job, or it is an item.
    pub async fn reset_job(&self, job: JobId) -> Result<u64, QueueError> {
        self.write(move |change| {
            let id = i64::try_from(job.0).unwrap_or(0);
            let row = row(change, id)?.ok_or_else(|| QueueError::not_found(format!("job {job}")))?;
            if row.is_item {
                let message = format!("{job} is an item of a loop: it has its value as soon as it exists");
                return Err(QueueError::Invalid(message));
            }
            let family = with_descendants(change, [id])?;
            start_all_over(change, &family)
        })
        .await
    }
}

/// The number of a run.
pub(super) fn run_number(change: &Change<'_>, run: &RunId) -> Result<i64, QueueError> {
    change
        .connection
        .prepare_cached("SELECT number FROM runs WHERE id = ?1")?
        .query_row([run.as_str()], |row| row.get(0))
        .optional()?
        .ok_or_else(|| QueueError::not_found(format!("run {run}")))
}

fn start_all_over(change: &mut Change<'_>, family: &BTreeSet<i64>) -> Result<u64, QueueError> {
    for id in family {
        if let Some(row) = row(change, *id)? {
            start_over(change, &row, family)?;
        }
    }
    Ok(family.len() as u64)
}

/// Takes a job out of whichever index it is in.
fn leave(change: &mut Change<'_>, row: &Row) -> Result<(), QueueError> {
    match row.state {
        State::Ready => {
            let run = change.run(row.run)?;
            change.dequeue(&run.plan.step(row.step)?.settings.scope, row.priority, row.run, row.id, row.id)
        }
        State::Parked => {
            let from_ms = row.from_ms.unwrap_or(0);
            change
                .connection
                .prepare_cached("DELETE FROM parked WHERE from_ms = ?1 AND job = ?2")?
                .execute([from_ms, row.id])?;
            Ok(())
        }
        State::Leased => {
            change.connection.prepare_cached("DELETE FROM leases WHERE job = ?1")?.execute([row.id])?;
            Ok(())
        }
        State::Waiting | State::Succeeded | State::Failed | State::Cancelled => Ok(()),
    }
}

fn children(change: &Change<'_>, job: i64) -> Result<Vec<i64>, QueueError> {
    Ok(change
        .connection
        .prepare_cached("SELECT child FROM edges WHERE parent = ?1")?
        .query_map([job], |row| row.get(0))?
        .collect::<Result<_, _>>()?)
}

/// Adds all descendants of `roots` to them.
fn with_descendants(change: &Change<'_>, roots: impl IntoIterator<Item = i64>) -> Result<BTreeSet<i64>, QueueError> {
    let mut found: BTreeSet<i64> = roots.into_iter().collect();
    let mut open: Vec<i64> = found.iter().copied().collect();
    while let Some(job) = open.pop() {
        for child in children(change, job)? {
            if found.insert(child) {
                open.push(child);
            }
        }
    }
    Ok(found)
}

/// Cancels all that waits, however indirectly, for `job`.
pub(super) fn cancel_descendants(change: &mut Change<'_>, job: i64) -> Result<(), QueueError> {
    for id in with_descendants(change, [job])? {
        if id != job
            && let Some(row) = row(change, id)?
        {
            cancel(change, &row)?;
        }
    }
    Ok(())
}

fn cancel(change: &mut Change<'_>, row: &Row) -> Result<(), QueueError> {
    if matches!(row.state, State::Succeeded | State::Cancelled) {
        return Ok(());
    }
    leave(change, row)?;
    change
        .connection
        .prepare_cached("UPDATE jobs SET state = ?2, from_ms = NULL WHERE id = ?1")?
        .execute([row.id, State::Cancelled as i64])?;
    change.count(row.run, Some(row.state), Some(State::Cancelled), 1);
    Ok(())
}

/// Starts over: the job, its ancestors up to first steps and items, and all descendants of those.
pub(super) fn reset(change: &mut Change<'_>, job: i64) -> Result<(), QueueError> {
    let mut ancestors = BTreeSet::new();
    let mut open = vec![job];
    while let Some(id) = open.pop() {
        if ancestors.contains(&id) {
            continue;
        }
        if let Some(row) = row(change, id)?.filter(|row| !row.is_item) {
            open.extend(parents_of(&row.parents)?);
            ancestors.insert(id);
        }
    }
    let family = with_descendants(change, ancestors)?;
    start_all_over(change, &family)?;
    Ok(())
}

/// Parents come before children in the order of ids, so the states of parents outside the family are final here.
fn start_over(change: &mut Change<'_>, row: &Row, family: &BTreeSet<i64>) -> Result<(), QueueError> {
    leave(change, row)?;
    let mut parents = parents_of(&row.parents)?;
    parents.sort_unstable();
    parents.dedup();
    let mut open = 0;
    for parent in parents {
        if family.contains(&parent) || !has_succeeded(change, parent)? {
            open += 1;
        }
    }
    let next = if open == 0 { State::Ready } else { State::Waiting };
    change
        .connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, open_parents = ?3, failures = 0, pendings = 0, losses = 0, from_ms = NULL,
                 value = NULL, error = NULL
             WHERE id = ?1",
        )?
        .execute(params![row.id, next as i64, open])?;
    change.count(row.run, Some(row.state), Some(next), 1);
    if next == State::Ready {
        let run = change.run(row.run)?;
        change.enqueue(&run.plan.step(row.step)?.settings.scope, row.priority, row.run, row.id, row.id)?;
    }
    Ok(())
}

fn has_succeeded(change: &Change<'_>, job: i64) -> Result<bool, QueueError> {
    let number: i64 =
        change.connection.prepare_cached("SELECT state FROM jobs WHERE id = ?1")?.query_row([job], |row| row.get(0))?;
    Ok(state(number)? == State::Succeeded)
}

fn cancel_run(change: &mut Change<'_>, run: &RunId) -> Result<(), QueueError> {
    let number = run_number(change, run)?;
    close_loops(change, number)?;
    let open: Vec<i64> = change
        .connection
        .prepare_cached("SELECT id FROM jobs WHERE run = ?1 AND state < ?2")?
        .query_map([number, State::Succeeded as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let any = !open.is_empty();
    for id in open {
        if let Some(row) = row(change, id)? {
            cancel(change, &row)?;
        }
    }
    if any {
        change.connection.prepare_cached("UPDATE runs SET cancelled = 1 WHERE number = ?1")?.execute([number])?;
        change.touch(number);
    }
    Ok(())
}
