//! What came of an attempt: guarded by the lease token, carried out once, children freed in the same transaction.

use protocol::api::{LogRef, SettleRequest, Settled, Settlement};
use protocol::{ErrorKind, Outcome, SessionId, StepError, ValueRef};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::change::{Change, RunEntry};
use super::{family, passes};
use crate::error::QueueError;
use crate::job::{Leased, Next, State, Tally};

impl SqliteStore {
    /// Hands in what came of some attempts; each counts once, and only while its lease is valid.
    ///
    /// # Errors
    /// The database failed; then none of them counts.
    pub async fn settle(&self, request: SettleRequest, now_ms: i64) -> Result<Vec<Settled>, QueueError> {
        self.write(move |change| {
            request.settlements.iter().map(|settlement| settle(change, request.session, settlement, now_ms)).collect()
        })
        .await
    }
}

/// A job as its transitions need it.
pub(super) struct Row {
    pub id: i64,
    pub run: i64,
    pub step: u32,
    pub followers: i64,
    pub priority: i64,
    pub state: State,
    pub tally: Tally,
    pub from_ms: Option<i64>,
    pub is_item: bool,
    pub parents: String,
}

/// Reads a state number.
pub(super) fn state(number: i64) -> Result<State, QueueError> {
    State::from_number(number).ok_or_else(|| QueueError::Unreadable(format!("job state {number}")))
}

/// Reads a job.
pub(super) fn row(change: &Change<'_>, id: i64) -> Result<Option<Row>, QueueError> {
    let found = change
        .connection
        .prepare_cached(
            "SELECT run, step, followers, priority, failures, pendings, losses, from_ms, call IS NULL, parents, state
             FROM jobs WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let tally = Tally { failures: row.get(4)?, pendings: row.get(5)?, losses: row.get(6)? };
            let partial = Row {
                id,
                run: row.get(0)?,
                step: row.get(1)?,
                followers: row.get(2)?,
                priority: row.get(3)?,
                state: State::Waiting,
                tally,
                from_ms: row.get(7)?,
                is_item: row.get(8)?,
                parents: row.get(9)?,
            };
            Ok((partial, row.get::<_, i64>(10)?))
        })
        .optional()?;
    found.map(|(partial, number)| Ok(Row { state: state(number)?, ..partial })).transpose()
}

fn settle(
    change: &mut Change<'_>,
    session: SessionId,
    settlement: &Settlement,
    now_ms: i64,
) -> Result<Settled, QueueError> {
    let id = i64::try_from(settlement.job.0).unwrap_or(0);
    let held: Option<([u8; 16], i64)> = change
        .connection
        .prepare_cached("SELECT token, since_ms FROM leases WHERE job = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((_, since_ms)) = held.filter(|(token, _)| *token == settlement.token.0) else {
        return settled_before(change, id, settlement);
    };
    let row = row(change, id)?.ok_or_else(|| QueueError::Unreadable(format!("leased job j{id} is gone")))?;
    let run = change.run(row.run)?;
    let refused = refused_loop(change, &run, &row, &settlement.outcome)?;
    let outcome = refused.as_ref().unwrap_or(&settlement.outcome);
    let leased = Leased { tally: row.tally, retries: run.plan.step(row.step)?.settings.retries };
    let next = leased.settle(outcome, &change.options.policy, now_ms, random_fraction()?);
    record(change, session, settlement, since_ms, now_ms, outcome)?;
    change.connection.prepare_cached("DELETE FROM leases WHERE job = ?1")?.execute([id])?;
    carry_out(change, &run, &row, outcome, next)?;
    Ok(Settled::Settled)
}

/// A token that holds nothing: either this attempt was settled before with this very token, or it is stale.
fn settled_before(change: &Change<'_>, id: i64, settlement: &Settlement) -> Result<Settled, QueueError> {
    let before = change
        .connection
        .prepare_cached("SELECT 1 FROM attempts WHERE job = ?1 AND number = ?2 AND token = ?3")?
        .exists(params![id, settlement.attempt, settlement.token.0])?;
    Ok(if before { Settled::Settled } else { Settled::Stale })
}

