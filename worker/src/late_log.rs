//! Logs of attempts whose leases were taken while they ran: there is no settlement to bring them, so they are handed in apart.
//!
//! Nobody waits for them. They hold no slot, and what a hub does not take after a few tries is given up.

use std::sync::Arc;
use std::time::Duration;

use protocol::api::{Lease, LogRef};
use protocol::log::{LATE_LOGS_MAX, LateLog, LateLogRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::control::Shared;
use crate::hub::Hub;

/// Logs that may wait to be handed in; each is short, or only names its object in the bucket.
pub(crate) const WAITING_MAX: usize = 4_096;
/// How long such a log may take on its way to the bucket: longer ones are cut short instead.
pub(crate) const BUCKET_PATIENCE: Duration = Duration::from_secs(5);
/// Most logs of one request.
const AT_ONCE: usize = if LATE_LOGS_MAX < 64 { LATE_LOGS_MAX } else { 64 };
/// How often a hub is asked to take them.
const TRIES: u32 = 6;
/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// At shutdown: how long what waits is offered.
const DRAIN: Duration = Duration::from_secs(5);

/// Where attempts leave them.
#[derive(Debug, Clone)]
pub(crate) struct LateLogs(mpsc::Sender<LateLog>);

impl LateLogs {
    /// A place for them, and what is to be [run].
    pub(crate) fn new() -> (Self, mpsc::Receiver<LateLog>) {
        let (logs, inbox) = mpsc::channel(WAITING_MAX);
        (Self(logs), inbox)
    }

    /// Leaves what an attempt printed, if anything, and the sandbox that it ran in.
    pub(crate) fn leave(&self, lease: &Lease, log: Option<LogRef>, sandbox: Option<String>) {
        let late = LateLog { job: lease.job, attempt: lease.attempt, log, sandbox };
        if self.0.try_send(late).is_err() {
            tracing::warn!(job = %lease.job, attempt = lease.attempt, "too many logs of ended attempts wait: this one is lost");
        }
    }
}

/// Hands in what comes, until there is nobody left who could leave anything.
pub(crate) async fn run<H: Hub>(shared: Arc<Shared<H>>, mut logs: mpsc::Receiver<LateLog>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while logs.recv_many(&mut batch, AT_ONCE).await > 0 {
        let request = LateLogRequest { session: shared.session, logs: std::mem::take(&mut batch) };
        let count = request.logs.len();
        match hand_in(&shared, request).await {
            Ok(kept) => tracing::debug!(count, kept, "logs of attempts that the hub ended were handed in"),
            Err(error) => tracing::warn!(count, "logs of attempts that the hub ended are given up: {error}"),
        }
    }
}

/// Tries a few times; an error in words.
async fn hand_in<H: Hub>(shared: &Shared<H>, request: LateLogRequest) -> Result<u64, String> {
    let limits = &shared.config.limits;
    let mut backoff = Backoff::new(limits.backoff_min, limits.backoff_max);
    let mut tries = 1;
    loop {
        let error = match tokio::time::timeout(ANSWER_MAX, shared.hub.late_logs(request.clone())).await {
            Ok(Ok(answer)) => return Ok(answer.kept),
            Ok(Err(error)) if error.is_final() => return Err(error.to_string()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the hub did not answer in time".to_owned(),
        };
        if tries == TRIES {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Waits a while for what is still on its way.
pub(crate) async fn finish(running: JoinHandle<()>) {
    let abort = running.abort_handle();
    if tokio::time::timeout(DRAIN, running).await.is_err() {
        tracing::warn!("the hub did not take the last logs of attempts that it ended");
        abort.abort();
    }
}
