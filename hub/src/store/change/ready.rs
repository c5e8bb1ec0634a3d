//! The ready index as a batch sees it: what the database has, read a stretch at a time, and what the batch added.

use std::collections::BTreeSet;

use super::Change;
use crate::error::QueueError;
use crate::job::State;
use crate::store::job::Facts;
use crate::store::row::ReadyKey;

/// Entries of a scope read at once at the most.
const STRETCH_MAX: usize = 2_000;

/// The front of a scope's ready index. Entries that have gone in the meantime are found out when they are taken.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: BTreeSet<ReadyKey>,
    /// The last entry read from the database: up to it nothing is unknown.
    read_to: Option<ReadyKey>,
    /// Whether the database has no more.
    exhausted: bool,
}

impl Window {
    /// The first entry, where nothing unknown can stand before it; `Err` when more must be read first.
    fn first(&self) -> Result<Option<ReadyKey>, Unknown> {
        let first = self.entries.first().copied();
        match (first, self.read_to) {
            _ if self.exhausted => Ok(first),
            (Some(first), Some(read_to)) if first <= read_to => Ok(Some(first)),
            _ => Err(Unknown),
        }
    }
}

struct Unknown;

impl Change<'_> {
    /// Where a priority stands in the order of the ready index.
    pub(in crate::store) fn rank(&self, priority: i64) -> i64 {
        self.options.rank(priority)
    }

    pub(super) fn key_of(&self, job: &Facts, priority: i64) -> ReadyKey {
        ReadyKey { rank: self.rank(priority), run: job.run, age: job.id, entry: job.id }
    }

    /// The name of a job's scope, with its number.
    pub(super) fn scope_of(&mut self, job: &Facts) -> Result<(i64, String), QueueError> {
        let run = self.run(job.run)?;
        let name = &run.plan.step(job.step)?.settings.scope;
        Ok((self.scope(name)?, name.clone()))
    }

    pub(super) fn note_ready(&mut self, job: &Facts) -> Result<(), QueueError> {
        let (scope, name) = self.scope_of(job)?;
        let key = self.key_of(job, job.priority);
        self.note_entry(job.run, scope, key, &name);
        Ok(())
    }

    /// Notes an entry that stands in the ready index from now on, unless its run is paused. Nobody is woken for a paused scope.
    pub(super) fn note_entry(&mut self, run: i64, scope: i64, key: ReadyKey, name: &str) {
        if self.pauses.has_run(run) {
            return;
        }
        self.draft.windows.entry(scope).or_default().entries.insert(key);
        if !self.pauses.has_scope(name) {
            self.effects.ready(name);
        }
    }

    /// Notes that a ready job of this scope is given out: for one that became ready in this very batch nobody need be woken.
    pub(in crate::store) fn note_taken(&mut self, id: i64, scope: &str) {
        let tracked = self.draft.jobs.known.get(&id).and_then(Option::as_ref);
        if tracked.is_some_and(|tracked| tracked.before.is_none_or(|before| before.state != State::Ready)) {
            self.effects.taken(scope);
        }
    }

    /// Takes the first entry of a scope.
    pub(in crate::store) fn pop_ready(&mut self, scope: i64, wanted: usize) -> Result<Option<ReadyKey>, QueueError> {
        loop {
            let window = self.draft.windows.entry(scope).or_default();
            let Ok(first) = window.first() else {
                self.read_on(scope, wanted)?;
                continue;
            };
            let Some(key) = first else { return Ok(None) };
            window.entries.remove(&key);
            if self.stands(key)? {
                return Ok(Some(key));
            }
        }
    }

    /// Puts back an entry that was taken.
    pub(in crate::store) fn put_back(&mut self, scope: i64, key: ReadyKey) {
        self.draft.windows.entry(scope).or_default().entries.insert(key);
    }

    fn stands(&mut self, key: ReadyKey) -> Result<bool, QueueError> {
        if self.pauses.has_run(key.run) {
            return Ok(false);
        }
        if key.entry < 0 {
            return Ok(self.loop_row(-key.entry)?.age == Some(key.age));
        }
        let job = self.job(key.entry)?;
        Ok(job.is_some_and(|job| job.state() == State::Ready && self.key_of(&job, job.priority) == key))
    }

    /// Reads the next stretch of a scope, with the jobs in it and what they will take as inputs.
    fn read_on(&mut self, scope: i64, wanted: usize) -> Result<(), QueueError> {
        let stretch = wanted.max(self.slots_expected).clamp(1, STRETCH_MAX);
        let window = self.draft.windows.entry(scope).or_default();
        let keys = self.rows.ready(scope, window.read_to, i64::try_from(stretch).unwrap_or(i64::MAX))?;
        window.exhausted = keys.len() < stretch;
        window.read_to = keys.last().copied().or(window.read_to);
        window.entries.extend(&keys);
        let jobs: Vec<i64> = keys.iter().map(|key| key.entry).filter(|entry| *entry > 0).collect();
        self.load_jobs(jobs.iter().copied())?;
        let known = &self.draft.jobs.known;
        let tracked = jobs.iter().filter_map(|id| known.get(id).and_then(Option::as_ref));
        let parents: BTreeSet<i64> = tracked.flat_map(|tracked| tracked.job.parents.iter().copied()).collect();
        self.load_inputs(parents)
    }
}
