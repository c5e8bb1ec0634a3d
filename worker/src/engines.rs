//! What SQL steps need besides the worker itself: the database of PostgreSQL steps, the program of DuckDB steps.
//!
//! None of it is in the environment of any step; the database goes to the processes of PostgreSQL steps alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::frame::{DuckdbFrame, PostgresFrame};
use protocol::secret::{CONNECTION_PREFIX, connection_suffix};
use protocol::{ErrorKind, Language, Step, StepError};

use crate::config::Limits;
use crate::connection::Postgres;

/// Name of the program that runs DuckDB steps.
pub(crate) const DUCKDB_PROGRAM: &str = "bue-duckdb";
/// Name of the library that is beside it, where it is not one of the system.
pub(crate) const DUCKDB_LIBRARY: &str = "libduckdb.so";

/// Where the engines of SQL steps are.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// The database of PostgreSQL steps that name no connection.
    pub postgres: Postgres,
    /// Databases by the names of their settings, without what these begin with: `WAREHOUSE` for `!connection warehouse`.
    pub connections: BTreeMap<String, Postgres>,
    /// The program that runs DuckDB steps; `None`: `bue-duckdb` beside the program that runs the other ones.
    pub duckdb: Option<PathBuf>,
}

impl Engines {
    /// What a worker says of what it can run; `program` is the one that runs SQL steps.
    #[must_use]
    pub fn words(&self, program: &Path) -> Vec<String> {
        let mut words = vec![Language::Sqlite3.as_str().to_owned()];
        if self.duckdb_program(program).is_file() {
            words.push(Language::Duckdb.as_str().to_owned());
        }
        if self.postgres.missing().next().is_none() {
            words.push(Language::Postgres.as_str().to_owned());
        }
        words.extend(self.connections.keys().map(|name| format!("postgres:{}", name.to_ascii_lowercase())));
        words
    }

    /// Whether what a step needs is there; `program` is the one that runs SQL steps.
    pub(crate) fn check(&self, step: &Step, program: &Path, limits: &Limits) -> Result<(), StepError> {
        match step.language {
            Language::Duckdb => self.duckdb_frame(program, limits).map(drop),
            Language::Postgres => self.postgres_frame(step, limits).map(drop),
            Language::Python | Language::Sqlite3 => Ok(()),
        }
    }

    /// The same, with another database for steps that name it.
    pub(crate) fn with_connection(&self, name: &str, database: Postgres) -> Self {
        let mut engines = self.clone();
        engines.connections.insert(connection_suffix(name), database);
        engines
    }

    /// The database of a PostgreSQL step: the one it names, else the default one. `None` where it names one that is not known.
    pub(crate) fn database_of(&self, step: &Step) -> Option<&Postgres> {
        match &step.settings.runtime.connection {
            None => Some(&self.postgres),
            Some(name) => self.connections.get(&connection_suffix(name)),
        }
    }

    /// What the process of a PostgreSQL step is told.
    pub(crate) fn postgres_frame(&self, step: &Step, limits: &Limits) -> Result<PostgresFrame, StepError> {
        let missing = |what: String| {
            let message = format!("step `{}` is a postgres step, and its worker has no {what}", step.name);
            StepError::new(ErrorKind::Load, format!("{message}; set what is missing for the worker"))
        };
        match &step.settings.runtime.connection {
            None => self.postgres.frame(step, limits).map_err(|names| {
                let names: Vec<String> = names.into_iter().map(|name| format!("POSTGRES_{name}")).collect();
                missing(names.join(", no "))
            }),
            Some(name) => {
                let found = self.database_of(step).and_then(|database| database.frame(step, limits).ok());
                let setting = connection_suffix(name);
                found.ok_or_else(|| missing(format!("{CONNECTION_PREFIX}{setting} for `!connection {name}`")))
            }
        }
    }

    /// The program that runs DuckDB steps; `program` is the one that runs SQL steps.
    pub(crate) fn duckdb_program(&self, program: &Path) -> PathBuf {
        self.duckdb.clone().unwrap_or_else(|| program.with_file_name(DUCKDB_PROGRAM))
    }

    /// What the process of a DuckDB step is told.
    ///
    /// # Errors
    /// The program that has DuckDB in it is not there.
    pub fn duckdb_frame(&self, program: &Path, limits: &Limits) -> Result<DuckdbFrame, StepError> {
        let place = self.duckdb_program(program);
        if !place.is_file() {
            let found = format!("DuckDB needs the program {DUCKDB_PROGRAM}, and {} is not there", place.display());
            let way_out = "build it with scripts/build-duckdb, or name its place by BUE_DUCKDB";
            return Err(StepError::new(ErrorKind::Load, format!("{found}; {way_out}")));
        }
        Ok(DuckdbFrame {
            program: place,
            memory_bytes_max: limits.duckdb_memory_bytes_max,
            spill_bytes_max: limits.duckdb_spill_bytes_max,
            threads_max: limits.duckdb_threads_max,
            statements: Vec::new(),
            changes_rows: false,
            tables: Vec::new(),
            parquet: None,
        })
    }
}
