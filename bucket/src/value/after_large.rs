//! What is done a while after large tables: once for all of them that came meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long that is: tables that come meanwhile have a use for the memory of those before them.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct AfterLarge {
    call: fn(),
    is_due: AtomicBool,
}

impl AfterLarge {
    pub(super) fn calling(call: fn()) -> Self {
        Self { call, is_due: AtomicBool::new(false) }
    }

    /// Says that there was a large table.
    pub(super) fn come(self: &Arc<Self>) {
        if self.is_due.swap(true, Ordering::Relaxed) {
            return;
        }
        let after = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE).await;
            after.is_due.store(false, Ordering::Relaxed);
            tokio::task::spawn_blocking(after.call);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    #[tokio::test]
    async fn it_is_done_once_for_tables_that_come_together_and_again_for_later_ones() {
        let after = Arc::new(AfterLarge::calling(|| {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }));
        for done in 1..=2 {
            (0..5).for_each(|_| after.come());
            assert_eq!(CALLS.load(Ordering::SeqCst), done - 1, "it is put off");
            while CALLS.load(Ordering::SeqCst) < done {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        tokio::time::sleep(PAUSE / 5).await;
        assert_eq!(CALLS.load(Ordering::SeqCst), 2);
    }
}
