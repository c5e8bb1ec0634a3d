//! Giving jobs to workers, and making parked jobs ready when their time has come.

use std::collections::BTreeSet;

use protocol::api::{Lease, LeaseRequest};
use protocol::{Isolation, SessionId, ValueRef};

use super::Store;
use super::change::Change;
use super::job::{Facts, Job};
use super::passes::{PASSES_AT_ONCE, reach};
use super::row::{self, Input, job_id};
use super::writer::Expectation;
use crate::error::QueueError;
use crate::job::{Held, Leased, Parked, Ready, longest_pause};

/// Parked jobs made ready, or looked at, in one transaction.
const PROMOTED_AT_ONCE: i64 = 1_000;

/// What a worker is given beside the order of its scopes, so that none of them starves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// So many of its jobs are taken from scopes in turn.
    pub jobs: usize,
    /// The scope whose turn it is: its place among those of the request that come after the first.
    pub next: usize,
}

/// What a worker was given.
#[derive(Debug)]
pub struct Given {
    /// The leases, those of its share first.
    pub leases: Vec<Lease>,
    /// The scope of each: its place in the request.
    pub scopes: Vec<usize>,
    /// Whether it had no more room: there may be more for it.
    pub is_full: bool,
    /// The scope whose turn is next.
    pub next: usize,
}

impl Store {
    /// Leases up to `request.slots` ready jobs: scopes in the worker's order, higher priority first, then the oldest run,
    /// then the oldest job. Before these, so many as it is due are taken from scopes in turn.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lease(&self, request: LeaseRequest, share: Share, now_ms: i64) -> Result<Given, QueueError> {
        let slots = request.slots as usize;
        self.write_expecting(Expectation::Slots(slots), move |change| lease(change, &request, share, now_ms)).await
    }

    /// Makes parked jobs ready whose time has come. Answers with the time of the next one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn promote(&self, now_ms: i64) -> Result<Option<i64>, QueueError> {
        self.write(move |change| promote(change, now_ms)).await
    }

    /// Lets parked jobs after `after` wait no longer than the longest pause of their step from `now_ms` on: a clock that was ahead
    /// must not keep them. Answers with the number of those brought forward, and where to go on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn bring_forward(&self, after: (i64, i64), now_ms: i64) -> Result<(u64, Option<(i64, i64)>), QueueError> {
        self.write(move |change| bring_forward(change, after, now_ms)).await
    }
}

pub(super) fn lease(
    change: &mut Change<'_>,
    request: &LeaseRequest,
    share: Share,
    now_ms: i64,
) -> Result<Given, QueueError> {
    let shared_slots = request.shared_slots as usize;
    let room = Room { slots: request.slots as usize, shared_slots, has_shared: shared_slots > 0 };
    let mut taking = Taking { request, now_ms, room, claims: Vec::new() };
    let next = taking.shares(change, share)?;
    for place in 0..request.scopes.len() {
        taking.take_from_scope(change, place, usize::MAX)?;
    }
    let Taking { room, claims, .. } = taking;
    let inputs: BTreeSet<i64> = claims.iter().flat_map(|claim| claim.job.parents.iter().copied()).collect();
    change.load_inputs(inputs)?;
    let scopes = claims.iter().map(|claim| claim.scope).collect();
    let leases = claims.into_iter().map(|claim| wire(change, &claim)).collect::<Result<_, _>>()?;
    Ok(Given { leases, scopes, is_full: room.is_used_up(), next })
}

/// A job that was taken for a worker.
struct Claim {
    job: Job<Leased>,
    shared: bool,
    /// Place of its scope in the request.
    scope: usize,
}

/// What is being taken for a worker.
struct Taking<'r> {
    request: &'r LeaseRequest,
    now_ms: i64,
    room: Room,
    claims: Vec<Claim>,
}

impl Taking<'_> {
    /// Takes one job for each share: from the scope whose turn it is, or the next one that has any. The first scope needs none.
    /// Answers with whose turn is next.
    fn shares(&mut self, change: &mut Change<'_>, share: Share) -> Result<usize, QueueError> {
        let others = self.request.scopes.len().saturating_sub(1);
        let mut next = share.next;
        for _ in 0..share.jobs {
            for turn in (0..others).map(|offset| (next + offset) % others) {
                if self.take_from_scope(change, turn + 1, 1)? > 0 {
                    next = turn + 1;
                    break;
                }
            }
        }
        Ok(next)
    }

    /// Takes up to `most` jobs of the scope at this place. Answers with their number.
    fn take_from_scope(&mut self, change: &mut Change<'_>, place: usize, most: usize) -> Result<usize, QueueError> {
        let Some(name) = self.request.scopes.get(place) else { return Ok(0) };
        if self.room.is_used_up() || change.pauses.has_scope(name) {
            return Ok(0);
        }
        let Some(scope) = change.known_scope(name)? else { return Ok(0) };
        let mut taken = 0;
        while taken < most && !self.room.is_used_up() {
            let Some(key) = change.pop_ready(scope, self.room.slots)? else { break };
            if key.entry > 0 {
                change.barren.remove(&scope);
                self.claim(change, (place, scope, name), key.entry)?;
                taken += 1;
            } else if change.barren.get(&scope).is_some_and(|passes| *passes >= PASSES_AT_ONCE) {
                // Passes were made and gave this scope no job, as cancelled ones do. The next few are made in another transaction,
                // for which this worker is woken.
                change.put_back(scope, key);
                change.effects.ready(name);
                break;
            } else {
                // What can run of the new passes stands before all entries of loops of the same run and rank: it comes next.
                let passes = reach(change, scope, key)?;
                *change.barren.entry(scope).or_default() += passes;
            }
        }
        Ok(taken)
    }

    fn claim(
        &mut self,
        change: &mut Change<'_>,
        (place, scope, name): (usize, i64, &str),
        id: i64,
    ) -> Result<(), QueueError> {
        change.note_taken(id, name);
        let job = claim(change, scope, id, self.request.session, self.now_ms)?;
        let shared = self.room.take(is_shared(change, &job)?);
        self.claims.push(Claim { job, shared, scope: place });
        Ok(())
    }
}

