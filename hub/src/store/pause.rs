//! Holding back a run, a scope or everything. Jobs that run go on; what is held back costs nothing.

use std::collections::{HashMap, HashSet};

use protocol::RunId;
use protocol::api::Pause;

use super::Store;
use super::change::Change;
use super::plans::PlanCache;
use super::row::{Run, json};
use super::rows::Rows;
use crate::error::QueueError;

/// What is paused.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    everything: bool,
    scopes: HashSet<String>,
    runs: HashSet<i64>,
}

/// Numbers of paused runs, `None` for one that is gone: neither ever changes.
#[derive(Debug, Default)]
pub(super) struct PausedRuns(HashMap<RunId, Option<i64>>);

impl PausedRuns {
    fn number(&mut self, rows: &mut dyn Rows, id: RunId) -> Result<Option<i64>, QueueError> {
        if let Some(known) = self.0.get(&id) {
            return Ok(*known);
        }
        let number = rows.run_by_id(&id)?.map(|run| run.number);
        self.0.insert(id, number);
        Ok(number)
    }
}

impl Pauses {
    pub(super) fn load(rows: &mut dyn Rows, known: &mut PausedRuns) -> Result<Self, QueueError> {
        let mut pauses = Self::default();
        for what in rows.pauses()? {
            match what {
                Pause::Everything => pauses.everything = true,
                Pause::Scope(scope) => drop(pauses.scopes.insert(scope)),
                Pause::Run(id) => pauses.runs.extend(known.number(rows, id)?),
            }
        }
        known.0.retain(|_, number| number.is_none_or(|number| pauses.runs.contains(&number)));
        Ok(pauses)
    }

    /// Whether no job of this scope may be leased.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.everything || self.scopes.contains(scope)
    }

    /// Whether what could run of this run is held.
    pub(super) fn has_run(&self, run: i64) -> bool {
        !self.runs.is_empty() && self.runs.contains(&run)
    }
}

impl Store {
    /// Holds something back. Holding it back twice changes nothing.
    ///
    /// # Errors
    /// There is no such run, or too much is paused already.
    pub async fn pause(&self, what: Pause) -> Result<(), QueueError> {
        self.write(move |change| {
            let run = number_of(change, &what)?;
            change.flush()?;
            check_room(change, &what)?;
            change.edited();
            if let Some(run) = run {
                change.rows.hold(run)?;
            }
            change.rows.set_pause(&json(&what)?, true)?;
            change.effects.runs = true;
            change.load_pauses()?;
            Ok(())
        })
        .await
    }

    /// Lets go of what was held back.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn resume(&self, what: Pause) -> Result<(), QueueError> {
        self.write(move |change| {
            let run = number_of(change, &what)?;
            change.flush()?;
            if !change.rows.set_pause(&json(&what)?, false)? {
                return Err(QueueError::Conflict(not_paused(&what)));
            }
            change.edited();
            change.effects.runs = true;
            if let Some(run) = run {
                change.rows.release(run)?;
            }
            change.load_pauses()?;
            let counts = change.rows.ready_counts()?;
            let open = counts.into_iter().filter(|(scope, count)| *count > 0 && !change.pauses.has_scope(scope));
            change.effects.ready.extend(open);
            Ok(())
        })
        .await
    }

    /// What is paused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn paused(&self) -> Result<Vec<Pause>, QueueError> {
        self.read(|rows| rows.pauses()).await
    }
}

/// What is paused of a run that can go on: all of it, or its jobs of some scopes.
pub(super) fn of_run(rows: &mut dyn Rows, plans: &PlanCache, run: &Run) -> Result<Vec<Pause>, QueueError> {
    let pauses = rows.pauses()?;
    if pauses.is_empty() || run.finished_ms.is_some() {
        return Ok(Vec::new());
    }
    let plan = plans.get(rows, run.plan)?;
    let has_scope = |scope: &str| plan.plan.steps.iter().any(|step| step.settings.scope == scope);
    let concerns = |what: &Pause| match what {
        Pause::Everything => true,
        Pause::Scope(scope) => has_scope(scope),
        Pause::Run(id) => *id == run.id,
    };
    Ok(pauses.into_iter().filter(concerns).collect())
}

fn check_room(change: &mut Change<'_>, what: &Pause) -> Result<(), QueueError> {
    let (paused, limit) = (change.rows.pauses()?, change.options.pauses_max);
    // Everything can be paused whatever else is.
    if paused.len() < limit || paused.contains(what) || *what == Pause::Everything {
        return Ok(());
    }
    Err(QueueError::TooLarge {
        what: "the list of what is paused".to_owned(),
        size: paused.len() as u64 + 1,
        unit: "entries",
        limit: limit as u64,
        setting: "BUE_PAUSES_MAX",
    })
}

fn number_of(change: &mut Change<'_>, what: &Pause) -> Result<Option<i64>, QueueError> {
    let Pause::Run(run) = what else { return Ok(None) };
    change.run_number(run).map(Some)
}

fn not_paused(what: &Pause) -> String {
    match what {
        Pause::Everything => "there is no pause of everything; `bue status` shows what is paused".to_owned(),
        Pause::Scope(scope) => format!("scope `{scope}` is not paused"),
        Pause::Run(run) => format!("run {run} is not paused"),
    }
}
