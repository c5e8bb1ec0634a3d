//! Frames: stamping out the jobs of a block, fanning loops out, making passes as workers get near them.
//!
//! A loop whose source has succeeded stands in the ready index as one entry, after the jobs made for it so far. A worker
//! that reaches the entry makes the next few passes. So a loop over a million items is accepted at once, and rows appear as they
//! are claimed.

use std::collections::HashMap;

use protocol::{CallId, LoopId, ValueRef};
use rusqlite::{OptionalExtension, params};

use super::change::{Change, RunEntry};
use crate::blueprint::{Block, NewJob, Parent};
use crate::error::QueueError;
use crate::job::State;

/// Passes made at once when a worker reaches a loop's entry.
const PASSES_AT_ONCE: i64 = 128;

/// What a block takes from the blocks around it.
#[derive(Debug, Default)]
pub(super) struct Outer {
    calls: HashMap<CallId, (i64, State)>,
    items: HashMap<LoopId, i64>,
}

/// The item a pass is for.
pub(super) struct Item {
    of: LoopId,
    loop_number: i64,
    pass: i64,
}

/// Makes the jobs of one execution of `block` in `frame`.
pub(super) fn stamp(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    block: &Block,
    frame: i64,
    outer: &Outer,
    item: Option<(LoopId, i64)>,
) -> Result<(), QueueError> {
    let first = change.take_job_ids(block.jobs.len());
    let id_of = |place: usize| first + i64::try_from(place).unwrap_or(i64::MAX / 2);
    let mut states = Vec::with_capacity(block.jobs.len());
    for (place, job) in block.jobs.iter().enumerate() {
        let parents = job
            .parents
            .iter()
            .map(|parent| resolve(*parent, &states, &id_of, outer, item))
            .collect::<Result<Vec<_>, _>>()?;
        states.push(insert(change, run_number, run, frame, id_of(place), job, &parents)?);
        if let Some(of) = job.feeds.and_then(|index| block.loops.get(index)) {
            change
                .connection
                .prepare_cached("INSERT INTO loops (run, loop, frame, source) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![run_number, of.id.0, frame, id_of(place)])?;
        }
    }
    for (call, place) in &block.captured {
        change
            .connection
            .prepare_cached("INSERT INTO bindings (frame, call, job) VALUES (?1, ?2, ?3)")?
            .execute(params![frame, call.0, id_of(*place)])?;
    }
    Ok(())
}

/// A parent with its state; an item is always done.
type Resolved = (i64, State, bool);

fn resolve(
    parent: Parent,
    states: &[State],
    id_of: &impl Fn(usize) -> i64,
    outer: &Outer,
    item: Option<(LoopId, i64)>,
) -> Result<Resolved, QueueError> {
    let found = match parent {
        Parent::Here(place) => states.get(place).map(|state| (id_of(place), *state, false)),
        Parent::Outer(call) => outer.calls.get(&call).map(|(job, state)| (*job, *state, false)),
        Parent::Item(of) => item
            .filter(|(own, _)| *own == of)
            .map(|(_, job)| job)
            .or_else(|| outer.items.get(&of).copied())
            .map(|job| (job, State::Succeeded, true)),
    };
    found.ok_or_else(|| QueueError::Unreadable(format!("a plan names {parent:?}, which is nowhere around it")))
}

fn insert(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    frame: i64,
    id: i64,
    job: &NewJob,
    parents: &[Resolved],
) -> Result<State, QueueError> {
    let mut distinct: Vec<(i64, State)> =
        parents.iter().filter(|(.., is_item)| !is_item).map(|(parent, state, _)| (*parent, *state)).collect();
    distinct.sort_unstable_by_key(|(parent, _)| *parent);
    distinct.dedup_by_key(|(parent, _)| *parent);
    let open = distinct.iter().filter(|(_, state)| *state != State::Succeeded).count();
    let state = if distinct.iter().any(|(_, state)| *state == State::Cancelled) {
        State::Cancelled
    } else if open == 0 {
        State::Ready
    } else {
        State::Waiting
    };
    let settings = &run.plan.step(job.step)?.settings;
    let ids: Vec<i64> = parents.iter().map(|(parent, ..)| *parent).collect();
    change
        .connection
        .prepare_cached(
            "INSERT INTO jobs (id, run, frame, call, position, followers, step, priority, state, open_parents, parents)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            id,
            run_number,
            frame,
            job.call.0,
            job.position,
            job.followers,
            job.step,
            settings.priority,
            state as i64,
            i64::try_from(open).unwrap_or(i64::MAX),
            parents_text(&ids)
        ])?;
    for (parent, _) in &distinct {
        change
            .connection
            .prepare_cached("INSERT INTO edges (parent, child) VALUES (?1, ?2)")?
            .execute([*parent, id])?;
    }
    change.count(run_number, None, Some(state), 1);
    if state == State::Ready {
        change.enqueue(&settings.scope, settings.priority, run_number, id, id)?;
    }
    Ok(state)
}

