//! What an error of SQLite means for the queue.

use crate::error::QueueError;

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store { passing: is_passing(&error), source: Box::new(error) }
    }
}

/// A full or failing disk, or a locked database: may be over when the request is repeated.
fn is_passing(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(DiskFull | SystemIoFailure | DatabaseBusy | DatabaseLocked))
}
