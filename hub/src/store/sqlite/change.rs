//! One change inside a transaction: what it may use (caches, ids), what it counts, and what it causes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::RunId;
use rusqlite::{Connection, OptionalExtension, params};

use super::StoreOptions;
use super::pause::Pauses;
use super::plans::{PlanCache, PlanEntry};
use crate::error::QueueError;
use crate::job::State;

/// What a committed change means for those who wait.
#[derive(Debug, Default)]
pub struct Effects {
    /// Jobs that became ready, by scope.
    pub ready: BTreeMap<String, u64>,
    /// Earliest time at which a newly parked job becomes ready.
    pub parked_until_ms: Option<i64>,
    /// Whether runs changed.
    pub runs: bool,
}

impl Effects {
    pub(super) fn merge(&mut self, other: Self) {
        for (scope, count) in other.ready {
            *self.ready.entry(scope).or_default() += count;
        }
        self.parked_until_ms = match (self.parked_until_ms, other.parked_until_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.runs |= other.runs;
    }
}

/// A run as changes need it.
#[derive(Debug, Clone)]
pub(super) struct RunEntry {
    pub id: RunId,
    pub plan: Arc<PlanEntry>,
}

/// What the writer keeps in memory between changes. All of it can be read again from the database.
pub(super) struct Caches {
    plans: Arc<PlanCache>,
    runs: HashMap<i64, RunEntry>,
    scopes: HashMap<String, i64>,
    pauses: Pauses,
    next_job: i64,
}

impl Caches {
    /// Runs kept; more are read again.
    const RUNS_MAX: usize = 1_024;

    pub(super) fn load(connection: &Connection, plans: Arc<PlanCache>) -> rusqlite::Result<Self> {
        let mut caches =
            Self { plans, runs: HashMap::new(), scopes: HashMap::new(), pauses: Pauses::default(), next_job: 1 };
        caches.reload(connection)?;
        Ok(caches)
    }

    /// Forgets what a failed transaction may have put in.
    pub(super) fn reload(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.runs.clear();
        self.scopes.clear();
        self.pauses = Pauses::load(connection)?;
        self.next_job = connection.query_row("SELECT ifnull(max(id), 0) + 1 FROM jobs", [], |row| row.get(0))?;
        Ok(())
    }
}

/// Numbers by which the counts of one run change.
#[derive(Debug, Default, Clone, Copy)]
struct Delta {
    states: [i64; 7],
    cursors: i64,
}

/// One change inside a transaction.
pub(super) struct Change<'a> {
    pub connection: &'a Connection,
    pub options: &'a StoreOptions,
    caches: &'a mut Caches,
    deltas: BTreeMap<i64, Delta>,
    effects: Effects,
    /// What this change put into the caches, in case it is rolled back.
    new_scopes: Vec<String>,
    new_runs: Vec<i64>,
    finished: bool,
}

impl<'a> Change<'a> {
    pub(super) fn new(connection: &'a Connection, caches: &'a mut Caches, options: &'a StoreOptions) -> Self {
        Self {
            connection,
            options,
            caches,
            deltas: BTreeMap::new(),
            effects: Effects::default(),
            new_scopes: Vec::new(),
            new_runs: Vec::new(),
            finished: false,
        }
    }

    /// Writes the counts and hands over the effects.
    pub(super) fn finish(mut self) -> rusqlite::Result<Effects> {
        let now_ms = crate::clock::now_ms();
        for (run, delta) in std::mem::take(&mut self.deltas) {
            self.write_counts(run, delta, now_ms)?;
            self.effects.runs = true;
        }
        self.finished = true;
        Ok(std::mem::take(&mut self.effects))
    }

