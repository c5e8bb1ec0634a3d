//! What comes of attempts whose leases were taken while they ran: it changes nothing about their jobs.

use protocol::log::LateLog;
use protocol::{JobId, SessionId};

use super::Store;
use super::row::{LateRow, job_id, job_number, json};
use crate::error::QueueError;

impl Store {
    /// Adds logs to attempts of a session that are over and have none. Answers with those they were added to.
    ///
    /// # Errors
    /// The database failed; then none was added.
    pub async fn add_late_logs(&self, session: SessionId, logs: Vec<LateLog>) -> Result<Vec<(JobId, u32)>, QueueError> {
        let rows = logs.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        self.write(move |change| {
            // The attempts may be of this very batch.
            change.flush()?;
            change.edited();
            let added = change.rows.add_logs(session, &rows)?;
            Ok(added.into_iter().map(|(job, number)| (job_id(job), number)).collect())
        })
        .await
    }
}

fn row(late: &LateLog) -> Result<LateRow, QueueError> {
    let log = late.log.as_ref().map(json).transpose()?;
    Ok(LateRow { job: job_number(late.job), number: late.attempt, log })
}
