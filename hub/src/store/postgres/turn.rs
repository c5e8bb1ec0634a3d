//! Transactions. One that writes is a turn; a connection that is cut before its commit costs a repetition, not a request.

use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::connect::TURN_LOCK;
use super::index::SELECT_PAUSES;
use super::rows::{Beginning, Driver, Own, PostgresRows, SELECT_NUMBERS};
use crate::error::QueueError;
use crate::store::{Database, Inside, Reader, Uncommitted};

/// Shortest and longest pause before a database that is away is tried again.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A transaction in which a statement failed answers COMMIT as if all were well, having rolled everything back. A query before it, in
/// the same message, fails there, and the rest of the message with it.
const COMMIT: &str = "SELECT 1; COMMIT";

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
    /// Nothing was committed. It may be repeated when the connection was to blame.
    Open { error: QueueError, cut: bool },
    /// The connection was cut during the commit of this transaction, which has a number when it told others of something.
    Unknown { error: QueueError, transaction: Option<i64> },
}

impl Failure {
    fn cut(error: impl Into<QueueError>) -> Self {
        Self::Open { error: error.into(), cut: true }
    }
}

/// What became of a transaction whose commit was not answered.
enum Fate {
    Committed,
    Aborted,
    /// The server has not noticed yet that its client is gone.
    Undecided,
}

impl Turns {
    pub(super) fn new(pool: Pool, hub: u64, patience: Duration, reverse_priority: bool) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { pool, connection: None, runtime, hub, patience, reverse_priority })
    }

    /// The connection to use: the one of the last turn, or another.
    fn connect(&mut self) -> Result<Object, QueueError> {
        match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => Ok(connection),
            None => Ok(self.runtime.block_on(self.pool.get())?),
        }
    }

    /// Takes the turn and carries `inside` out. A connection with which something was wrong is not used again.
    fn turn(&mut self, inside: Inside<'_>) -> Result<(), Failure> {
        let connection = self.connect().map_err(Failure::cut)?;
        let beginning = match self.runtime.block_on(begin(&connection)) {
            Ok(beginning) => beginning,
            Err(error) => {
                discard(connection);
                return Err(Failure::cut(error));
            }
        };
        let own = Own { hub: self.hub, reverse_priority: self.reverse_priority, beginning: Some(beginning) };
        let mut rows = PostgresRows::new(&connection, Driver::Own(&self.runtime), own);
        let done = inside(&mut rows);
        let transaction = rows.transaction;
        let last_word = if done.is_ok() { COMMIT } else { "ROLLBACK" };
        let ended = self.runtime.block_on(connection.batch_execute(last_word));
        match ended {
            Ok(()) => self.connection = Some(connection),
            Err(_) => discard(connection),
        }
        match (done, ended) {
            (Ok(()), Ok(())) => Ok(()),
            (Ok(()), Err(error)) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                Err(Failure::Open { error: error.into(), cut: false })
            }
            (Ok(()), Err(error)) => Err(Failure::Unknown { error: error.into(), transaction }),
            (Err(error), ended) => Err(Failure::Open { error, cut: ended.is_err() }),
        }
    }

    /// What became of a transaction.
    fn fate(&mut self, transaction: i64) -> Result<Fate, QueueError> {
        let connection = self.connect()?;
        let status = self.runtime.block_on(connection.query_one("SELECT txid_status($1)", &[&transaction]));
        match status {
            Ok(row) => {
                self.connection = Some(connection);
                Ok(match row.try_get::<_, Option<&str>>(0)? {
                    Some("committed") => Fate::Committed,
                    Some("aborted") => Fate::Aborted,
                    _ => Fate::Undecided,
                })
            }
            Err(error) => {
                discard(connection);
                Err(error.into())
            }
        }
    }

    /// Asks what became of a transaction until it is known, or patience is over.
    fn settle_fate(&mut self, transaction: i64, retry: &mut Retry) -> Option<Fate> {
        loop {
            match self.fate(transaction) {
                Ok(Fate::Undecided) => {}
                Ok(fate) => return Some(fate),
                Err(error) => retry.tell(&error),
            }
            if !retry.pause() {
                return None;
            }
        }
    }
}