/// The loop that runs over a job's value, and whether it has begun.
fn loop_over(change: &Change<'_>, job: i64) -> Result<Option<(i64, u32)>, QueueError> {
    Ok(change
        .connection
        .prepare_cached("SELECT number, loop FROM loops WHERE source = ?1")?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// A loop needs a list: anything else turns the success of its source into an error at the `for` line.
fn refused_loop(
    change: &Change<'_>,
    run: &RunEntry,
    row: &Row,
    outcome: &Outcome,
) -> Result<Option<Outcome>, QueueError> {
    let Outcome::Success { value, .. } = outcome else { return Ok(None) };
    if value.passes().is_some() {
        return Ok(None);
    }
    let Some((_, of)) = loop_over(change, row.id)? else { return Ok(None) };
    let line = run.plan.blueprints.lines.get(&protocol::LoopId(of)).copied().unwrap_or(0);
    let step = &run.plan.step(row.step)?.name;
    let message = format!(
        "the loop at {}:{line} needs a list; its source `{step}` returned {}",
        run.plan.plan.script,
        value.kind.with_article()
    );
    Ok(Some(Outcome::Error(StepError::new(ErrorKind::Loop, message))))
}

fn random_fraction() -> Result<f64, QueueError> {
    let bits = getrandom::u32()
        .map_err(|error| QueueError::Unavailable(format!("the system gave no random bytes: {error}")))?;
    Ok(f64::from(bits) / f64::from(u32::MAX))
}

fn record(
    change: &Change<'_>,
    session: SessionId,
    settlement: &Settlement,
    since_ms: i64,
    now_ms: i64,
    outcome: &Outcome,
) -> Result<(), QueueError> {
    let id = i64::try_from(settlement.job.0).unwrap_or(0);
    let error = if let Outcome::Error(error) = outcome { Some(json(error)?) } else { None };
    let log = settlement.log.as_ref().map(json::<LogRef>).transpose()?;
    change
        .connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (job, number, token, session, since_ms, settled_ms, outcome, error, log)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            id,
            settlement.attempt,
            settlement.token.0,
            session.0,
            since_ms,
            now_ms,
            word(outcome),
            error,
            log
        ])?;
    if settlement.attempt > change.options.attempts_kept {
        change
            .connection
            .prepare_cached("DELETE FROM attempts WHERE job = ?1 AND number <= ?2")?
            .execute(params![id, settlement.attempt - change.options.attempts_kept])?;
    }
    Ok(())
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Success { .. } => "success",
        Outcome::Pending { .. } => "pending",
        Outcome::Reset => "reset",
        Outcome::Cancel => "cancel",
        Outcome::Error(_) => "error",
        Outcome::Release { .. } => "release",
    }
}

fn json<T: serde::Serialize>(what: &T) -> Result<String, QueueError> {
    serde_json::to_string(what).map_err(|error| QueueError::Invalid(format!("cannot be stored: {error}")))
}

