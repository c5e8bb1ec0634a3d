//! The queue in one SQLite file: opened by one hub, written by one thread, read beside it.
//!
//! - [`open`]: the file, its schema and its lock.
//! - [`jobs`], [`loops`], [`index`], [`leases`], [`runs`], [`kept`], [`secrets`], [`unended`]: reading rows.
//! - `write`: writing what a batch came to.
//! - [`copy`]: backup and restore.

pub(crate) mod copy;
mod error;
mod index;
mod jobs;
mod kept;
mod leases;
mod loops;
mod open;
mod runs;
mod secrets;
mod unended;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Params, Row, TransactionBehavior};

use super::{Database, EffectsSink, Inside, Reader, Store, StoreOptions, Uncommitted};
use crate::error::{HubError, QueueError};

impl Store {
    /// Opens the queue in `folder`, making it when it is missing. One process at a time may have it open.
    ///
    /// # Errors
    /// The folder cannot be used, another hub has the queue, or the file is not one of ours.
    pub fn sqlite(folder: &Path, options: StoreOptions, sink: EffectsSink) -> Result<Self, HubError> {
        let opened = open::open(folder, options.reverse_priority)?;
        let reader = Arc::new(Readers { path: opened.path, idle: Mutex::new(Vec::new()) });
        let database = Box::new(SqliteDatabase { connection: opened.connection, _lock: opened.lock });
        Self::over(database, reader, options, sink)
            .map_err(|source| HubError::DataDir { path: folder.to_owned(), source })
    }
}

/// The connection that writes, and the lock that says so.
struct SqliteDatabase {
    connection: Connection,
    _lock: File,
}

impl Database for SqliteDatabase {
    fn transact(&mut self, inside: Inside<'_>) -> Result<(), Uncommitted> {
        let failed = |error: rusqlite::Error| Uncommitted::Database(error.into());
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(failed)?;
        inside(&mut SqliteRows { connection: &transaction }).map_err(Uncommitted::Inside)?;
        transaction.commit().map_err(failed)
    }
}

/// Connections for reading that nobody uses at the moment.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// More than this many are closed instead of kept.
    const IDLE_MAX: usize = 4;

    fn take(&self) -> Result<Connection, QueueError> {
        let kept = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(open::reader(&self.path)?),
        }
    }

    fn give_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < Self::IDLE_MAX
        {
            idle.push(connection);
        }
    }
}

impl Reader for Readers {
    fn read(&self, inside: Inside<'_>) -> Result<(), QueueError> {
        let mut connection = self.take()?;
        let snapshot = connection.transaction()?;
        let answer = inside(&mut SqliteRows { connection: &snapshot });
        drop(snapshot);
        self.give_back(connection);
        answer
    }
}

/// One open transaction of a connection.
struct SqliteRows<'c> {
    connection: &'c Connection,
}

impl SqliteRows<'_> {
    /// All rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, QueueError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_map(parameters, read)?.collect::<Result<_, _>>()?)
    }

    /// The first row of a query.
    fn first<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, QueueError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query_map(parameters, read)?;
        Ok(rows.next().transpose()?)
    }

    /// The rows of a query for each of some numbers.
    fn each<T>(
        &self,
        sql: &str,
        numbers: &[i64],
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, QueueError> {
        let mut found = Vec::with_capacity(numbers.len());
        if numbers.is_empty() {
            return Ok(found);
        }
        let mut statement = self.connection.prepare_cached(sql)?;
        for number in numbers {
            let mut rows = statement.query([*number])?;
            while let Some(row) = rows.next()? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }

    /// Carries out a statement; answers with the number of rows it changed.
    fn execute(&self, sql: &str, parameters: impl Params) -> Result<usize, QueueError> {
        Ok(self.connection.prepare_cached(sql)?.execute(parameters)?)
    }
}
