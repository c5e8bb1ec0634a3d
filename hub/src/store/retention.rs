//! What is kept of finished runs: bounded by age and number for each way a run can end, deleted a little at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::api::Pause;
use protocol::{Digest, Manifest, RunId};

use super::Store;
use super::change::Change;
use super::row::json;
use super::rows::{Ended, Expired, Rows};
use crate::config::Kept;
use crate::error::QueueError;

/// Runs hidden in one transaction.
const RUNS_AT_ONCE: i64 = 100;

/// Jobs deleted in one transaction: others must not wait long for their turn.
const JOBS_AT_ONCE: i64 = 1_000;

/// Files deleted in one transaction.
const FILES_AT_ONCE: usize = 200;

/// A file that no bundle names is kept this long: the bundle may be on its way.
const UNUSED_FILE_AGE: Duration = Duration::from_secs(24 * 3_600);

impl Store {
    /// Hides finished runs that are over a bound, with the pauses of those. Answers with their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retire(&self, kept: Kept, now_ms: i64) -> Result<usize, QueueError> {
        self.write(move |change| {
            change.flush()?;
            let mut count = 0;
            for (state, age, runs_max) in [
                (Ended::Succeeded, kept.succeeded_for, kept.succeeded_runs_max),
                (Ended::Failed, kept.failed_for, kept.failed_runs_max),
                (Ended::Cancelled, kept.cancelled_for, kept.cancelled_runs_max),
            ] {
                let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 4);
                let runs_max = i64::try_from(runs_max).unwrap_or(i64::MAX);
                let what = Expired { state, finished_before_ms: now_ms.saturating_sub(age_ms), runs_max };
                for run in change.rows.expired(what, RUNS_AT_ONCE)? {
                    change.edited();
                    forget_pause(change, run)?;
                    change.rows.retire(run)?;
                    count += 1;
                }
            }
            change.load_pauses()?;
            Ok(count)
        })
        .await
    }

    /// Keeps a run with its values whatever the bounds.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn pin(&self, run: RunId) -> Result<(), QueueError> {
        self.write(move |change| set_pin(change, &run, true)).await
    }

    /// Has the bounds hold for a run again.
    ///
    /// # Errors
    /// There is no such run, or it is not pinned.
    pub async fn unpin(&self, run: RunId) -> Result<(), QueueError> {
        self.write(move |change| {
            if !change.run_row(&run)?.pinned {
                return Err(QueueError::Conflict(format!("run {run} is not pinned")));
            }
            set_pin(change, &run, false)
        })
        .await
    }

    /// A hidden run whose rows are still there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retired(&self) -> Result<Option<RunId>, QueueError> {
        self.read(|rows| Ok(rows.retired()?.map(|(_, run)| run))).await
    }

    /// Deletes some of what belongs to a hidden run. Answers with whether there is more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self, run: RunId) -> Result<bool, QueueError> {
        self.write(move |change| {
            change.flush()?;
            let Some((number, _)) = change.rows.retired()?.filter(|(_, next)| *next == run) else { return Ok(false) };
            change.edited();
            Ok(!change.rows.delete_some(number, JOBS_AT_ONCE)?)
        })
        .await
    }

    /// Deletes what no run uses any more: plans, bundles, and files that are not on their way to become part of one. Bundles are read beside
    /// the writer, which looks only at those that have come since.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_unused(&self, now_ms: i64) -> Result<(), QueueError> {
        self.write(|change| {
            change.flush()?;
            change.edited();
            change.rows.delete_unused_plans()
        })
        .await?;
        let age_ms = i64::try_from(UNUSED_FILE_AGE.as_millis()).unwrap_or(i64::MAX / 4);
        let before_ms = now_ms.saturating_sub(age_ms);
        let (known, unused) = self.read(move |rows| unused_files(rows, before_ms)).await?;
        let known = Arc::new(known);
        for files in unused.chunks(FILES_AT_ONCE) {
            let (known, files) = (Arc::clone(&known), files.to_vec());
            self.write(move |change| {
                change.flush()?;
                let new = change.rows.bundles()?.into_iter().filter(|bundle| !known.contains(bundle)).collect();
                let named = files_of(change.rows, new)?;
                let files: Vec<Digest> = files.iter().copied().filter(|file| !named.contains(file)).collect();
                change.edited();
                change.rows.delete_files(&files, before_ms)
            })
            .await?;
        }
        Ok(())
    }
}

/// A run that nobody can see can be resumed by nobody.
fn forget_pause(change: &mut Change<'_>, run: i64) -> Result<(), QueueError> {
    if let Some(run) = change.rows.run(run)? {
        change.rows.set_pause(&json(&Pause::Run(run.id))?, false)?;
    }
    Ok(())
}

fn set_pin(change: &mut Change<'_>, run: &RunId, pinned: bool) -> Result<(), QueueError> {
    let number = change.run_number(run)?;
    change.edited();
    change.rows.pin(number, pinned)?;
    change.touch(number);
    Ok(())
}

/// All bundles, and those files from before a time that none of them names.
fn unused_files(rows: &mut dyn Rows, before_ms: i64) -> Result<(HashSet<Digest>, Vec<Digest>), QueueError> {
    let old = rows.files_from_before(before_ms)?;
    let bundles = rows.bundles()?;
    let named = if old.is_empty() { HashSet::new() } else { files_of(rows, bundles.clone())? };
    let unused = old.into_iter().filter(|file| !named.contains(file)).collect();
    Ok((bundles.into_iter().collect(), unused))
}

/// The files of some bundles, which are read one after the other.
fn files_of(rows: &mut dyn Rows, bundles: Vec<Digest>) -> Result<HashSet<Digest>, QueueError> {
    let mut named = HashSet::new();
    for bundle in bundles {
        let Some(text) = rows.manifest(bundle)? else { continue };
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| QueueError::Unreadable(format!("bundle {bundle}: {error}")))?;
        named.extend(manifest.files.into_iter().map(|file| file.digest));
    }
    Ok(named)
}
