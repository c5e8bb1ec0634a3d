//! PostgreSQL: inputs become temporary tables, the last statement's rows the value, all in one transaction.
//!
//! - [`session`]: the connection, the transaction, the statements.
//! - [`copy`], [`encode`], [`kind`]: inputs into temporary tables, by binary COPY.
//! - [`rows`], [`takers`], [`table`]: rows of the result into an Arrow table.
//! - [`numeric`]: the database's decimal numbers in its binary form.
//! - [`tls`]: the connection, encrypted.
//! - [`fault`]: what the database says, in a sentence with its place.
//!
//! A statement that nobody waits for any more is cancelled: by this process when it is told to end, by the database itself
//! when this process is gone or the step's time is over.

mod copy;
mod encode;
mod fault;
mod kind;
mod numeric;
mod rows;
mod session;
mod table;
mod takers;
mod tls;

use std::time::Duration;

use protocol::ErrorKind;
use protocol::frame::{ErrorFrame, Output, PostgresFrame, StartFrame};
use tokio::signal::unix::{SignalKind, signal};

use self::session::Session;
use super::{Engine, Sql, failure};

/// Longest time for asking the database to cancel; the worker's patience is longer.
const CANCEL_WAIT: Duration = Duration::from_secs(2);

/// The engine for steps in PostgreSQL's language.
pub(super) struct Postgres;

impl Engine for Postgres {
    fn run(&self, frame: &StartFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
        let Some(database) = &frame.postgres else {
            return Err(failure(ErrorKind::Protocol, "the start frame names no PostgreSQL database".to_owned()));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failure(ErrorKind::Start, format!("failed to start: {error}")))?;
        runtime.block_on(run_until_stopped(frame, database, sql))
    }
}

async fn run_until_stopped(frame: &StartFrame, database: &PostgresFrame, sql: &Sql<'_>) -> Result<Output, ErrorFrame> {
    let unready = |error: std::io::Error| failure(ErrorKind::Start, format!("failed to listen for signals: {error}"));
    let mut stop = signal(SignalKind::terminate()).map_err(unready)?;
    let stopped = || failure(ErrorKind::Signal, "stopped before its statements had ended".to_owned());
    let session = tokio::select! {
        session = Session::open(database, &frame.step) => session?,
        _ = stop.recv() => return Err(stopped()),
    };
    let (cancel, connector) = (session.cancel_token(), session.connector());
    tokio::select! {
        output = session.run(frame, sql) => output,
        _ = stop.recv() => {
            // Where it fails, the database notices that nobody is there.
            let _ = tokio::time::timeout(CANCEL_WAIT, cancel.cancel_query(connector)).await;
            Err(stopped())
        }
    }
}
