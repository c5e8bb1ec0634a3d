//! A working set over one transaction: rows are read in sets, changed in memory, and written together at the end.
//!
//! Changes that arrive together share one working set, so a job that is made and leased in one batch is written once. What stands in
//! the indexes (ready, held, parked, leases) follows from the jobs themselves: it is worked out in [`flush`], never kept by hand.

mod flush;
mod jobs;
mod loops;
mod ready;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use protocol::{LeaseToken, LoopId, RunId, SessionId};

use super::StoreOptions;
use super::chance::Chance;
use super::effects::Effects;
use super::pause::{PausedRuns, Pauses};
use super::plans::{PlanCache, PlanEntry};
use super::row::{Attempt, Delta, Frame, NewRun, Numbers, Run};
use super::rows::Rows;
use crate::blueprint::Block;
use crate::error::QueueError;
use crate::job::State;

pub(crate) use flush::{Changes, JobChange, StoredPlan};
pub(super) use loops::element_of;

/// A run as changes need it.
#[derive(Debug)]
pub(super) struct RunEntry {
    pub id: RunId,
    pub plan: Arc<PlanEntry>,
}

impl RunEntry {
    /// The body of a loop.
    pub(super) fn body(&self, of: LoopId) -> Result<&Block, QueueError> {
        let bodies = &self.plan.blueprints.bodies;
        bodies.get(&of).ok_or_else(|| QueueError::Unreadable(format!("plan {} has no loop {}", self.plan.digest, of.0)))
    }
}

/// What the writer keeps in memory between changes: facts that never change once they are stored.
pub(super) struct Caches {
    plans: Arc<PlanCache>,
    runs: HashMap<i64, Arc<RunEntry>>,
    scopes: HashMap<String, i64>,
    /// Scopes that did not exist while the next number of one was `scopes_to`.
    no_scopes: HashSet<String>,
    scopes_to: i64,
    paused_runs: PausedRuns,
}

impl Caches {
    /// Runs kept; more are read again.
    const RUNS_MAX: usize = 1_024;
    /// Scopes kept; more are read again.
    const SCOPES_MAX: usize = 10_000;

    pub(super) fn new(plans: Arc<PlanCache>) -> Self {
        Self {
            plans,
            runs: HashMap::new(),
            scopes: HashMap::new(),
            no_scopes: HashSet::new(),
            scopes_to: 0,
            paused_runs: PausedRuns::default(),
        }
    }

    /// Forgets that scopes do not exist where some have been made since, here or by another hub.
    fn begin(&mut self, numbers: Numbers) {
        if self.scopes_to != numbers.scope || self.no_scopes.len() >= Self::SCOPES_MAX {
            self.no_scopes.clear();
            self.scopes_to = numbers.scope;
        }
    }

    /// Forgets what a failed transaction may have put in.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.scopes.clear();
        self.no_scopes.clear();
        self.paused_runs = PausedRuns::default();
    }
}

/// What was read and changed and is not written yet.
#[derive(Default)]
struct Draft {
    jobs: jobs::Jobs,
    loops: loops::Loops,
    windows: HashMap<i64, ready::Window>,
    new_frames: Vec<Frame>,
    bindings: HashMap<i64, Vec<(u32, i64)>>,
    attempts: Vec<Attempt>,
    /// Tokens with which attempts were settled, as the database has them.
    settled: HashMap<(i64, u32), Option<LeaseToken>>,
    scopes: Vec<(i64, String)>,
    runs: Vec<NewRun>,
    plans: Vec<StoredPlan>,
}

/// Changes inside one transaction.
pub(super) struct Change<'a> {
    pub rows: &'a mut dyn Rows,
    pub options: &'a StoreOptions,
    pub chance: &'a mut Chance,
    pub pauses: Pauses,
    caches: &'a mut Caches,
    draft: Draft,
    numbers: Numbers,
    numbers_before: Numbers,
    deltas: BTreeMap<i64, Delta>,
    pub effects: Effects,
    /// Sessions whose attempts were settled.
    pub handed_in: BTreeSet<SessionId>,
    edits: u64,
    slots_expected: usize,
    /// Passes that were made for a scope since a job was last taken from it.
    pub barren: HashMap<i64, i64>,
}

