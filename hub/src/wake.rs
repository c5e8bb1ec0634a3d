//! Waking those who wait for work: each waiter names its scopes, each new job wakes one of them.
//!
//! Nothing is promised to a waiter that is woken: it looks for itself, and waits again when somebody was faster. A wake-up that a
//! waiter has no use for, because it found other work or has gone, is passed on: else its job would lie there while others wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// Those who wait for work.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: Mutex<VecDeque<Waiter>>,
}

/// The scope that has a new job; `None` where everybody is woken.
type Wake = Option<String>;

#[derive(Debug)]
struct Waiter {
    scopes: Vec<String>,
    wake: oneshot::Sender<Wake>,
}

impl Waiters {
    /// Begins to wait. Look for work after this call and before awaiting, or a wake-up in between is lost.
    pub fn wait(&self, scopes: Vec<String>) -> Waiting<'_> {
        Waiting { woken: self.stand_in_line(&scopes), waiters: self, scopes, owed: None }
    }

    fn stand_in_line(&self, scopes: &[String]) -> oneshot::Receiver<Wake> {
        let (wake, woken) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiter| !waiter.wake.is_closed());
        waiting.push_back(Waiter { scopes: scopes.to_vec(), wake });
        woken
    }

    /// Wakes everybody.
    pub fn wake_all(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for waiter in waiting.drain(..) {
            // One that has gone in the meantime needs nothing.
            let _ = waiter.wake.send(None);
        }
    }

    /// Wakes as many waiters of each scope as it has new jobs, those that wait longest first.
    pub fn wake(&self, ready: &BTreeMap<String, u64>) {
        for (scope, count) in ready {
            self.wake_some(scope, *count);
        }
    }

    fn wake_some(&self, scope: &str, count: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = count;
        let mut kept = VecDeque::with_capacity(waiting.len());
        while let Some(waiter) = waiting.pop_front() {
            if left > 0 && waiter.scopes.iter().any(|served| served == scope) {
                // A waiter that has gone in the meantime does not use the wake-up up.
                if waiter.wake.send(Some(scope.to_owned())).is_ok() {
                    left -= 1;
                }
            } else {
                kept.push_back(waiter);
            }
        }
        *waiting = kept;
    }
}

/// A place in the line of those who wait. Whoever gives it up passes on the wake-ups that it got and did not use.
#[derive(Debug)]
pub struct Waiting<'w> {
    waiters: &'w Waiters,
    scopes: Vec<String>,
    woken: oneshot::Receiver<Wake>,
    /// The scope for which it was woken, until it has looked.
    owed: Wake,
}

impl Waiting<'_> {
    /// Waits to be woken, and stands in line again for what comes while it looks. It can be given up and called again.
    pub async fn woken(&mut self) {
        if let Ok(wake) = (&mut self.woken).await {
            self.owed = wake;
        }
        self.woken = self.waiters.stand_in_line(&self.scopes);
    }

    /// The scope for which it was woken before this look.
    #[must_use]
    pub fn woken_for(&self) -> Option<&str> {
        self.owed.as_deref()
    }

    /// It has looked, and left nothing behind of what it was woken for.
    pub fn is_served(&mut self) {
        self.owed = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.woken.close();
        let received = self.woken.try_recv().ok().flatten();
        for scope in self.owed.take().into_iter().chain(received) {
            self.waiters.wake_some(&scope, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn ready(scope: &str, count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(scope.to_owned(), count)])
    }

    fn is_woken(waiting: &mut Waiting<'_>) -> bool {
        waiting.woken().now_or_never().is_some()
    }

    #[test]
    fn a_new_job_wakes_one_waiter_of_its_scope_the_oldest() {
        let waiters = Waiters::default();
        let mut other = waiters.wait(vec!["b".into()]);
        let mut first = waiters.wait(vec!["a".into(), "b".into()]);
        let mut second = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(is_woken(&mut first));
        assert!(!is_woken(&mut second));
        assert!(!is_woken(&mut other));
    }

    #[test]
    fn a_waiter_that_has_gone_does_not_use_a_wake_up_up() {
        let waiters = Waiters::default();
        drop(waiters.wait(vec!["a".into()]));
        let mut stays = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(is_woken(&mut stays));
    }

    #[test]
    fn a_wake_up_that_came_too_late_for_its_waiter_is_passed_on() {
        let waiters = Waiters::default();
        let first = waiters.wait(vec!["a".into()]);
        let mut second = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(!is_woken(&mut second));
        drop(first);
        assert!(is_woken(&mut second));
        drop(second);
        let mut third = waiters.wait(vec!["a".into()]);
        assert!(!is_woken(&mut third), "nobody is left to whom it could be passed");
    }

    #[test]
    fn a_waiter_that_goes_before_it_has_looked_passes_its_wake_up_on_and_one_that_has_looked_does_not() {
        let waiters = Waiters::default();
        let mut first = waiters.wait(vec!["a".into()]);
        let mut second = waiters.wait(vec!["a".into()]);
        let mut third = waiters.wait(vec!["a".into()]);
        waiters.wake(&ready("a", 1));
        assert!(is_woken(&mut first));
        assert_eq!(first.woken_for(), Some("a"));
        drop(first);
        assert!(is_woken(&mut second));
        second.is_served();
        drop(second);
        assert!(!is_woken(&mut third));
    }
}
