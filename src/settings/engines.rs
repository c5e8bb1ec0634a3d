//! What the SQL steps of a worker need: a database, a program.

use worker::{Engines, Postgres};

use super::source::{SettingError, Sources};
use super::table;

/// Reads it. What is missing is said by the steps that need it.
pub fn read(sources: &Sources) -> Result<Engines, SettingError> {
    let postgres = Postgres {
        host: sources.read(&table::POSTGRES_HOST)?,
        port: sources.read(&table::POSTGRES_PORT)?,
        user: sources.read(&table::POSTGRES_USER)?,
        password: sources.read(&table::POSTGRES_PASSWORD)?,
        database: sources.read(&table::POSTGRES_DATABASE)?,
    };
    Ok(Engines { postgres, duckdb: sources.read(&table::BUE_DUCKDB)? })
}