/// Takes a job that has just lost its lease where the state machine says.
pub(super) fn carry_out(
    change: &mut Change<'_>,
    run: &RunEntry,
    row: &Row,
    outcome: &Outcome,
    next: Next,
) -> Result<(), QueueError> {
    let error = if let Outcome::Error(error) = outcome { Some(error) } else { None };
    let priority = match outcome {
        Outcome::Success { priority, .. } | Outcome::Pending { priority } => *priority,
        _ => None,
    };
    if let Some(priority) = priority {
        set_priority_of_followers(change, row, priority)?;
    }
    match next {
        Next::Succeeded => {
            let Outcome::Success { value, .. } = outcome else { return Ok(()) };
            succeed(change, run, row, value)
        }
        Next::Ready(tally) => {
            put(change, row, State::Ready, tally, None, error)?;
            change.enqueue(&run.plan.step(row.step)?.settings.scope, row.priority, row.run, row.id, row.id)
        }
        Next::Parked { from_ms, tally } => {
            if let Some(priority) = priority {
                change
                    .connection
                    .prepare_cached("UPDATE jobs SET priority = ?2 WHERE id = ?1")?
                    .execute([row.id, priority])?;
            }
            put(change, row, State::Parked, tally, Some(from_ms), error)?;
            change.park(from_ms, row.id)
        }
        Next::Failed(tally) => put(change, row, State::Failed, tally, None, error),
        Next::Cancelled => {
            put(change, row, State::Cancelled, row.tally, None, None)?;
            family::cancel_descendants(change, row.id)
        }
        Next::Reset => family::reset(change, row.id),
    }
}

/// Writes where a leased job has gone. An earlier error stays until the job succeeds or starts over.
fn put(
    change: &mut Change<'_>,
    row: &Row,
    state: State,
    tally: Tally,
    from_ms: Option<i64>,
    error: Option<&StepError>,
) -> Result<(), QueueError> {
    let error = error.map(json).transpose()?;
    change
        .connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, failures = ?3, pendings = ?4, losses = ?5, from_ms = ?6, error = ifnull(?7, error)
             WHERE id = ?1",
        )?
        .execute(params![row.id, state as i64, tally.failures, tally.pendings, tally.losses, from_ms, error])?;
    change.count(row.run, Some(State::Leased), Some(state), 1);
    Ok(())
}

fn set_priority_of_followers(change: &Change<'_>, row: &Row, priority: i64) -> Result<(), QueueError> {
    // A chain's jobs have ids in a row, and those that follow an open job are all waiting: none is in the ready index.
    change.connection.prepare_cached("UPDATE jobs SET priority = ?3 WHERE id > ?1 AND id <= ?1 + ?2")?.execute([
        row.id,
        row.followers,
        priority,
    ])?;
    Ok(())
}

fn succeed(change: &mut Change<'_>, run: &RunEntry, row: &Row, value: &ValueRef) -> Result<(), QueueError> {
    change
        .connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, value = ?3, error = NULL, pendings = 0, losses = 0, from_ms = NULL WHERE id = ?1",
        )?
        .execute(params![row.id, State::Succeeded as i64, json(value)?])?;
    change.count(row.run, Some(State::Leased), Some(State::Succeeded), 1);
    free_children(change, run, row)?;
    match loop_over(change, row.id)? {
        Some((number, _)) => passes::fan_out(change, row.run, run, number, value),
        None => Ok(()),
    }
}

fn free_children(change: &mut Change<'_>, run: &RunEntry, row: &Row) -> Result<(), QueueError> {
    let freed: Vec<(i64, u32, i64)> = {
        let mut statement = change.connection.prepare_cached(
            "UPDATE jobs SET open_parents = open_parents - 1,
                 state = CASE WHEN open_parents = 1 THEN ?2 ELSE state END
             WHERE id IN (SELECT child FROM edges WHERE parent = ?1) AND state = ?3
             RETURNING id, step, priority, state",
        )?;
        let rows = statement.query_map(params![row.id, State::Ready as i64, State::Waiting as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?))
        })?;
        let all: Vec<(i64, u32, i64, i64)> = rows.collect::<Result<_, _>>()?;
        all.into_iter()
            .filter(|(.., state)| *state == State::Ready as i64)
            .map(|(id, step, priority, _)| (id, step, priority))
            .collect()
    };
    for (id, step, priority) in freed {
        change.count(row.run, Some(State::Waiting), Some(State::Ready), 1);
        change.enqueue(&run.plan.step(step)?.settings.scope, priority, row.run, id, id)?;
    }
    Ok(())
}
