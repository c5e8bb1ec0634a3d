//! Waking those who wait for work: each waiter names its scopes, each new job wakes one of them.
//!
//! Nothing is promised to a waiter that is woken: it looks for itself, and waits again when somebody was faster.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Those who wait for work.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: Mutex<VecDeque<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    scopes: Vec<String>,
    wake: oneshot::Sender<()>,
}

impl Waiters {
    /// Begins to wait. Look for work after this call and before awaiting, or a wake-up in between is lost.
    pub fn wait(&self, scopes: Vec<String>) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiter| !waiter.wake.is_closed());
        waiting.push_back(Waiter { scopes, wake });
        woken
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for waiter in waiting.drain(..) {
            // One that has gone in the meantime needs nothing.
            let _ = waiter.wake.send(());
        }
    }

    /// Wakes as many waiters of each scope as it has new jobs, those that wait longest first.
    pub fn wake(&self, ready: &BTreeMap<String, u64>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (scope, count) in ready {
            let mut left = *count;
            let mut kept = VecDeque::with_capacity(waiting.len());
            while let Some(waiter) = waiting.pop_front() {
                if left > 0 && waiter.scopes.contains(scope) {
                    // A waiter that has gone in the meantime does not use the wake-up up.
                    if waiter.wake.send(()).is_ok() {
                        left -= 1;
                    }
                } else {
                    kept.push_back(waiter);
                }
            }
            *waiting = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(scope: &str, count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(scope.to_owned(), count)])
    }

    #[test]
    fn a_new_job_wakes_one_waiter_of_its_scope_the_oldest() {
        let waiters = Waiters::default();
        let mut other = waiters.wait(vec!["b".into()]);
        let mut first = waiters.wait(vec!["a".into(), "b".into()]);
        let mut second = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(first.try_recv().is_ok());
        assert!(second.try_recv().is_err());
        assert!(other.try_recv().is_err());
    }

    #[test]
    fn a_waiter_that_has_gone_does_not_use_a_wake_up_up() {
        let waiters = Waiters::default();
        drop(waiters.wait(vec!["a".into()]));
        let mut stays = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(stays.try_recv().is_ok());
    }
}
