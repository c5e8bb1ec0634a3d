//! What comes of attempts whose leases were taken while they ran: it changes nothing about their jobs.

use protocol::log::LateLog;
use protocol::{JobId, SessionId};

use super::Store;
use super::row::{LateRow, job_id, job_number, json};
use super::settle::sandbox;
use crate::error::QueueError;

impl Store {
    /// Adds to attempts of a session that are over what they lack of log and sandbox. Answers with those that lacked any of it.
    ///
    /// # Errors
    /// The database failed; then none was added.
    pub async fn add_late(&self, session: SessionId, late: Vec<LateLog>) -> Result<Vec<(JobId, u32)>, QueueError> {
        let rows = late.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        self.write(move |change| {
            // The attempts may be of this very batch.
            change.flush()?;
            change.edited();
            let added = change.rows.add_late(session, &rows)?;
            Ok(added.into_iter().map(|(job, number)| (job_id(job), number)).collect())
        })
        .await
    }
}

fn row(late: &LateLog) -> Result<LateRow, QueueError> {
    let log = late.log.as_ref().map(json).transpose()?;
    Ok(LateRow { job: job_number(late.job), number: late.attempt, log, sandbox: sandbox(late.sandbox.as_deref()) })
}
