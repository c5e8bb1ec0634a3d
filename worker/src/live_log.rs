//! What attempts print, told to the hub while they run, for those who follow it.
//!
//! An attempt that is over before it is time to tell costs nothing. What cannot be told is not told again: the log that
//! counts goes with the settlement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::api::Lease;
use protocol::log::{LogPart, LogRequest};
use protocol::{JobId, LeaseToken};

use crate::control::Shared;
use crate::hub::Hub;

/// News of all attempts that run.
#[derive(Debug)]
pub(crate) struct LiveLogs {
    attempts: Mutex<HashMap<LeaseToken, News>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct News {
    job: JobId,
    attempt: u32,
    /// Where it begins in the attempt's log.
    from: u64,
    bytes: Vec<u8>,
}

impl News {
    fn add(&mut self, bytes: &[u8], bytes_max: usize) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(bytes_max);
        self.bytes.drain(..excess);
        self.from += excess as u64;
    }

    /// Whole lines, so that no character is cut; of a line that does not end, what there is.
    fn take(&mut self) -> LogPart {
        let lines = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(self.bytes.len(), |place| place + 1);
        let part: Vec<u8> = self.bytes.drain(..lines).collect();
        let from = self.from;
        self.from += lines as u64;
        LogPart { job: self.job, attempt: self.attempt, from, text: String::from_utf8_lossy(&part).into_owned() }
    }
}

impl LiveLogs {
    /// No news; at most so many bytes of each attempt wait to be told.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { attempts: Mutex::default(), bytes_max }
    }

    /// Where an attempt's log is told.
    pub(crate) fn of(self: &Arc<Self>, lease: &Lease) -> LiveLog {
        LiveLog { logs: Arc::clone(self), token: lease.token, job: lease.job, attempt: lease.attempt, is_known: false }
    }

    fn take(&self) -> Vec<LogPart> {
        let mut attempts = self.lock();
        attempts.values_mut().filter(|news| !news.bytes.is_empty()).map(News::take).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseToken, News>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log of one attempt, as far as it is told while it grows. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct LiveLog {
    logs: Arc<LiveLogs>,
    token: LeaseToken,
    job: JobId,
    attempt: u32,
    is_known: bool,
}

impl LiveLog {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.is_known = true;
        let new = || News { job: self.job, attempt: self.attempt, from: 0, bytes: Vec::new() };
        self.logs.lock().entry(self.token).or_insert_with(new).add(bytes, self.logs.bytes_max);
    }
}

impl Drop for LiveLog {
    fn drop(&mut self) {
        if self.is_known {
            self.logs.lock().remove(&self.token);
        }
    }
}

/// Tells what is new again and again, until it is dropped.
pub(crate) async fn run<H: Hub>(shared: Arc<Shared<H>>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let parts = shared.live_logs.take();
        if parts.is_empty() {
            continue;
        }
        if let Err(error) = shared.hub.log(LogRequest { session: shared.session, parts }).await {
            tracing::debug!("logs of attempts that run could not be told: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(bytes_max: usize, printed: &[&str]) -> News {
        let mut news = News { job: JobId(1), attempt: 1, from: 0, bytes: Vec::new() };
        printed.iter().for_each(|printed| news.add(printed.as_bytes(), bytes_max));
        news
    }

    #[test]
    fn whole_lines_are_told_and_the_rest_waits() {
        let mut news = news(100, &["one\ntw"]);
        let first = news.take();
        assert_eq!((first.from, first.text.as_str()), (0, "one\n"));
        news.add(b"o\n", 100);
        let second = news.take();
        assert_eq!((second.from, second.text.as_str()), (4, "two\n"));
    }

    #[test]
    fn what_is_too_much_is_left_out_and_its_place_is_told() {
        let part = news(4, &["one\n", "two\n"]).take();
        assert_eq!((part.from, part.text.as_str()), (4, "two\n"));
    }
}
