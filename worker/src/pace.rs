//! Requests to the hub that come thick and fast are spread: what gathers meanwhile goes in one.
//!
//! A request that comes after a quiet time goes at once, so that a single step never waits for company.

use std::time::Duration;

use tokio::time::Instant;

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

    /// Waits until the next request may go.
    pub(crate) async fn keep(&mut self) {
        if let Some(last) = self.last {
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
        pace.keep().await;
        let next = tokio::time::timeout(Duration::from_millis(20), pace.keep()).await;
        assert!(next.is_err(), "the second request did not wait");
        let long_ago = Instant::now().checked_sub(Duration::from_secs(7));
        let mut pace = Pace { pause: Duration::from_secs(5), last: long_ago };
        tokio::time::timeout(Duration::from_secs(4), pace.keep()).await.expect("it goes at once");
    }
}
