//! Pauses between attempts at something that fails: doubling, bounded, with jitter.

use std::time::Duration;

/// How long to wait next time. One for each thing that is tried again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `min` up to `max`.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// After a success: the next failure waits shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    /// The next pause: between half and all of the current bound, so that many workers do not come back at once.
    pub(crate) fn pause(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.max);
        bound / 2 + (bound / 2).mul_f64(random_share())
    }
}

/// A random number from 0 to below 1.
fn random_share() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness there is no jitter, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_over_after_a_reset() {
        let (min, max) = (Duration::from_millis(100), Duration::from_millis(1_000));
        let mut backoff = Backoff::new(min, max);
        let pauses: Vec<Duration> = (0..8).map(|_| backoff.pause()).collect();
        for (pause, bound_ms) in pauses.iter().zip([100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]) {
            let bound = Duration::from_millis(bound_ms);
            assert!(*pause >= bound / 2 && *pause <= bound, "{pauses:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