/// What a worker has room for.
struct Room {
    slots: usize,
    /// Beside these, for steps that share an interpreter.
    shared_slots: usize,
    /// Whether it has any of these: a worker that knows of none has its slots for such steps too.
    has_shared: bool,
}

impl Room {
    /// Whether the next job may find no place, whatever it is: what comes is known only when it is taken.
    fn is_used_up(&self) -> bool {
        self.slots == 0 || (self.has_shared && self.shared_slots == 0)
    }

    /// Answers with whether it is one of the shared slots.
    fn take(&mut self, is_shared: bool) -> bool {
        let takes_shared = is_shared && self.shared_slots > 0;
        let slots = if takes_shared { &mut self.shared_slots } else { &mut self.slots };
        *slots -= 1;
        takes_shared
    }
}

fn is_shared(change: &mut Change<'_>, job: &Facts) -> Result<bool, QueueError> {
    let run = change.run(job.run)?;
    Ok(run.plan.step(job.step)?.settings.runtime.isolation == Some(Isolation::Shared))
}

/// The time of a lease: that of its step, and the worker's own.
pub(super) fn time_ms(change: &mut Change<'_>, job: &Facts) -> Result<i64, QueueError> {
    let timeout_ms = change.run(job.run)?.plan.step(job.step)?.settings.timeout_ms;
    Ok(i64::try_from(timeout_ms).unwrap_or(i64::MAX / 4).saturating_add(change.options.timeout_grace_ms))
}

fn claim(
    change: &mut Change<'_>,
    scope: i64,
    id: i64,
    session: SessionId,
    now_ms: i64,
) -> Result<Job<Leased>, QueueError> {
    let job = change.job(id)?.ok_or_else(|| QueueError::Unreadable(format!("ready job j{id} is gone")))?;
    let job = job.when::<Ready>().ok_or_else(|| QueueError::Unreadable(format!("ready job j{id} is not ready")))?;
    let time_ms = time_ms(change, &job)?;
    let token = change.chance.token()?;
    let held = Held { token, session, scope, since_ms: now_ms, time_ms };
    let job = job.go(|ready| ready.lease(held));
    change.effects.leased(session, now_ms.saturating_add(time_ms));
    change.put_job(job.clone())?;
    Ok(job)
}

fn wire(change: &mut Change<'_>, Claim { job, shared, .. }: &Claim) -> Result<Lease, QueueError> {
    let run = change.run(job.run)?;
    let inputs = job.parents.iter().map(|parent| input(change, *parent)).collect::<Result<_, _>>()?;
    Ok(Lease {
        token: job.standing().held().token,
        job: job_id(job.id),
        run: run.id.clone(),
        attempt: job.standing().attempt(),
        plan: run.plan.digest,
        step: job.step,
        priority: job.priority,
        inputs,
        shared: *shared,
        // The jobs of a chain are numbered one after another.
        next_job: (job.followers > 0).then(|| job_id(job.id + 1)),
    })
}

fn input(change: &mut Change<'_>, parent: i64) -> Result<ValueRef, QueueError> {
    match change.input(parent)? {
        Some(Input::Value(Some(text))) => row::value(&text),
        Some(Input::Element { of, pass }) => change.element(of, pass),
        Some(Input::Value(None)) | None => {
            Err(QueueError::Unreadable(format!("job j{parent} has succeeded and has no value")))
        }
    }
}

fn bring_forward(
    change: &mut Change<'_>,
    after: (i64, i64),
    now_ms: i64,
) -> Result<(u64, Option<(i64, i64)>), QueueError> {
    change.flush()?;
    let parked = change.rows.parked(after, PROMOTED_AT_ONCE)?;
    change.load_jobs(parked.iter().map(|(_, job)| *job))?;
    let mut brought = 0;
    for (from_ms, id) in &parked {
        let Some(job) = change.job(*id)?.and_then(Job::when::<Parked>) else { continue };
        let run = change.run(job.run)?;
        let pause = longest_pause(&run.plan.step(job.step)?.settings, job.standing().tally(), &change.options.policy);
        let latest_ms = now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 4));
        if *from_ms > latest_ms {
            change.put_job(job.go(|parked| parked.bring_forward(latest_ms)))?;
            brought += 1;
        }
    }
    let is_full = i64::try_from(parked.len()).is_ok_and(|count| count == PROMOTED_AT_ONCE);
    Ok((brought, parked.last().copied().filter(|_| is_full)))
}

fn promote(change: &mut Change<'_>, now_ms: i64) -> Result<Option<i64>, QueueError> {
    change.flush()?;
    let due = change.rows.due(now_ms, PROMOTED_AT_ONCE)?;
    change.load_jobs(due.iter().copied())?;
    for id in due {
        if let Some(job) = change.job(id)?.and_then(Job::when::<Parked>) {
            change.put_job(job.go(Parked::wake))?;
        }
    }
    change.flush()?;
    change.rows.next_due()
}
