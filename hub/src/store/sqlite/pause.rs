//! Holding back a run, a scope or everything. Jobs that run go on; what is held back costs nothing.

use std::collections::HashSet;

use protocol::api::Pause;
use rusqlite::{Connection, OptionalExtension};

use super::SqliteStore;
use super::change::Change;
use crate::error::QueueError;

/// What is paused, as the writer keeps it in memory.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    everything: bool,
    scopes: HashSet<String>,
    runs: HashSet<i64>,
}

impl Pauses {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut pauses = Self::default();
        for what in read(connection)? {
            let run = match &what {
                Pause::Run(run) => connection
                    .query_row("SELECT number FROM runs WHERE id = ?1", [run.as_str()], |row| row.get(0))
                    .optional()?,
                _ => None,
            };
            pauses.set(&what, run, true);
        }
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

    fn set(&mut self, what: &Pause, run: Option<i64>, paused: bool) {
        match (what, run) {
            (Pause::Everything, _) => self.everything = paused,
            (Pause::Scope(scope), _) if paused => drop(self.scopes.insert(scope.clone())),
            (Pause::Scope(scope), _) => drop(self.scopes.remove(scope)),
            (Pause::Run(_), Some(run)) if paused => drop(self.runs.insert(run)),
            (Pause::Run(_), Some(run)) => drop(self.runs.remove(&run)),
            (Pause::Run(_), None) => {}
        }
    }
}

/// What is paused.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Pause>> {
    let mut statement = connection.prepare_cached("SELECT what FROM pauses ORDER BY what")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let texts: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

impl SqliteStore {
    /// Holds something back. Holding it back twice changes nothing.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn pause(&self, what: Pause) -> Result<(), QueueError> {
        self.write(move |change| {
            let run = number_of(change, &what)?;
            if let Some(run) = run {
                change.connection.execute(
                    "INSERT INTO held (run, scope, rank, age, entry) SELECT run, scope, rank, age, entry FROM ready WHERE run = ?1",
                    [run],
                )?;
                change.connection.execute("DELETE FROM ready WHERE run = ?1", [run])?;
            }
            change
                .connection
                .execute("INSERT OR IGNORE INTO pauses (what) VALUES (?1)", [text(&what)?])?;
            change.pauses().set(&what, run, true);
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
            let deleted = change.connection.execute("DELETE FROM pauses WHERE what = ?1", [text(&what)?])?;
            if deleted == 0 {
                return Err(QueueError::Conflict(format!("{} is not paused", name(&what))));
            }
            if let Some(run) = run {
                change.connection.execute(
                    "INSERT INTO ready (scope, rank, run, age, entry) SELECT scope, rank, run, age, entry FROM held WHERE run = ?1",
                    [run],
                )?;
                change.connection.execute("DELETE FROM held WHERE run = ?1", [run])?;
            }
            announce_all(change)?;
            change.pauses().set(&what, run, false);
            Ok(())
        })
        .await
    }

    /// What is paused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn paused(&self) -> Result<Vec<Pause>, QueueError> {
        self.read(|connection| Ok(read(connection)?)).await
    }
}

fn number_of(change: &Change<'_>, what: &Pause) -> Result<Option<i64>, QueueError> {
    let Pause::Run(run) = what else { return Ok(None) };
    super::family::run_number(change, run).map(Some)
}

fn text(what: &Pause) -> Result<String, QueueError> {
    serde_json::to_string(what).map_err(|error| QueueError::Invalid(error.to_string()))
}

fn name(what: &Pause) -> String {
    match what {
        Pause::Everything => "everything".to_owned(),
        Pause::Scope(scope) => format!("scope `{scope}`"),
        Pause::Run(run) => format!("run {run}"),
    }
}

/// Wakes those who may find work now that something was let go.
fn announce_all(change: &mut Change<'_>) -> Result<(), QueueError> {
    let scopes: Vec<(String, i64)> = change
        .connection
        .prepare_cached(
            "SELECT scopes.name, count(*) FROM ready JOIN scopes ON scopes.number = ready.scope GROUP BY ready.scope",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (scope, count) in scopes {
        for _ in 0..count.min(WOKEN_MAX) {
            change.announce(&scope);
        }
    }
    Ok(())
}

/// More waiters of one scope than this are not woken at once.
const WOKEN_MAX: i64 = 1_000;
