//! What becomes of values in the bucket. Those of runs that are no longer kept go with them. Those that attempts left which had
//! lost their lease, or whose job started over, go when their run has ended. And where all values of ended runs together
//! are over a bound, those of the runs that ended first go. Those of pinned runs stay.
//!
//! Only what belongs to runs of this hub is touched: others may use the same bucket. A bucket that is away is asked again
//! at the next look.

use std::collections::BTreeMap;
use std::time::Duration;

use bucket::{Bucket, BucketError};
use futures::TryStreamExt;
use protocol::{JobId, Place, RunId};

use crate::config::Kept;
use crate::error::QueueError;
use crate::store::Store;

/// How far back the first look of a hub goes.
const FIRST_LOOK: Duration = Duration::from_secs(24 * 3_600);
/// Time between two looks at how much there is in all: each lists the whole bucket.
const SIZE_LOOK: Duration = Duration::from_secs(3_600);

/// Why something was not tidied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyingError {
    /// The bucket did not do its part.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The queue did not.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// What was looked at so far.
#[derive(Debug)]
pub(crate) struct Tidying {
    /// Runs that ended before were looked at.
    ended_before_ms: i64,
    /// When to look at the size again.
    size_at_ms: i64,
}

/// Removes all values and logs of a run.
pub(crate) async fn remove(bucket: &Bucket, run: &RunId) -> Result<(), BucketError> {
    bucket.delete_prefix(&folder(run)).await.map(drop)
}

fn folder(run: &RunId) -> String {
    format!("runs/{run}")
}

impl Tidying {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self { ended_before_ms: now_ms - milliseconds(FIRST_LOOK), size_at_ms: now_ms }
    }

    /// Tidies what has become due since the last look.
    pub(crate) async fn look(&mut self, store: &Store, bucket: &Bucket, kept: Kept, now_ms: i64) {
        if let Err(error) = self.remove_orphans(store, bucket, now_ms - milliseconds(kept.orphans_for)).await {
            tracing::warn!(%error, "values that lost attempts left behind could not be removed; the next look tries again");
        }
        if now_ms < self.size_at_ms {
            return;
        }
        match keep_in_size(store, bucket, kept.values_bytes_max).await {
            Ok(()) => self.size_at_ms = now_ms + milliseconds(SIZE_LOOK),
            Err(error) => tracing::warn!(%error, "the size of all values is not known"),
        }
    }

    async fn remove_orphans(&mut self, store: &Store, bucket: &Bucket, until_ms: i64) -> Result<(), TidyingError> {
        for run in store.runs_ended(self.ended_before_ms, until_ms).await? {
            let count = remove_orphans_of(store, bucket, &run.id, until_ms).await?;
            if count > 0 {
                tracing::info!(run = %run.id, values = count, "removed values that attempts left behind");
            }
        }
        self.ended_before_ms = self.ended_before_ms.max(until_ms);
        Ok(())
    }
}

/// Removes values of a run that no job of it refers to and that were written before `before_ms`.
async fn remove_orphans_of(store: &Store, bucket: &Bucket, run: &RunId, before_ms: i64) -> Result<u64, TidyingError> {
    let mut entries = bucket.entries(&folder(run))?;
    let mut known: Option<(JobId, Option<String>)> = None;
    let mut count = 0;
    while let Some(entry) = entries.try_next().await? {
        let Some((job, value)) = job_and_value(&entry.key).filter(|_| entry.modified_ms < before_ms) else { continue };
        if known.as_ref().is_none_or(|(of, _)| *of != job) {
            known = Some((job, live_key(store, job).await?));
        }
        let is_live = known.as_ref().is_some_and(|(_, live)| live.as_deref() == Some(value));
        if !is_live {
            bucket.delete(&entry.key).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// The job an object belongs to, and the key of its value; `None` for logs and what is none of ours.
fn job_and_value(key: &str) -> Option<(JobId, &str)> {
    let mut parts = key.split('/').skip(2);
    let (job, attempt) = (parts.next()?.parse().ok()?, parts.next()?);
    let name = attempt.strip_suffix(".pages").unwrap_or(attempt);
    // The number of an attempt, and what tells it from one of the same number before the queue was restored.
    let (number, mark) = name.split_once('-').unwrap_or((name, "0"));
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_mark = !mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_value = is_number && is_mark && parts.next().is_none();
    is_value.then(|| (job, key.strip_suffix(".pages").unwrap_or(key)))
}

/// The key of a job's value, where it is an object.
async fn live_key(store: &Store, job: JobId) -> Result<Option<String>, QueueError> {
    let value = match store.job(job).await {
        Ok(view) => view.value,
        Err(QueueError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(value.and_then(|value| match value.place {
        Place::Object { key, .. } => Some(key),
        Place::Json(_) | Place::Arrow(_) | Place::Element { .. } => None,
    }))
}

/// Removes values of ended runs, of those that ended first, until the rest is within the bound.
async fn keep_in_size(store: &Store, bucket: &Bucket, bytes_max: u64) -> Result<(), TidyingError> {
    let sizes = sizes(bucket).await?;
    let mut total: u64 = sizes.values().sum();
    if total <= bytes_max {
        return Ok(());
    }
    let mut ended: Vec<(i64, RunId, u64)> = Vec::new();
    for (run, bytes) in sizes {
        match store.run(run.clone()).await {
            Ok(view) if view.pinned => {}
            Ok(view) => ended.extend(view.finished_ms.map(|ms| (ms, run, bytes))),
            Err(QueueError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    ended.sort_unstable();
    for (_, run, bytes) in ended {
        if total <= bytes_max {
            return Ok(());
        }
        remove(bucket, &run).await?;
        tracing::info!(%run, bytes, "removed the values of a run: all together were over BUE_VALUES_BYTES_MAX");
        total = total.saturating_sub(bytes);
    }
    if total > bytes_max {
        tracing::warn!(
            total,
            bytes_max,
            "values are over BUE_VALUES_BYTES_MAX, and no run of this hub has ended that is not pinned"
        );
    }
    Ok(())
}

/// Size of the values of each run.
async fn sizes(bucket: &Bucket) -> Result<BTreeMap<RunId, u64>, BucketError> {
    let mut sizes: BTreeMap<RunId, u64> = BTreeMap::new();
    let mut entries = bucket.entries("runs")?;
    while let Some(entry) = entries.try_next().await? {
        let run = entry.key.split('/').nth(1).and_then(|run| run.parse().ok());
        if let Some(run) = run {
            *sizes.entry(run).or_default() += entry.bytes;
        }
    }
    Ok(sizes)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_pages_are_told_from_logs() {
        assert_eq!(job_and_value("runs/r/j7/3"), Some((JobId(7), "runs/r/j7/3")));
        assert_eq!(job_and_value("runs/r/j7/3.pages"), Some((JobId(7), "runs/r/j7/3")));
        assert_eq!(job_and_value("runs/r/j7/3-0af1"), Some((JobId(7), "runs/r/j7/3-0af1")));
        assert_eq!(job_and_value("runs/r/j7/3-0af1.pages"), Some((JobId(7), "runs/r/j7/3-0af1")));
        for other in [
            "runs/r/j7/3.log",
            "runs/r/j7/3-0af1.log",
            "runs/r/j7/3-",
            "runs/r/j7/-3",
            "runs/r/j7/3/x",
            "runs/r/x/3",
            "runs/r/j7",
            "other/r/j7/x",
        ] {
            assert_eq!(job_and_value(other), None, "{other}");
        }
    }
}
