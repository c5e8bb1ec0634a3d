//! Frames: stamping out the jobs of a block, fanning loops out, making passes as workers get near them.
//!
//! A loop whose source has succeeded stands in the ready index as one entry for each scope and rank in which a pass begins, after
//! the jobs of its run that can run. A worker that reaches an entry makes the next few passes. So a loop over a million items is
//! accepted at once, and rows appear as they are claimed.
//!
//! Passes that could do nothing but wait are not made: where a pass begins with what takes a result of an outer block, the loop has
//! no entry there until that result is there. It waits for it as a child of the outer job.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use protocol::{CallId, LoopId, ValueRef};

use super::change::{Change, RunEntry};
use super::job::{Facts, Job};
use super::row::{LoopRow, ReadyKey};
use crate::blueprint::{Block, Head, NewJob, Parent};
use crate::error::QueueError;
use crate::job::State;

/// Passes made at once when a worker reaches a loop's entry.
pub(super) const PASSES_AT_ONCE: i64 = 128;

/// What a block takes from the blocks around it.
#[derive(Debug, Default)]
pub(super) struct Outer {
    calls: HashMap<CallId, (i64, State)>,
    items: HashMap<LoopId, i64>,
}

/// The run and the frame that jobs are made for.
struct Site<'a> {
    run_number: i64,
    run: &'a RunEntry,
    frame: i64,
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
    let site = Site { run_number, run, frame };
    let first = change.take_job_ids(block.jobs.len());
    let id_of = |place: usize| first + i64::try_from(place).unwrap_or(i64::MAX / 2);
    let mut states = Vec::with_capacity(block.jobs.len());
    for (place, job) in block.jobs.iter().enumerate() {
        let parents = job.parents.iter().map(|parent| resolve(*parent, &states, &id_of, outer, item));
        let parents = parents.collect::<Result<Vec<_>, _>>()?;
        states.push(add(change, &site, id_of(place), job, &parents)?);
        if let Some(of) = job.feeds.and_then(|index| block.loops.get(index)) {
            change.add_loop(LoopRow {
                number: 0,
                run: run_number,
                of: of.id,
                frame,
                source: id_of(place),
                length: None,
                next: 0,
                age: None,
                value: None,
            });
        }
    }
    if !block.captured.is_empty() {
        change.add_bindings(frame, block.captured.iter().map(|(call, place)| (call.0, id_of(*place))).collect());
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

fn add(
    change: &mut Change<'_>,
    site: &Site<'_>,
    id: i64,
    new: &NewJob,
    parents: &[Resolved],
) -> Result<State, QueueError> {
    let mut distinct: Vec<(i64, State)> =
        parents.iter().filter(|(.., is_item)| !is_item).map(|(parent, state, _)| (*parent, *state)).collect();
    distinct.sort_unstable_by_key(|(parent, _)| *parent);
    distinct.dedup_by_key(|(parent, _)| *parent);
    let facts = Facts {
        id,
        run: site.run_number,
        frame: site.frame,
        call: Some(new.call.0),
        position: new.position,
        followers: new.followers,
        step: new.step,
        priority: site.run.plan.step(new.step)?.settings.priority,
        parents: parents.iter().map(|(parent, ..)| *parent).collect(),
    };
    let job = Job::submitted(facts, distinct.iter().map(|(_, state)| *state));
    let state = job.state();
    let edges: Vec<i64> = distinct.into_iter().map(|(parent, _)| parent).collect();
    change.add_job(job, &edges)?;
    Ok(state)
}

/// Begins the passes of a loop. A source that runs again after a reset begins nothing: items keep their values.
pub(super) fn fan_out(
    change: &mut Change<'_>,
    run: &RunEntry,
    of: LoopRow,
    value: &ValueRef,
    text: &Arc<str>,
) -> Result<(), QueueError> {
    if of.length.is_some() {
        return Ok(());
    }
    let length = i64::try_from(value.passes().unwrap_or(0)).unwrap_or(i64::MAX);
    let of = LoopRow { length: Some(length), value: Some(Arc::clone(text)), ..of };
    let jobs = jobs_of_pass(run, &of)?;
    change.count(of.run, None, Some(State::Waiting), length.saturating_mul(jobs));
    let outer = outer_of_heads(change, run.body(of.of)?, of.frame)?;
    stand(change, run, of, &outer)
}

/// Puts a loop where it belongs in the ready index: where passes begin that need not wait, while there are any to be made.
fn stand(change: &mut Change<'_>, run: &RunEntry, of: LoopRow, outer: &Outer) -> Result<(), QueueError> {
    let mut standing = Vec::new();
    if of.length.is_some_and(|length| of.next < length) {
        for head in &run.body(of.of)?.heads {
            let open = open(head, outer);
            for job in &open {
                change.await_job(of.number, *job);
            }
            if open.is_empty() {
                standing.push(head);
            }
        }
    }
    let age = if standing.is_empty() { None } else { Some(change.take_loop_age()) };
    match (of.age, age) {
        (None, Some(_)) => change.count_cursors(of.run, 1),
        (Some(_), None) => change.count_cursors(of.run, -1),
        _ => {}
    }
    change.put_loop(LoopRow { age, ..of }, &standing)
}

/// Outer jobs for which a head would have to wait. One that takes the result of a cancelled job does not wait: it is cancelled.
fn open(head: &Head, outer: &Outer) -> Vec<i64> {
    let taken: Vec<(i64, State)> = head.outer.iter().filter_map(|call| outer.calls.get(call).copied()).collect();
    if taken.iter().any(|(_, state)| *state == State::Cancelled) {
        return Vec::new();
    }
    taken.into_iter().filter(|(_, state)| *state != State::Succeeded).map(|(job, _)| job).collect()
}

/// Lets loops go on that waited for a job which now has a result, or will have none.
pub(super) fn go_on(change: &mut Change<'_>, job: i64) -> Result<(), QueueError> {
    for number in change.child_loops(job)? {
        let of = change.loop_row(number)?;
        let run = change.run(of.run)?;
        if of.length.is_some_and(|length| of.next < length) {
            let outer = outer_of_heads(change, run.body(of.of)?, of.frame)?;
            stand(change, &run, of, &outer)?;
        }
    }
    Ok(())
}

fn jobs_of_pass(run: &RunEntry, of: &LoopRow) -> Result<i64, QueueError> {
    Ok(i64::try_from(run.body(of.of)?.jobs.len()).unwrap_or(i64::MAX))
}

/// Makes the next passes of a loop one of whose entries a worker has reached; the entry then stands after them. Answers with their
/// number: none where they would have to wait again, since an outer job started over; then the entry is gone.
pub(super) fn reach(change: &mut Change<'_>, scope: i64, key: ReadyKey) -> Result<i64, QueueError> {
    let of = change.loop_row(-key.entry)?;
    let run = change.run(of.run)?;
    let body = run.body(of.of)?;
    let outer = outer(change, body, of.frame)?;
    for head in body.heads.iter().filter(|head| open(head, &outer).is_empty()) {
        let (its_scope, rank, _) = change.place_of(of.run, head.step)?;
        if (its_scope, rank) == (scope, key.rank) {
            return make_passes(change, of, &run, &outer);
        }
    }
    stand(change, &run, of, &outer)?;
    Ok(0)
}

fn make_passes(change: &mut Change<'_>, mut of: LoopRow, run: &RunEntry, outer: &Outer) -> Result<i64, QueueError> {
    let number = of.number;
    let body = run.body(of.of)?;
    let source = change.job(of.source)?;
    let source = source.ok_or_else(|| QueueError::Unreadable(format!("the source of loop {number} is gone")))?;
    let length = of.length.unwrap_or(0);
    let end = length.min(of.next + PASSES_AT_ONCE);
    for pass in of.next..end {
        let item = change.take_job_ids(1);
        let frame = change.add_frame(of.run, Some(number), pass, Some(item));
        add_item(change, &source, frame, item)?;
        change.set_element(item, number, pass);
        stamp(change, of.run, run, body, frame, outer, Some((of.of, item)))?;
    }
    let made = end - of.next;
    change.count(of.run, Some(State::Waiting), None, made * jobs_of_pass(run, &of)?);
    of.next = end;
    stand(change, run, of, outer)?;
    Ok(made)
}

/// An item has the settings of its source's last step.
fn add_item(change: &mut Change<'_>, source: &Job, frame: i64, id: i64) -> Result<(), QueueError> {
    let facts = Facts {
        id,
        run: source.run,
        frame,
        call: None,
        position: 0,
        followers: 0,
        step: source.step,
        priority: source.priority,
        parents: Arc::default(),
    };
    change.add_job(Job::item(facts), &[])
}

/// Closes all loops of a run: passes that were not made will not be. Answers with whether there were any.
pub(super) fn close_loops(change: &mut Change<'_>, run_number: i64) -> Result<bool, QueueError> {
    let run = change.run(run_number)?;
    let open = change.open_loops(run_number)?;
    let any = !open.is_empty();
    for mut of in open {
        let length = of.length.unwrap_or(0);
        let jobs = (length - of.next).saturating_mul(jobs_of_pass(&run, &of)?);
        change.count(run_number, Some(State::Waiting), Some(State::Cancelled), jobs);
        of.next = length;
        stand(change, &run, of, &Outer::default())?;
    }
    Ok(any)
}

/// Looks up what a loop's body takes from the frames around it.
fn outer(change: &mut Change<'_>, body: &Block, frame: i64) -> Result<Outer, QueueError> {
    let mut outer = Outer::default();
    let parents = body.jobs.iter().flat_map(|job| &job.parents);
    let mut calls =
        parents.filter_map(|parent| if let Parent::Outer(call) = parent { Some(*call) } else { None }).collect();
    let mut here = Some(frame);
    while let Some(number) = here {
        find_calls(change, number, &mut calls, &mut outer)?;
        here = enclosing(change, number, &mut outer.items)?;
    }
    Ok(outer)
}

/// Looks up what the calls take with which a pass of a loop begins, and no further.
fn outer_of_heads(change: &mut Change<'_>, body: &Block, frame: i64) -> Result<Outer, QueueError> {
    let mut calls = body.heads.iter().flat_map(|head| &head.outer).copied().collect::<BTreeSet<_>>();
    let mut outer = Outer::default();
    let mut here = Some(frame);
    while let Some(number) = here.filter(|_| !calls.is_empty()) {
        find_calls(change, number, &mut calls, &mut outer)?;
        here = enclosing(change, number, &mut outer.items)?;
    }
    Ok(outer)
}

/// Takes those of some calls that are in a frame.
fn find_calls(
    change: &mut Change<'_>,
    frame: i64,
    calls: &mut BTreeSet<CallId>,
    outer: &mut Outer,
) -> Result<(), QueueError> {
    for (call, job) in if calls.is_empty() { Vec::new() } else { change.bindings(frame)? } {
        if calls.remove(&CallId(call))
            && let Some(state) = change.state_of(job)?
        {
            outer.calls.insert(CallId(call), (job, state));
        }
    }
    Ok(())
}

/// The frame around a frame; notes the item of the frame on the way.
fn enclosing(
    change: &mut Change<'_>,
    number: i64,
    items: &mut HashMap<LoopId, i64>,
) -> Result<Option<i64>, QueueError> {
    let frame = change.frame(number)?;
    let Some(of) = frame.of else { return Ok(None) };
    let of = change.loop_row(of)?;
    if let Some(item) = frame.item {
        items.insert(of.of, item);
    }
    Ok(Some(of.frame))
}