impl<'a> Change<'a> {
    pub(super) fn begin(
        rows: &'a mut dyn Rows,
        caches: &'a mut Caches,
        options: &'a StoreOptions,
        chance: &'a mut Chance,
    ) -> Result<Self, QueueError> {
        let numbers = rows.numbers()?;
        caches.begin(numbers);
        let pauses = Pauses::load(rows, &mut caches.paused_runs)?;
        Ok(Self {
            rows,
            options,
            chance,
            pauses,
            caches,
            draft: Draft::default(),
            numbers,
            numbers_before: numbers,
            deltas: BTreeMap::new(),
            effects: Effects::default(),
            handed_in: BTreeSet::new(),
            edits: 0,
            slots_expected: 0,
            barren: HashMap::new(),
        })
    }

    /// How many edits were made: one that fails after an edit spoils the whole transaction.
    pub(super) fn edits(&self) -> u64 {
        self.edits
    }

    /// Notes that something was, or will be, written outside the working set.
    pub(super) fn edited(&mut self) {
        self.edits += 1;
    }

    /// Says how many slots the requests to come have, so that what they need is read at once.
    pub(super) fn expect_slots(&mut self, slots: usize) {
        self.slots_expected += slots;
    }

    /// Writes everything, counts included, and hands over the effects.
    pub(super) fn finish(mut self, now_ms: i64) -> Result<Effects, QueueError> {
        self.flush()?;
        let deltas: Vec<(i64, Delta)> = std::mem::take(&mut self.deltas).into_iter().collect();
        if !deltas.is_empty() {
            self.rows.count(&deltas, now_ms)?;
            self.effects.runs = true;
        }
        if !self.effects.is_empty() {
            self.rows.announce(&self.effects)?;
        }
        Ok(self.effects)
    }

    /// Hands out `count` job ids in a row; answers with the first.
    pub(super) fn take_job_ids(&mut self, count: usize) -> i64 {
        let first = self.numbers.job;
        self.numbers.job += i64::try_from(count).unwrap_or(i64::MAX / 2);
        first
    }

    /// Counts jobs of `run` that go from one state to another; `None` is "not there".
    pub(super) fn count(&mut self, run: i64, from: Option<State>, to: Option<State>, jobs: i64) {
        let delta = self.deltas.entry(run).or_default();
        if let Some(from) = from {
            delta.states[from as usize] -= jobs;
        }
        if let Some(to) = to {
            delta.states[to as usize] += jobs;
        }
    }

    /// Counts loops that begin (1) or end (-1) to have passes still to be made.
    pub(super) fn count_cursors(&mut self, run: i64, by: i64) {
        self.deltas.entry(run).or_default().cursors += by;
    }

    /// Says that a run changed although no count of it did.
    pub(super) fn touch(&mut self, run: i64) {
        self.deltas.entry(run).or_default();
    }

    /// The run with this number.
    pub(super) fn run(&mut self, number: i64) -> Result<Arc<RunEntry>, QueueError> {
        if let Some(run) = self.caches.runs.get(&number) {
            return Ok(Arc::clone(run));
        }
        let run = self.rows.run(number)?.ok_or_else(|| QueueError::Unreadable(format!("run {number} is gone")))?;
        let plan = self.caches.plans.get(self.rows, run.plan)?;
        Ok(self.remember_run(number, RunEntry { id: run.id, plan }))
    }

    fn remember_run(&mut self, number: i64, entry: RunEntry) -> Arc<RunEntry> {
        if self.caches.runs.len() >= Caches::RUNS_MAX {
            self.caches.runs.clear();
        }
        let entry = Arc::new(entry);
        self.caches.runs.insert(number, Arc::clone(&entry));
        entry
    }

