//! The time of day, for those who act; what decides gets it as an argument.
//!
//! It is read once, at the first call, and goes on with the monotonic clock: a clock that is set while a hub runs neither ends
//! leases nor keeps parked jobs. Hubs that share a database go by one time, whatever their clocks and that of the database say: one
//! that starts begins with the time of those that run, and each [follows](follow) the latest that any has written under.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<(Instant, i64)> = OnceLock::new();

/// Milliseconds that others turned out to be ahead by.
static BEHIND: AtomicI64 = AtomicI64::new(0);

/// Unix time in milliseconds; never goes back while the process runs.
#[must_use]
pub fn now_ms() -> i64 {
    own_ms().saturating_add(BEHIND.load(Ordering::Relaxed))
}

/// Begins with a time that others go by, unless the time was asked for before.
pub(crate) fn begin_with(time_ms: i64) {
    let _ = START.set((Instant::now(), time_ms));
}

/// Others are at this time: goes on from it, where it is ahead.
pub(crate) fn follow(time_ms: i64) {
    let behind = time_ms.saturating_sub(own_ms());
    BEHIND.fetch_max(behind, Ordering::Relaxed);
}

fn own_ms() -> i64 {
    let (start, start_ms) = START.get_or_init(|| (Instant::now(), day_time_ms()));
    start_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX / 4))
}

fn day_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_is_behind_follows_and_one_who_is_ahead_does_not_go_back() {
        let before = now_ms();
        follow(before - 60_000);
        assert!(now_ms() >= before);
        follow(before + 60_000);
        let ahead = now_ms();
        assert!((before + 60_000..before + 120_000).contains(&ahead), "{ahead}");
        follow(before);
        assert!(now_ms() >= ahead);
    }
}
