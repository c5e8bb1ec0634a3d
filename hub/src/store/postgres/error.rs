//! What an error of PostgreSQL means for the queue.

use std::error::Error;
use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::error::QueueError;

/// An error with all that it says: the outermost alone often names nothing.
#[derive(Debug)]
pub(super) struct Told(String);

impl Told {
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text = format!("{text}: {inner_text}");
            }
            cause = inner.source();
        }
        Self(text)
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Told {}

impl From<tokio_postgres::Error> for QueueError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store { passing: is_passing(&error), source: Box::new(Told::of(&error)) }
    }
}

impl From<PoolError> for QueueError {
    fn from(error: PoolError) -> Self {
        let passing = match &error {
            PoolError::Backend(error) => is_passing(error),
            _ => true,
        };
        Self::Store { passing, source: Box::new(Told::of(&error)) }
    }
}

/// A database that is away, restarting, full or overrun: may be over when the request is repeated.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else { return true };
    let class = code.code().get(..2).unwrap_or_default();
    // Connections, out of resources, ended by an operator, input or output.
    matches!(class, "08" | "53" | "57" | "58")
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(code)
}
