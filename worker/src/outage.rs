//! One line in the log when something can no longer be reached, one when it is back.

use std::fmt::Display;
use std::sync::Mutex;
use std::time::Instant;

/// Whether something this worker depends on is away, and since when.
#[derive(Debug)]
pub(crate) struct Outage {
    name: &'static str,
    state: Mutex<Option<(Instant, String)>>,
}

impl Outage {
    /// Nothing is known to be wrong with `name`.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, state: Mutex::new(None) }
    }

    /// It failed. Says so when it worked before, or when it fails in a new way.
    pub(crate) fn failed(&self, error: &dyn Display) {
        let message = error.to_string();
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *state {
            Some((_, last)) if *last == message => {}
            Some((_, last)) => {
                tracing::warn!("{message}; still trying");
                *last = message;
            }
            None => {
                tracing::warn!("{message}; work goes on, trying again until it answers");
                *state = Some((Instant::now(), message));
            }
        }
    }

    /// It worked. Says so when it was away.
    pub(crate) fn worked(&self) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((since, _)) = state.take() {
            tracing::info!("{} is back after {:.1} s", self.name, since.elapsed().as_secs_f64());
        }
    }
}