/// The text form of a list of parents.
pub(super) fn parents_text(ids: &[i64]) -> String {
    let digits: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("[{}]", digits.join(","))
}

/// Reads [`parents_text`] back.
pub(super) fn parents_of(text: &str) -> Result<Vec<i64>, QueueError> {
    serde_json::from_str(text).map_err(|error| QueueError::Unreadable(format!("parents of a job: {error}")))
}

/// Begins the passes of the loop that `source` feeds. A source that runs again after a reset begins nothing: items keep their values.
pub(super) fn fan_out(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    loop_number: i64,
    value: &ValueRef,
) -> Result<(), QueueError> {
    let length = i64::try_from(value.passes().unwrap_or(0)).unwrap_or(i64::MAX);
    let text = serde_json::to_string(value).map_err(|error| QueueError::Unreadable(format!("a value: {error}")))?;
    let of: Option<u32> = change
        .connection
        .prepare_cached("UPDATE loops SET length = ?2, value = ?3 WHERE number = ?1 AND length IS NULL RETURNING loop")?
        .query_row(params![loop_number, length, text], |row| row.get(0))
        .optional()?;
    let Some(of) = of.filter(|_| length > 0) else { return Ok(()) };
    let body = body(run, LoopId(of))?;
    let jobs = i64::try_from(body.jobs.len()).unwrap_or(i64::MAX);
    change.count(run_number, None, Some(State::Waiting), length.saturating_mul(jobs));
    change.count_cursors(run_number, 1);
    enqueue_cursor(change, run_number, run, body, loop_number)
}

fn body(run: &RunEntry, of: LoopId) -> Result<&Block, QueueError> {
    run.plan
        .blueprints
        .bodies
        .get(&of)
        .ok_or_else(|| QueueError::Unreadable(format!("plan {} has no loop {}", run.plan.digest, of.0)))
}

/// Puts a loop into the ready index, after all jobs made so far, wherever its body's work enters the queue.
fn enqueue_cursor(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    body: &Block,
    loop_number: i64,
) -> Result<(), QueueError> {
    let age = change.take_job_ids(1);
    change.connection.prepare_cached("UPDATE loops SET age = ?2 WHERE number = ?1")?.execute([loop_number, age])?;
    for head in &body.heads {
        let settings = &run.plan.step(*head)?.settings;
        change.enqueue(&settings.scope, settings.priority, run_number, age, -loop_number)?;
    }
    Ok(())
}

