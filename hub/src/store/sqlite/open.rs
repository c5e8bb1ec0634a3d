//! The file of the queue: its lock, its settings, its schema.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};

use crate::error::HubError;

/// Newest schema this program knows: the number of migrations.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Append-only: the n-th brings a database from schema n to n + 1.
const MIGRATIONS: &[&str] = &[
    include_str!("001.sql"),
    include_str!("002.sql"),
    include_str!("003.sql"),
    include_str!("004.sql"),
    include_str!("005.sql"),
];

/// Statements kept ready for reuse by each connection.
const STATEMENTS_KEPT: usize = 128;

/// The queue's file in its folder.
pub(super) const FILE: &str = "queue.db";

pub(super) struct Opened {
    pub connection: Connection,
    pub path: PathBuf,
    pub lock: File,
}

pub(super) fn open(folder: &Path, reverse_priority: bool) -> Result<Opened, HubError> {
    let in_folder = |source| HubError::DataDir { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(in_folder)?;
    let path = folder.join(FILE);
    let lock = lock(folder)?;
    let failed = |source| failed(&path, source);
    let mut connection = Connection::open(&path).map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    if found > SCHEMA {
        return Err(HubError::Newer { path: path.display().to_string(), found, known: SCHEMA });
    }
    migrate(&mut connection, found).map_err(failed)?;
    order_ranks(&mut connection, reverse_priority).map_err(failed)?;
    Ok(Opened { connection, path, lock })
}

/// Takes the lock that says that a hub has the queue open.
pub(super) fn lock(folder: &Path) -> Result<File, HubError> {
    let in_folder = |source| HubError::DataDir { path: folder.to_owned(), source };
    let lock =
        File::options().create(true).truncate(false).write(true).open(folder.join("queue.lock")).map_err(in_folder)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => HubError::InUse { path: folder.join(FILE) },
        TryLockError::Error(source) => in_folder(source),
    })?;
    Ok(lock)
}

/// The queue's file could not be opened.
pub(super) fn failed(path: &Path, source: rusqlite::Error) -> HubError {
    HubError::Open { path: path.display().to_string(), source: Box::new(source) }
}

/// A connection that can only read.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// Write-ahead log, and a commit is on disk when it is answered.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "cache_size", -32_000)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Turns the ready index round when the direction of priorities was changed since the last start.
fn order_ranks(connection: &mut Connection, reverse_priority: bool) -> rusqlite::Result<()> {
    let wanted = if reverse_priority { "lower first" } else { "higher first" };
    let transaction = connection.transaction()?;
    let found: Option<String> = transaction
        .query_row("SELECT value FROM meta WHERE name = 'priority order'", [], |row| row.get(0))
        .map(Some)
        .or_else(|error| if error == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(error) })?;
    if found.as_deref().is_some_and(|found| found != wanted) {
        transaction.execute_batch(
            "CREATE TEMP TABLE turned AS SELECT scope, -rank AS rank, run, age, entry FROM ready;
             DELETE FROM ready;
             INSERT INTO ready SELECT * FROM turned;
             DROP TABLE turned;
             CREATE TEMP TABLE turned AS SELECT run, scope, -rank AS rank, age, entry FROM held;
             DELETE FROM held;
             INSERT INTO held SELECT * FROM turned;
             DROP TABLE turned;",
        )?;
    }
    transaction.execute("INSERT OR REPLACE INTO meta VALUES ('priority order', ?1)", params![wanted])?;
    transaction.commit()
}
