//! What SQL steps need besides the worker itself: the database of PostgreSQL steps, the program of DuckDB steps.
//!
//! None of it is in the environment of any step; the database goes to the processes of PostgreSQL steps alone.

use std::fmt;
use std::path::{Path, PathBuf};

use protocol::frame::{DuckdbFrame, PostgresFrame};
use protocol::{ErrorKind, Step, StepError};

use crate::config::Limits;

/// Name of the program that runs DuckDB steps.
pub(crate) const DUCKDB_PROGRAM: &str = "bue-duckdb";
/// Name of the library that is beside it, where it is not one of the system.
pub(crate) const DUCKDB_LIBRARY: &str = "libduckdb.so";
/// Where PostgreSQL listens when nobody says.
const POSTGRES_PORT: u16 = 5432;

/// Where the engines of SQL steps are.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// The database of PostgreSQL steps.
    pub postgres: Postgres,
    /// The program that runs DuckDB steps; `None`: `bue-duckdb` beside the program that runs the other ones.
    pub duckdb: Option<PathBuf>,
}

/// The database of PostgreSQL steps, as far as it is known. Steps that need what is missing say so.
#[derive(Clone, Default)]
pub struct Postgres {
    /// Name or address of its machine, or the folder of its socket.
    pub host: Option<String>,
    /// Its port; `None`: 5432.
    pub port: Option<u16>,
    /// Who connects.
    pub user: Option<String>,
    /// The user's password, where one is needed.
    pub password: Option<String>,
    /// Name of the database.
    pub database: Option<String>,
}

/// Without the password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database, .. } = self;
        write!(f, "Postgres({user:?}@{host:?}:{port:?}/{database:?})")
    }
}

impl Postgres {
    /// What the process of a step is told.
    pub(crate) fn frame(&self, step: &Step, limits: &Limits) -> Result<PostgresFrame, StepError> {
        let (Some(host), Some(user), Some(database)) = (&self.host, &self.user, &self.database) else {
            return Err(StepError::new(ErrorKind::Load, self.missing(&step.name)));
        };
        Ok(PostgresFrame {
            host: host.clone(),
            port: self.port.unwrap_or(POSTGRES_PORT),
            user: user.clone(),
            password: self.password.clone(),
            database: database.clone(),
            connect_timeout_ms: u64::try_from(limits.postgres_connect_timeout.as_millis()).unwrap_or(u64::MAX),
            statement_timeout_ms: step.settings.timeout_ms,
        })
    }

    fn missing(&self, step: &str) -> String {
        let settings = [("HOST", &self.host), ("USER", &self.user), ("DATABASE", &self.database)];
        let missing: Vec<String> =
            settings.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| format!("POSTGRES_{name}")).collect();
        let missing = missing.join(", no ");
        format!("step `{step}` is a postgres step, and its worker has no {missing}; set what is missing for the worker")
    }
}

impl Engines {
    /// The program that runs DuckDB steps; `program` is the one that runs SQL steps.
    pub(crate) fn duckdb_program(&self, program: &Path) -> PathBuf {
        self.duckdb.clone().unwrap_or_else(|| program.with_file_name(DUCKDB_PROGRAM))
    }

    /// What the process of a DuckDB step is told.
    pub(crate) fn duckdb_frame(&self, program: &Path, limits: &Limits) -> Result<DuckdbFrame, StepError> {
        let place = self.duckdb_program(program);
        if !place.is_file() {
            let found = format!("duckdb steps need the program {DUCKDB_PROGRAM}, and {} is not there", place.display());
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
        })
    }
}
