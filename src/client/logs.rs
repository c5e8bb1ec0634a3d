//! Logs of jobs, kept and live.

use protocol::api::JobPage;
use protocol::log::LogNews;
use protocol::{JobId, RunId};

use super::{ANSWER_TIMEOUT, Client, ClientError, NEWS_WAIT};

impl Client {
    /// The next jobs of a run of which an attempt left a log, block by block.
    pub async fn logged_jobs(&self, run: &RunId, after: Option<JobId>, limit: usize) -> Result<JobPage, ClientError> {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        self.get(&format!("runs/{run}/logs?limit={limit}{after}"), ANSWER_TIMEOUT).await
    }

    /// What a job printed in one attempt, or in the newest one that left a log.
    pub async fn log(&self, job: JobId, attempt: Option<u32>) -> Result<String, ClientError> {
        let which = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
        self.text(&format!("jobs/{job}/log{which}")).await
    }

    /// What a hub has of the log of an attempt that runs.
    pub async fn log_news_now(&self, job: JobId, known: &LogNews) -> Result<LogNews, ClientError> {
        let (attempt, running) = (known.attempt, known.is_running());
        self.get(&format!("jobs/{job}/log/live?attempt={attempt}&running={running}"), ANSWER_TIMEOUT).await
    }

    /// What is new about a job's log beyond what is known; waits for it.
    pub async fn log_news(&self, job: JobId, known: &LogNews) -> Result<LogNews, ClientError> {
        let bytes = known.from + known.text.len() as u64;
        let (attempt, running, wait_ms) = (known.attempt, known.is_running(), NEWS_WAIT.as_millis());
        let route = format!("jobs/{job}/log/live?attempt={attempt}&running={running}&after={bytes}&wait_ms={wait_ms}");
        self.get(&route, NEWS_WAIT + ANSWER_TIMEOUT).await
    }
}
