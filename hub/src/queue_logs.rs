//! Use cases of logs: what workers tell while attempts run, who follows, and the logs that were kept.

use std::time::{Duration, Instant};

use protocol::api::{JobPage, LogRef};
use protocol::log::{LATE_LOGS_MAX, LateLogAnswer, LateLogRequest, LogNews, LogRequest};
use protocol::{JobId, RunId};

use crate::error::QueueError;
use crate::queue::Queue;

/// Shortest time between two looks at a job for one who follows it.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What one who follows a log knows already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Number of the attempt; 0 for none.
    pub attempt: u32,
    /// Whether it was going on.
    pub running: bool,
    /// Bytes of its log.
    pub bytes: u64,
}

impl Queue {
    /// Takes what attempts have printed.
    pub fn take_log(&self, request: LogRequest) {
        self.shared.live_logs.take(request.parts);
    }

    /// Keeps what attempts had printed whose leases were taken while they ran.
    ///
    /// # Errors
    /// The request is over a limit, or the database failed; then none is kept.
    pub async fn keep_late_logs(&self, request: LateLogRequest) -> Result<LateLogAnswer, QueueError> {
        if request.logs.len() > LATE_LOGS_MAX {
            return Err(QueueError::Invalid(format!("more than {LATE_LOGS_MAX} logs in one request")));
        }
        let kept = self.shared.store.add_late(request.session, request.logs).await?;
        kept.iter().for_each(|(job, attempt)| self.shared.live_logs.forget(*job, *attempt));
        Ok(LateLogAnswer { kept: kept.len() as u64 })
    }

    /// What is new about a job's log; waits for it.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn follow_log(&self, job: JobId, known: Known, wait: Duration) -> Result<LogNews, QueueError> {
        let deadline = Instant::now() + wait.min(self.limits().wait_max);
        let (mut parts, mut runs) = (self.shared.live_logs.changes.subscribe(), self.shared.bell.runs.subscribe());
        loop {
            parts.mark_unchanged();
            runs.mark_unchanged();
            let view = self.shared.store.job(job).await?;
            let place = if known.attempt == view.attempts { known.bytes } else { 0 };
            let (from, text) = self.shared.live_logs.after(job, view.attempts, place);
            let news = LogNews { state: view.state, attempt: view.attempts, from, text };
            let is_new = !news.text.is_empty()
                || news.attempt != known.attempt
                || news.is_running() != known.running
                || news.is_over();
            let left = deadline.saturating_duration_since(Instant::now());
            if is_new || left.is_zero() {
                return Ok(news);
            }
            let changed = async {
                tokio::select! { _ = parts.changed() => {}, _ = runs.changed() => {} }
            };
            if tokio::time::timeout(left, changed).await.is_ok() {
                tokio::time::sleep(LOOK_PAUSE.min(left)).await;
            }
        }
    }

    /// Jobs of a run of which an attempt left a log, a page at a time.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn logged_jobs(&self, run: RunId, after: Option<JobId>, limit: usize) -> Result<JobPage, QueueError> {
        self.shared.store.logged_jobs(run, after, limit.clamp(1, self.limits().page_max)).await
    }

    /// The log of one attempt of a job, or of its newest one that left one.
    ///
    /// # Errors
    /// There is no such job.
    pub async fn log(&self, job: JobId, attempt: Option<u32>) -> Result<Option<LogRef>, QueueError> {
        self.shared.store.job(job).await?;
        self.shared.store.log(job, attempt).await
    }
}