    /// The number of a run.
    pub(super) fn run_number(&mut self, id: &RunId) -> Result<i64, QueueError> {
        self.run_row(id).map(|run| run.number)
    }

    /// A run as it is stored; its counts are those from before this change.
    pub(super) fn run_row(&mut self, id: &RunId) -> Result<Run, QueueError> {
        self.flush()?;
        self.rows.run_by_id(id)?.ok_or_else(|| QueueError::not_found(format!("run {id}")))
    }

    /// Adds a run with its plan; answers with its number and its frame.
    pub(super) fn add_run(&mut self, run: NewRun, stored: Option<StoredPlan>, plan: Arc<PlanEntry>) -> Arc<RunEntry> {
        self.edits += 1;
        self.draft.plans.extend(stored);
        let entry = RunEntry { id: run.id.clone(), plan };
        self.touch(run.number);
        let number = run.number;
        self.draft.runs.push(run);
        self.remember_run(number, entry)
    }

    /// The next number of a run.
    pub(super) fn take_run_number(&mut self) -> i64 {
        self.numbers.run += 1;
        self.numbers.run - 1
    }

    /// The number of a scope that is known, or `None`.
    pub(super) fn known_scope(&mut self, name: &str) -> Result<Option<i64>, QueueError> {
        if let Some(number) = self.caches.scopes.get(name) {
            return Ok(Some(*number));
        }
        if self.caches.no_scopes.contains(name) {
            return Ok(None);
        }
        let found = self.rows.scope(name)?;
        match found {
            Some(number) => self.remember_scope(name, number),
            None => drop(self.caches.no_scopes.insert(name.to_owned())),
        }
        Ok(found)
    }

    /// Reads what is paused again.
    pub(super) fn load_pauses(&mut self) -> Result<(), QueueError> {
        self.pauses = Pauses::load(self.rows, &mut self.caches.paused_runs)?;
        Ok(())
    }

    /// The number of a scope; makes one when it is new.
    pub(super) fn scope(&mut self, name: &str) -> Result<i64, QueueError> {
        if let Some(number) = self.known_scope(name)? {
            return Ok(number);
        }
        let number = self.numbers.scope;
        self.numbers.scope += 1;
        self.draft.scopes.push((number, name.to_owned()));
        self.caches.no_scopes.remove(name);
        self.remember_scope(name, number);
        Ok(number)
    }

    fn remember_scope(&mut self, name: &str, number: i64) {
        if self.caches.scopes.len() >= Caches::SCOPES_MAX {
            self.caches.scopes.clear();
            self.caches.scopes.extend(self.draft.scopes.iter().map(|(number, name)| (name.clone(), *number)));
        }
        self.caches.scopes.insert(name.to_owned(), number);
    }

    /// Adds a settled attempt to the history.
    pub(super) fn add_attempt(&mut self, attempt: Attempt) {
        self.edits += 1;
        self.draft.attempts.push(attempt);
    }

    /// Whether an attempt was settled with this token before.
    pub(super) fn was_settled(&mut self, job: i64, number: u32, token: LeaseToken) -> Result<bool, QueueError> {
        let here = self.draft.attempts.iter();
        let mut here = here.filter(|attempt| attempt.job == job && attempt.number == number);
        if here.any(|attempt| attempt.token == token) {
            return Ok(true);
        }
        self.load_settled(&[(job, number)])?;
        Ok(self.draft.settled.get(&(job, number)).copied().flatten() == Some(token))
    }

    /// Reads with which tokens attempts were settled that are not at hand yet.
    pub(super) fn load_settled(&mut self, attempts: &[(i64, u32)]) -> Result<(), QueueError> {
        let settled = &mut self.draft.settled;
        let absent: Vec<(i64, u32)> = attempts.iter().copied().filter(|key| !settled.contains_key(key)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        settled.extend(absent.iter().map(|key| (*key, None)));
        for (job, number, token) in self.rows.settled(&absent)? {
            settled.insert((job, number), Some(token));
        }
        Ok(())
    }
}
