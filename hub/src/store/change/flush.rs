//! What a working set came to: the rows to write, and the entries of the indexes that follow from them.

use std::sync::Arc;

use protocol::Digest;

use super::jobs::{Before, Tracked};
use super::{Change, Draft};
use crate::error::QueueError;
use crate::job::{Held, State};
use crate::store::job::Job;
use crate::store::row::{Attempt, Frame, LoopRow, NewRun, Numbers, ReadyKey};

/// Everything that one transaction writes about jobs.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub numbers: Option<Numbers>,
    pub scopes: Vec<(i64, String)>,
    pub plans: Vec<StoredPlan>,
    pub runs: Vec<NewRun>,
    pub frames: Vec<Frame>,
    pub new_loops: Vec<LoopRow>,
    pub changed_loops: Vec<LoopRow>,
    /// Frame, call, last job.
    pub bindings: Vec<(i64, u32, i64)>,
    /// Parent, child.
    pub edges: Vec<(i64, i64)>,
    pub new_jobs: Vec<JobChange>,
    pub changed_jobs: Vec<JobChange>,
    pub ready_out: Vec<(i64, ReadyKey)>,
    pub ready_in: Vec<(i64, ReadyKey)>,
    pub held_out: Vec<(i64, ReadyKey)>,
    pub held_in: Vec<(i64, ReadyKey)>,
    /// Time, job.
    pub parked_out: Vec<(i64, i64)>,
    pub parked_in: Vec<(i64, i64)>,
    pub leases_out: Vec<i64>,
    pub leases_in: Vec<(i64, Held)>,
    pub attempts: Vec<Attempt>,
    /// Attempts of a job up to a number that are no longer kept.
    pub attempts_out: Vec<(i64, i64)>,
}

/// A job that is new, or was changed; `None` leaves a text as it is.
#[derive(Debug)]
pub(crate) struct JobChange {
    pub job: Job,
    pub value: Option<Option<Arc<str>>>,
    pub error: Option<Option<Arc<str>>>,
}

/// A plan and its bundle on their way into the database.
#[derive(Debug, Clone)]
pub(crate) struct StoredPlan {
    pub digest: Digest,
    pub body: String,
    pub bundle: Digest,
    pub manifest: String,
}

impl Change<'_> {
    /// Writes what was changed and forgets what was read.
    pub(in crate::store) fn flush(&mut self) -> Result<(), QueueError> {
        let draft = std::mem::take(&mut self.draft);
        let mut changes = Changes::default();
        self.loops(&draft, &mut changes)?;
        let Draft { mut jobs, new_frames, bindings, attempts, runs, plans, scopes, .. } = draft;
        for id in std::mem::take(&mut jobs.changed) {
            if let Some(Some(tracked)) = jobs.known.remove(&id) {
                self.job_change(tracked, &mut changes)?;
            }
        }
        changes.frames = new_frames;
        changes.edges = jobs.edges;
        for (frame, calls) in bindings {
            changes.bindings.extend(calls.into_iter().map(|(call, job)| (frame, call, job)));
        }
        let kept = self.options.attempts_kept;
        let over = attempts.iter().filter(|attempt| attempt.number > kept);
        changes.attempts_out = over.map(|attempt| (attempt.job, i64::from(attempt.number - kept))).collect();
        changes.attempts = attempts;
        changes.runs = runs;
        changes.plans = plans;
        changes.scopes = scopes;
        changes.scopes.append(&mut self.draft.scopes);
        if self.numbers != self.numbers_before {
            changes.numbers = Some(self.numbers);
            self.numbers_before = self.numbers;
        }
        self.rows.write(&changes)
    }

    fn loops(&mut self, draft: &Draft, changes: &mut Changes) -> Result<(), QueueError> {
        let changed = draft.loops.known.values().filter(|tracked| tracked.changed);
        for tracked in changed {
            let before = tracked.before.unwrap_or(None);
            if before != tracked.row.age {
                let held = self.pauses.has_run(tracked.row.run);
                let out = self.former_keys(&tracked.row, before)?;
                if held { &mut changes.held_out } else { &mut changes.ready_out }.extend(out);
                if held { &mut changes.held_in } else { &mut changes.ready_in }.extend(&tracked.stands);
            }
            let is_new = tracked.before.is_none();
            if is_new { &mut changes.new_loops } else { &mut changes.changed_loops }.push(tracked.row.clone());
        }
        Ok(())
    }

    fn job_change(&mut self, tracked: Tracked, changes: &mut Changes) -> Result<(), QueueError> {
        let Tracked { job, before, value, error, .. } = tracked;
        self.ready_change(&job, before, changes)?;
        parked_change(&job, before, changes);
        lease_change(&job, before, changes);
        let change = JobChange { job, value, error };
        if before.is_none() { &mut changes.new_jobs } else { &mut changes.changed_jobs }.push(change);
        Ok(())
    }

    fn ready_change(&mut self, job: &Job, before: Option<Before>, changes: &mut Changes) -> Result<(), QueueError> {
        let was = before.filter(|before| before.state == State::Ready).map(|before| self.key_of(job, before.priority));
        let is = (job.state() == State::Ready).then(|| self.key_of(job, job.priority));
        if was == is {
            return Ok(());
        }
        let (scope, _) = self.scope_of(job)?;
        let held = self.pauses.has_run(job.run);
        if let Some(key) = was {
            if held { &mut changes.held_out } else { &mut changes.ready_out }.push((scope, key));
        }
        if let Some(key) = is {
            if held { &mut changes.held_in } else { &mut changes.ready_in }.push((scope, key));
        }
        Ok(())
    }
}

fn parked_change(job: &Job, before: Option<Before>, changes: &mut Changes) {
    let was = before.and_then(|before| before.from_ms);
    let is = job.standing().from_ms();
    if was != is {
        changes.parked_out.extend(was.map(|from_ms| (from_ms, job.id)));
        changes.parked_in.extend(is.map(|from_ms| (from_ms, job.id)));
    }
}

fn lease_change(job: &Job, before: Option<Before>, changes: &mut Changes) {
    if before.is_some_and(|before| before.leased) {
        changes.leases_out.push(job.id);
    }
    changes.leases_in.extend(job.standing().held().map(|held| (job.id, *held)));
}
