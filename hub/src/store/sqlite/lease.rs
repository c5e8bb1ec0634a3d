//! Giving jobs to workers, and making parked jobs ready when their time has come.

use protocol::api::{Lease, LeaseRequest};
use protocol::{JobId, LeaseToken, Place, SessionId, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::value::RawValue;

use super::SqliteStore;
use super::change::Change;
use super::passes::{make_passes, parents_of};
use crate::error::QueueError;
use crate::job::State;

/// Parked jobs made ready in one transaction.
const PROMOTED_AT_ONCE: i64 = 1_000;

impl SqliteStore {
    /// Leases up to `request.slots` ready jobs: scopes in the worker's order, higher priority first, then the oldest run,
    /// then the oldest job.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lease(&self, request: LeaseRequest, now_ms: i64) -> Result<Vec<Lease>, QueueError> {
        self.write(move |change| {
            let mut leases = Vec::new();
            for name in &request.scopes {
                if change.pauses().has_scope(name) {
                    continue;
                }
                if let Some(scope) = change.known_scope(name)? {
                    from_scope(change, scope, &request, now_ms, &mut leases)?;
                }
                if leases.len() >= request.slots as usize {
                    break;
                }
            }
            Ok(leases)
        })
        .await
    }

    /// Makes parked jobs ready whose time has come. Answers with the time of the next one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn promote(&self, now_ms: i64) -> Result<Option<i64>, QueueError> {
        self.write(move |change| promote(change, now_ms)).await
    }
}

/// One row of the ready index.
struct Entry {
    rank: i64,
    run: i64,
    age: i64,
    entry: i64,
}

fn from_scope(
    change: &mut Change<'_>,
    scope: i64,
    request: &LeaseRequest,
    now_ms: i64,
    leases: &mut Vec<Lease>,
) -> Result<(), QueueError> {
    loop {
        let wanted = (request.slots as usize).saturating_sub(leases.len());
        let entries = first_entries(change.connection, scope, wanted)?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if entry.entry < 0 {
                // The passes it makes stand before what follows: look again.
                make_passes(change, entry.run, -entry.entry)?;
                break;
            }
            leases.push(claim(change, scope, &entry, request.session, now_ms)?);
        }
    }
}

