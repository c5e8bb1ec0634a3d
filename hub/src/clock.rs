//! The time of day, for those who act; what decides gets it as an argument.
//!
//! It is read once, at the first call, and goes on with the monotonic clock: a clock that is set while a hub runs neither ends
//! leases nor keeps parked jobs. Hubs that share a database begin with its time: their own clocks need not agree.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<(Instant, i64)> = OnceLock::new();

/// Unix time in milliseconds; never goes back while the process runs.
#[must_use]
pub fn now_ms() -> i64 {
    let (start, start_ms) = START.get_or_init(|| (Instant::now(), day_time_ms()));
    start_ms.saturating_add(i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX / 4))
}

/// Begins with a time that others go by, unless the time was asked for before.
pub(crate) fn begin_with(time_ms: i64) {
    let _ = START.set((Instant::now(), time_ms));
}

fn day_time_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 4)
}