    fn write_counts(&self, run: i64, delta: Delta, now_ms: i64) -> rusqlite::Result<()> {
        let [waiting, ready, parked, leased, succeeded, failed, cancelled] = delta.states;
        let mut statement = self.connection.prepare_cached(
            "UPDATE runs SET version = version + 1,
                 n_waiting = n_waiting + ?2, n_ready = n_ready + ?3, n_parked = n_parked + ?4, n_leased = n_leased + ?5,
                 n_succeeded = n_succeeded + ?6, n_failed = n_failed + ?7, n_cancelled = n_cancelled + ?8,
                 n_cursors = n_cursors + ?9
             WHERE number = ?1
             RETURNING n_ready + n_parked + n_leased + n_cursors = 0, finished_ms IS NOT NULL",
        )?;
        let (over, was_over): (bool, bool) = statement.query_row(
            params![run, waiting, ready, parked, leased, succeeded, failed, cancelled, delta.cursors],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if over != was_over {
            let finished = over.then_some(now_ms);
            self.connection
                .prepare_cached("UPDATE runs SET finished_ms = ?2 WHERE number = ?1")?
                .execute(params![run, finished])?;
        }
        Ok(())
    }

    /// Hands out `count` job ids in a row; answers with the first.
    pub(super) fn take_job_ids(&mut self, count: usize) -> i64 {
        let first = self.caches.next_job;
        self.caches.next_job += i64::try_from(count).unwrap_or(i64::MAX / 2);
        first
    }

    /// Counts a job of `run` that goes from one state to another; `None` is "not there".
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
    pub(super) fn run(&mut self, number: i64) -> Result<RunEntry, QueueError> {
        if let Some(run) = self.caches.runs.get(&number) {
            return Ok(run.clone());
        }
        let (id, digest): (String, [u8; 32]) = self
            .connection
            .prepare_cached("SELECT id, plan FROM runs WHERE number = ?1")?
            .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let plan = self.caches.plans.get(self.connection, protocol::Digest(digest))?;
        let id = id.parse().map_err(|error| QueueError::Unreadable(format!("run {number}: {error}")))?;
        let entry = RunEntry { id, plan };
        if self.caches.runs.len() >= Caches::RUNS_MAX {
            self.caches.runs.clear();
        }
        self.caches.runs.insert(number, entry.clone());
        self.new_runs.push(number);
        Ok(entry)
    }

    /// The number of a scope that is known, or `None`.
    pub(super) fn known_scope(&mut self, name: &str) -> Result<Option<i64>, QueueError> {
        if let Some(number) = self.caches.scopes.get(name) {
            return Ok(Some(*number));
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT number FROM scopes WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(number) = found {
            self.remember_scope(name, number);
        }
        Ok(found)
    }

    /// The number of a scope; makes one when it is new.
    pub(super) fn scope(&mut self, name: &str) -> Result<i64, QueueError> {
        if let Some(number) = self.known_scope(name)? {
            return Ok(number);
        }
        self.connection.prepare_cached("INSERT INTO scopes (name) VALUES (?1)")?.execute([name])?;
        let number = self.connection.last_insert_rowid();
        self.remember_scope(name, number);
        Ok(number)
    }

    fn remember_scope(&mut self, name: &str, number: i64) {
        self.caches.scopes.insert(name.to_owned(), number);
        self.new_scopes.push(name.to_owned());
    }

    /// Where a priority stands in the order of the ready index.
    pub(super) fn rank(&self, priority: i64) -> i64 {
        if self.options.reverse_priority { priority } else { priority.saturating_neg() }
    }

    /// Puts a job, or a loop with passes still to be made, into the ready index.
    pub(super) fn enqueue(
        &mut self,
        scope: &str,
        priority: i64,
        run: i64,
        age: i64,
        entry: i64,
    ) -> Result<(), QueueError> {
        let number = self.scope(scope)?;
        let insert = if self.caches.pauses.has_run(run) {
            "INSERT OR IGNORE INTO held (scope, rank, run, age, entry) VALUES (?1, ?2, ?3, ?4, ?5)"
        } else {
            "INSERT OR IGNORE INTO ready (scope, rank, run, age, entry) VALUES (?1, ?2, ?3, ?4, ?5)"
        };
        self.connection.prepare_cached(insert)?.execute(params![number, self.rank(priority), run, age, entry])?;
        self.announce(scope);
        Ok(())
    }

    /// Tells those who wait that a scope has one more thing that can run.
    pub(super) fn announce(&mut self, scope: &str) {
        match self.effects.ready.get_mut(scope) {
            Some(count) => *count += 1,
            None => {
                self.effects.ready.insert(scope.to_owned(), 1);
            }
        }
    }

    /// What is paused.
    pub(super) fn pauses(&mut self) -> &mut Pauses {
        &mut self.caches.pauses
    }

    /// Takes something out of the ready index, or from where a paused run holds it.
    pub(super) fn dequeue(
        &mut self,
        scope: &str,
        priority: i64,
        run: i64,
        age: i64,
        entry: i64,
    ) -> Result<(), QueueError> {
        let number = self.scope(scope)?;
        let delete = if self.caches.pauses.has_run(run) {
            "DELETE FROM held WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5"
        } else {
            "DELETE FROM ready WHERE scope = ?1 AND rank = ?2 AND run = ?3 AND age = ?4 AND entry = ?5"
        };
        self.connection.prepare_cached(delete)?.execute(params![number, self.rank(priority), run, age, entry])?;
        Ok(())
    }

    /// Puts a job into the parked index.
    pub(super) fn park(&mut self, from_ms: i64, job: i64) -> Result<(), QueueError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO parked (from_ms, job) VALUES (?1, ?2)")?
            .execute(params![from_ms, job])?;
        self.effects.parked_until_ms = Some(self.effects.parked_until_ms.map_or(from_ms, |known| known.min(from_ms)));
        Ok(())
    }
}

impl Drop for Change<'_> {
    /// A change that is rolled back must leave nothing in the caches that is not in the database.
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for name in &self.new_scopes {
            self.caches.scopes.remove(name);
        }
        for run in &self.new_runs {
            self.caches.runs.remove(run);
        }
    }
}