fn first_entries(connection: &Connection, scope: i64, count: usize) -> Result<Vec<Entry>, QueueError> {
    let mut statement = connection.prepare_cached(
        "SELECT rank, run, age, entry FROM ready WHERE scope = ?1 ORDER BY rank, run, age, entry LIMIT ?2",
    )?;
    let rows = statement.query_map(params![scope, i64::try_from(count).unwrap_or(i64::MAX)], |row| {
        Ok(Entry { rank: row.get(0)?, run: row.get(1)?, age: row.get(2)?, entry: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn claim(
    change: &mut Change<'_>,
    scope: i64,
    entry: &Entry,
    session: SessionId,
    now_ms: i64,
) -> Result<Lease, QueueError> {
    let job = entry.entry;
    let token = random_token()?;
    change
        .connection
        .prepare_cached("DELETE FROM ready WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5")?
        .execute(params![scope, entry.rank, entry.run, entry.age, entry.entry])?;
    let (step, attempt, priority, parents): (u32, u32, i64, String) = change
        .connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, attempts = attempts + 1 WHERE id = ?1
             RETURNING step, attempts, priority, parents",
        )?
        .query_row(params![job, State::Leased as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    change
        .connection
        .prepare_cached("INSERT INTO leases (job, token, session, scope, since_ms) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![job, token.0, session.0, scope, now_ms])?;
    change.count(entry.run, Some(State::Ready), Some(State::Leased), 1);
    let run = change.run(entry.run)?;
    let inputs = parents_of(&parents)?
        .into_iter()
        .map(|parent| value_of(change.connection, parent)?.ok_or_else(|| no_value(parent)))
        .collect::<Result<_, _>>()?;
    Ok(Lease { token, job: job_id(job), run: run.id, attempt, plan: run.plan.digest, step, priority, inputs })
}

fn no_value(job: i64) -> QueueError {
    QueueError::Unreadable(format!("job j{job} has succeeded and has no value"))
}

fn random_token() -> Result<LeaseToken, QueueError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| QueueError::Unavailable(format!("the system gave no random bytes: {error}")))?;
    Ok(LeaseToken(bytes))
}

/// The id of a job on the wire.
pub(super) fn job_id(number: i64) -> JobId {
    JobId(u64::try_from(number).unwrap_or(0))
}

/// The value of a job or an item, where it has one.
pub(super) fn value_of(connection: &Connection, job: i64) -> Result<Option<ValueRef>, QueueError> {
    let found: Option<(Option<u32>, i64, Option<String>)> = connection
        .prepare_cached("SELECT call, frame, value FROM jobs WHERE id = ?1")?
        .query_row([job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    match found {
        None => Ok(None),
        Some((None, frame, _)) => item_value(connection, frame).map(Some),
        Some((Some(_), _, text)) => text.map(|text| parse_value(&text)).transpose(),
    }
}

pub(super) fn parse_value(text: &str) -> Result<ValueRef, QueueError> {
    serde_json::from_str(text).map_err(|error| QueueError::Unreadable(format!("a value: {error}")))
}

fn item_value(connection: &Connection, frame: i64) -> Result<ValueRef, QueueError> {
    let (text, pass): (String, u64) = connection
        .prepare_cached(
            "SELECT loops.value, frames.pass FROM frames JOIN loops ON loops.number = frames.loop
             WHERE frames.number = ?1",
        )?
        .query_row([frame], |row| Ok((row.get(0)?, row.get(1)?)))?;
    element(parse_value(&text)?, pass)
}

/// One element of a list: cut out where the list is at hand, else by reference.
fn element(list: ValueRef, index: u64) -> Result<ValueRef, QueueError> {
    if let Place::Json(text) = &list.place {
        let elements: Vec<Box<RawValue>> = serde_json::from_str(text.get())
            .map_err(|error| QueueError::Unreadable(format!("the list of a loop: {error}")))?;
        let found = usize::try_from(index).ok().and_then(|index| elements.into_iter().nth(index));
        let found =
            found.ok_or_else(|| QueueError::Unreadable(format!("the list of a loop has no element {index}")))?;
        return Ok(ValueRef { kind: crate::value_kind::of_json(found.get()), length: None, place: Place::Json(found) });
    }
    let kind = match &list.kind {
        protocol::ValueKind::Table => protocol::ValueKind::Dict,
        _ => protocol::ValueKind::Null,
    };
    Ok(ValueRef { kind, length: None, place: Place::Element { list: Box::new(list.place), index } })
}

fn promote(change: &mut Change<'_>, now_ms: i64) -> Result<Option<i64>, QueueError> {
    let due: Vec<(i64, i64)> = change
        .connection
        .prepare_cached("SELECT from_ms, job FROM parked WHERE from_ms <= ?1 ORDER BY from_ms, job LIMIT ?2")?
        .query_map([now_ms, PROMOTED_AT_ONCE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (from_ms, job) in due {
        change
            .connection
            .prepare_cached("DELETE FROM parked WHERE from_ms = ?1 AND job = ?2")?
            .execute([from_ms, job])?;
        let (run_number, step, priority): (i64, u32, i64) = change
            .connection
            .prepare_cached("UPDATE jobs SET state = ?2, from_ms = NULL WHERE id = ?1 RETURNING run, step, priority")?
            .query_row(params![job, State::Ready as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let run = change.run(run_number)?;
        change.count(run_number, Some(State::Parked), Some(State::Ready), 1);
        change.enqueue(&run.plan.step(step)?.settings.scope, priority, run_number, job, job)?;
    }
    let next = change.connection.prepare_cached("SELECT min(from_ms) FROM parked")?.query_row([], |row| row.get(0))?;
    Ok(next)
}
