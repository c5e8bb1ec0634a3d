//! Tells those who wait what a committed batch changed, on this hub or on another one.

use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::clock::now_ms;
use crate::store::Effects;
use crate::wake::Waiters;

/// Tells those who wait what a committed batch changed.
pub(crate) struct Bell {
    /// Workers that wait for jobs.
    pub waiters: Waiters,
    /// Grows when runs change.
    pub runs: watch::Sender<u64>,
    /// When the first parked job is to be ready.
    pub parked: Alarm,
    /// When the first lease is over.
    pub leased: Alarm,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let (waiters, runs) = (Waiters::default(), watch::Sender::new(0));
        Self { waiters, runs, parked: Alarm::default(), leased: Alarm::default() }
    }

    pub(crate) fn ring(&self, effects: &Effects) {
        if effects.everything {
            self.waiters.wake_all();
        } else {
            self.waiters.wake(&effects.ready);
        }
        if effects.runs {
            self.runs.send_modify(|version| *version += 1);
        }
        self.parked.bring_forward(effects.parked_until_ms);
        self.leased.bring_forward(effects.leased_until_ms);
    }
}

/// A time at which something is to be done; it can be brought forward while one sleeps until then.
pub(crate) struct Alarm {
    next_ms: AtomicI64,
    brought_forward: Notify,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { next_ms: AtomicI64::new(0), brought_forward: Notify::new() }
    }
}

impl Alarm {
    fn bring_forward(&self, to_ms: Option<i64>) {
        if let Some(to_ms) = to_ms
            && self.next_ms.fetch_min(to_ms, SeqCst) > to_ms
        {
            self.brought_forward.notify_one();
        }
    }

    /// Begins a look: whoever brings the alarm forward from here on is noticed.
    pub(crate) fn begin(&self) {
        self.next_ms.store(i64::MAX, SeqCst);
    }

    /// Sleeps until what the look found, or what it was brought forward to; at the most for `longest`.
    pub(crate) async fn sleep(&self, found_ms: Option<i64>, longest: Duration) {
        if let Some(found_ms) = found_ms {
            self.next_ms.fetch_min(found_ms, SeqCst);
        }
        let until_ms = self.next_ms.load(SeqCst);
        let pause = Duration::from_millis(u64::try_from(until_ms.saturating_sub(now_ms())).unwrap_or(0));
        // The outcome is the same: look again.
        let _ = tokio::time::timeout(pause.min(longest), self.brought_forward.notified()).await;
    }
}
