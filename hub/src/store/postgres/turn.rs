//! Transactions. One that writes is a turn; a connection that is cut before its commit costs a repetition, not a request.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio::runtime::{Builder, Handle, Runtime};

use super::connect::TURN_LOCK;
use super::rows::{Driver, PostgresRows};
use crate::error::QueueError;
use crate::store::{Database, Inside, Reader};

/// Shortest and longest pause before a database that is away is tried again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The turns of this hub. They have a runtime of their own, on the writer's thread: an answer goes to nobody in between.
pub(super) struct Turns {
    /// Kept between turns, with its prepared statements.
    connection: Option<Object>,
    pool: Pool,
    runtime: Runtime,
    hub: u64,
    patience: Duration,
    reverse_priority: bool,
}

/// How a turn failed.
enum Failure {
    /// Nothing was committed: it may be repeated.
    Open(QueueError),
    /// The connection was cut during the commit: nobody knows.
    Unknown(QueueError),
}

impl Turns {
    pub(super) fn new(pool: Pool, hub: u64, patience: Duration, reverse_priority: bool) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { pool, connection: None, runtime, hub, patience, reverse_priority })
    }

    fn turn(&mut self, inside: Inside<'_>) -> Result<(), Failure> {
        let connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.runtime.block_on(self.pool.get()).map_err(|error| Failure::Open(error.into()))?,
        };
        let connection = self.connection.insert(connection);
        let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({TURN_LOCK})");
        let open = |error: tokio_postgres::Error| Failure::Open(error.into());
        self.runtime.block_on(connection.batch_execute(&begin)).map_err(open)?;
        let mut rows = PostgresRows::new(connection, Driver::Own(&self.runtime), self.hub, self.reverse_priority);
        match inside(&mut rows) {
            Ok(()) => {
                let commit = self.runtime.block_on(connection.batch_execute("COMMIT"));
                commit.map_err(|error| Failure::Unknown(error.into()))
            }
            Err(error) => {
                // Without a rollback the connection is of no use.
                if self.runtime.block_on(connection.batch_execute("ROLLBACK")).is_err() {
                    self.connection = None;
                }
                Err(Failure::Open(error))
            }
        }
    }

    /// Whether the last turn failed because there is no connection.
    fn is_cut(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection.is_closed())
    }
}

impl Database for Turns {
    fn transact(&mut self, inside: Inside<'_>) -> Result<(), QueueError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = RETRY_MIN;
        let mut told = false;
        loop {
            match self.turn(inside) {
                Ok(()) => {
                    if told {
                        tracing::info!("the database is back");
                    }
                    return Ok(());
                }
                Err(Failure::Open(error)) if self.is_cut() && Instant::now() < deadline => {
                    if !told {
                        tracing::warn!(%error, "the connection to the database was lost; trying again");
                        told = true;
                    }
                    self.connection = None;
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(RETRY_MAX);
                }
                Err(Failure::Open(error) | Failure::Unknown(error)) => {
                    if self.is_cut() {
                        self.connection = None;
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// Snapshots for reading.
pub(super) struct Snapshots {
    pool: Pool,
    runtime: Handle,
}

impl Snapshots {
    /// A read whose connection was cut is repeated this often.
    const TRIES: usize = 3;

    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, runtime: Handle::current() }
    }

    fn snapshot(&self, inside: Inside<'_>) -> Result<(), (QueueError, bool)> {
        let cut = |error: QueueError| (error, true);
        let connection = self.runtime.block_on(self.pool.get()).map_err(|error| cut(error.into()))?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.runtime.block_on(connection.batch_execute(begin)).map_err(|error| cut(error.into()))?;
        let answer = inside(&mut PostgresRows::new(&connection, Driver::Others(&self.runtime), 0, false));
        let ended = self.runtime.block_on(connection.batch_execute("COMMIT"));
        let is_cut = connection.is_closed();
        if ended.is_err() {
            drop(Object::take(connection));
        }
        answer.map_err(|error| (error, is_cut))
    }
}

impl Reader for Snapshots {
    fn read(&self, inside: Inside<'_>) -> Result<(), QueueError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.snapshot(inside) {
                Ok(()) => return Ok(()),
                Err((_, true)) if tries < Self::TRIES => std::thread::sleep(RETRY_MIN),
                Err((error, _)) => return Err(error),
            }
        }
    }
}
