//! Keeps what a worker caches within its bounds while it runs: files of bundles, environments, and what their making left.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Attempts;
use crate::hub::Hub;

/// Time between two looks at the caches.
const PAUSE: Duration = Duration::from_secs(1_800);

/// Looks again and again, until it is dropped.
pub(crate) async fn run<H: Hub>(attempts: Arc<Attempts<H>>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let attempts = Arc::clone(&attempts);
        // Many files may be looked at.
        let _ = tokio::task::spawn_blocking(move || attempts.tidy()).await;
    }
}
