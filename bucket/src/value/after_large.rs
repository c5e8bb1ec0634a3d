//! What is done a while after large tables: once for all of them that came meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long that is, and so how often it is done at most: what comes meanwhile has a use for the memory of what came before.
const PAUSE: Duration = Duration::from_millis(500);
/// From this size on they leave much free memory behind.
const LARGE_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct AfterLarge {
    call: fn(),
    is_due: AtomicBool,
}

impl AfterLarge {
    pub(super) fn calling(call: fn()) -> Self {
        Self { call, is_due: AtomicBool::new(false) }
    }

    /// Has it done where so many bytes were large; nobody waits for what comes of it.
    pub(super) fn schedule(self: &Arc<Self>, bytes: u64) {
        if bytes < LARGE_BYTES || self.is_due.swap(true, Ordering::Relaxed) {
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

    fn calls() -> usize {
        CALLS.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn it_is_done_once_for_what_comes_together_and_again_for_what_comes_later() {
        let after = Arc::new(AfterLarge::calling(|| {
            CALLS.fetch_add(1, Ordering::SeqCst);
        }));
        for done in 1..=2 {
            (0..5).for_each(|_| after.schedule(LARGE_BYTES));
            assert_eq!(calls(), done - 1, "it is put off");
            let is_done = async {
                while calls() < done {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), is_done).await.expect("it is done");
        }
        after.schedule(LARGE_BYTES - 1);
        tokio::time::sleep(PAUSE * 2).await;
        assert_eq!(calls(), 2);
    }
}
