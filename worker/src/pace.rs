//! Requests to the hub that come thick and fast are spread: what gathers meanwhile goes in one.
//!
//! A request that comes after a quiet time goes at once, and so does one that hardly anybody could join: a single step never
//! waits for company.

use std::time::Duration;

use tokio::time::Instant;

/// Attempts that must run for a request to wait for what they bring: fewer bring too little to be worth it.
pub(crate) const COMPANY: usize = 4;

/// The pace of one kind of request.
#[derive(Debug)]
pub(crate) struct Pace {
    pause: Duration,
    last: Option<Instant>,
}

impl Pace {
    /// At least `pause` from the beginning of one request to that of the next.
    pub(crate) fn new(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    /// Waits until the next request may go; `is_alone` when nothing can gather meanwhile.
    pub(crate) async fn keep(&mut self, is_alone: bool) {
        if let Some(last) = self.last.filter(|_| !is_alone) {
            tokio::time::sleep_until(last + self.pause).await;
        }
        self.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_follows_another_waits_and_one_after_a_quiet_time_does_not() {
        let mut pace = Pace::new(Duration::from_secs(3_600));
        pace.keep(false).await;
        let next = tokio::time::timeout(Duration::from_millis(20), pace.keep(false)).await;
        assert!(next.is_err(), "the second request did not wait");
        tokio::time::timeout(Duration::from_secs(4), pace.keep(true)).await.expect("nobody can join it");
        let long_ago = Instant::now().checked_sub(Duration::from_secs(7));
        let mut pace = Pace { pause: Duration::from_secs(5), last: long_ago };
        tokio::time::timeout(Duration::from_secs(4), pace.keep(false)).await.expect("it goes at once");
    }
}