/// Begins a turn: waits for the lock, and reads what every change begins with, in one round trip.
async fn begin(connection: &Object) -> Result<Beginning, QueueError> {
    let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({TURN_LOCK}); {SELECT_NUMBERS}; {SELECT_PAUSES}");
    let mut beginning = Beginning::default();
    for message in connection.simple_query(&sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            beginning.add(&row)?;
        }
    }
    Ok(beginning)
}

/// Takes a connection out of the pool and closes it.
fn discard(connection: Object) {
    drop(Object::take(connection));
}

/// When to try again, and for how long.
struct Retry {
    deadline: Instant,
    next: Duration,
    told: bool,
}

impl Retry {
    fn new(patience: Duration) -> Self {
        Self { deadline: Instant::now() + patience, next: RETRY_MIN, told: false }
    }

    /// Says once that the database is away.
    fn tell(&mut self, error: &QueueError) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%error, "the connection to the database was lost; trying again");
        }
    }

    /// Waits; answers with whether there is still time.
    fn pause(&mut self) -> bool {
        std::thread::sleep(self.next);
        self.next = (2 * self.next).min(RETRY_MAX);
        Instant::now() < self.deadline
    }

    fn is_over(&self) {
        if self.told {
            tracing::info!("the database is back");
        }
    }
}

impl Database for Turns {
    fn transact(&mut self, inside: Inside<'_>) -> Result<(), Uncommitted> {
        let mut retry = Retry::new(self.patience);
        loop {
            let error = match self.turn(inside) {
                Ok(()) => break,
                Err(Failure::Open { error, cut: false }) => return Err(Uncommitted::Inside(error)),
                Err(Failure::Open { error, cut: true }) => error,
                Err(Failure::Unknown { error, transaction }) => {
                    retry.tell(&error);
                    // One that told nobody can be repeated whatever became of it.
                    let fate = transaction.map_or(Some(Fate::Aborted), |number| self.settle_fate(number, &mut retry));
                    match fate {
                        Some(Fate::Committed) => break,
                        Some(Fate::Aborted | Fate::Undecided) => continue,
                        None => return Err(Uncommitted::Database(error)),
                    }
                }
            };
            retry.tell(&error);
            if !retry.pause() {
                return Err(Uncommitted::Database(error));
            }
        }
        retry.is_over();
        Ok(())
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
        let answer = inside(&mut PostgresRows::new(&connection, Driver::Others(&self.runtime), Own::default()));
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

#[cfg(test)]
#[allow(dead_code, missing_docs, reason = "it is that of the tests around the hub")]
#[path = "../../../tests/rig/postgres.rs"]
mod server;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::connect::{self, Place};

    #[test]
    fn a_transaction_in_which_a_statement_failed_is_not_taken_for_committed() {
        let others = Runtime::new().unwrap();
        let place = Place::parse(&others.block_on(server::database())).unwrap();
        others.block_on(connect::migrate(&place, false)).unwrap();
        let mut turns = Turns::new(connect::pool(&place, 1).unwrap(), 1, Duration::from_secs(5), false).unwrap();
        let done = turns.transact(&mut |rows| {
            rows.set_pause("\"everything\"", true)?;
            let forgotten = rows.scope("text with a \0");
            assert!(forgotten.is_err());
            Ok(())
        });
        assert!(matches!(done, Err(Uncommitted::Inside(_))));
        let mut paused = None;
        let read = turns.transact(&mut |rows| {
            paused = Some(rows.pauses()?.len());
            Ok(())
        });
        assert!(read.is_ok() && paused == Some(0), "{paused:?}");
    }
}