/// Makes the next passes of a loop whose entry a worker has reached.
pub(super) fn make_passes(change: &mut Change<'_>, run_number: i64, loop_number: i64) -> Result<(), QueueError> {
    let run = change.run(run_number)?;
    let (of, frame, length, next): (u32, i64, i64, i64) = change
        .connection
        .prepare_cached("SELECT loop, frame, length, next FROM loops WHERE number = ?1")?
        .query_row([loop_number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let of = LoopId(of);
    let body = body(&run, of)?;
    dequeue_cursor(change, run_number, &run, body, loop_number)?;
    let outer = outer(change, body, frame)?;
    let end = length.min(next + PASSES_AT_ONCE);
    for pass in next..end {
        make_pass(change, run_number, &run, body, &outer, &Item { of, loop_number, pass })?;
    }
    change.connection.prepare_cached("UPDATE loops SET next = ?2 WHERE number = ?1")?.execute([loop_number, end])?;
    let jobs = i64::try_from(body.jobs.len()).unwrap_or(i64::MAX);
    change.count(run_number, Some(State::Waiting), None, (end - next) * jobs);
    if end < length {
        enqueue_cursor(change, run_number, &run, body, loop_number)
    } else {
        change.count_cursors(run_number, -1);
        Ok(())
    }
}

fn make_pass(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    body: &Block,
    outer: &Outer,
    item: &Item,
) -> Result<(), QueueError> {
    let item_job = change.take_job_ids(1);
    change
        .connection
        .prepare_cached("INSERT INTO frames (run, loop, pass, item) VALUES (?1, ?2, ?3, ?4)")?
        .execute([run_number, item.loop_number, item.pass, item_job])?;
    let frame = change.connection.last_insert_rowid();
    let source_step = source_step(change, item.loop_number)?;
    change
        .connection
        .prepare_cached(
            "INSERT INTO jobs (id, run, frame, position, followers, step, priority, state, open_parents, parents)
             VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6, 0, '[]')",
        )?
        .execute(params![item_job, run_number, frame, source_step.0, source_step.1, State::Succeeded as i64])?;
    stamp(change, run_number, run, body, frame, outer, Some((item.of, item_job)))
}

/// Step and priority of a loop's source: an item has the settings of its source's last step.
fn source_step(change: &Change<'_>, loop_number: i64) -> Result<(u32, i64), QueueError> {
    Ok(change
        .connection
        .prepare_cached("SELECT step, priority FROM jobs WHERE id = (SELECT source FROM loops WHERE number = ?1)")?
        .query_row([loop_number], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn dequeue_cursor(
    change: &mut Change<'_>,
    run_number: i64,
    run: &RunEntry,
    body: &Block,
    loop_number: i64,
) -> Result<(), QueueError> {
    let age: Option<i64> = change
        .connection
        .prepare_cached("SELECT age FROM loops WHERE number = ?1")?
        .query_row([loop_number], |row| row.get(0))?;
    let Some(age) = age else { return Ok(()) };
    for head in &body.heads {
        let settings = &run.plan.step(*head)?.settings;
        change.dequeue(&settings.scope, settings.priority, run_number, age, -loop_number)?;
    }
    Ok(())
}

/// Closes all loops of a run: passes that were not made will not be. Answers with the number of jobs that are not made.
pub(super) fn close_loops(change: &mut Change<'_>, run_number: i64) -> Result<(), QueueError> {
    let run = change.run(run_number)?;
    let open: Vec<(i64, u32, i64)> = change
        .connection
        .prepare_cached("SELECT number, loop, length - next FROM loops WHERE run = ?1 AND next < length")?
        .query_map([run_number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (loop_number, of, left) in open {
        let body = body(&run, LoopId(of))?;
        dequeue_cursor(change, run_number, &run, body, loop_number)?;
        change.connection.prepare_cached("UPDATE loops SET next = length WHERE number = ?1")?.execute([loop_number])?;
        let jobs = left.saturating_mul(i64::try_from(body.jobs.len()).unwrap_or(i64::MAX));
        change.count(run_number, Some(State::Waiting), Some(State::Cancelled), jobs);
        change.count_cursors(run_number, -1);
    }
    Ok(())
}

/// Looks up what a loop's body takes from the frames around it.
fn outer(change: &Change<'_>, body: &Block, frame: i64) -> Result<Outer, QueueError> {
    let mut outer = Outer::default();
    let mut calls: Vec<CallId> = body
        .jobs
        .iter()
        .flat_map(|job| &job.parents)
        .filter_map(|parent| if let Parent::Outer(call) = parent { Some(*call) } else { None })
        .collect();
    calls.sort_unstable();
    calls.dedup();
    let mut here = Some(frame);
    while let Some(number) = here {
        for call in &calls {
            if !outer.calls.contains_key(call)
                && let Some(found) = binding(change, number, *call)?
            {
                outer.calls.insert(*call, found);
            }
        }
        here = enclosing(change, number, &mut outer.items)?;
    }
    Ok(outer)
}

fn binding(change: &Change<'_>, frame: i64, call: CallId) -> Result<Option<(i64, State)>, QueueError> {
    let found: Option<(i64, i64)> = change
        .connection
        .prepare_cached(
            "SELECT jobs.id, jobs.state FROM bindings JOIN jobs ON jobs.id = bindings.job
             WHERE bindings.frame = ?1 AND bindings.call = ?2",
        )?
        .query_row(params![frame, call.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(job, state)| Ok((job, super::settle::state(state)?))).transpose()
}

/// The frame around a frame; notes the item of the frame on the way.
fn enclosing(change: &Change<'_>, frame: i64, items: &mut HashMap<LoopId, i64>) -> Result<Option<i64>, QueueError> {
    let found: Option<(u32, i64, i64)> = change
        .connection
        .prepare_cached(
            "SELECT loops.loop, frames.item, loops.frame FROM frames JOIN loops ON loops.number = frames.loop
             WHERE frames.number = ?1",
        )?
        .query_row([frame], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(found.map(|(of, item, around)| {
        items.insert(LoopId(of), item);
        around
    }))
}
