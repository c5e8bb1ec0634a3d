//! What is kept of finished runs: bounded by age and number for each way a run can end, deleted a little at a time.

use std::collections::HashSet;
use std::time::Duration;

use protocol::api::Pause;
use protocol::{Digest, Manifest, RunId};

use super::Store;
use super::change::Change;
use super::row::json;
use super::rows::{Ended, Expired};
use crate::config::Kept;
use crate::error::QueueError;

/// Runs hidden in one transaction.
const RUNS_AT_ONCE: i64 = 100;

/// Jobs deleted in one transaction: others must not wait long for their turn.
const JOBS_AT_ONCE: i64 = 1_000;

/// A file that no bundle names is kept this long: the bundle may be on its way.
const UNUSED_FILE_AGE: Duration = Duration::from_secs(24 * 3_600);

impl Store {
    /// Hides finished runs that are over a bound. Answers with their number.
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

    /// A hidden run whose rows are still there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn retired(&self) -> Result<Option<RunId>, QueueError> {
        self.read(|rows| Ok(rows.retired()?.map(|(_, run)| run))).await
    }

    /// Deletes some of what belongs to a hidden run, then what nobody uses any more. Answers with whether there is more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self, run: RunId, now_ms: i64) -> Result<bool, QueueError> {
        self.write(move |change| {
            change.flush()?;
            let Some((number, _)) = change.rows.retired()?.filter(|(_, next)| *next == run) else { return Ok(false) };
            change.edited();
            let is_gone = change.rows.delete_some(number, JOBS_AT_ONCE)?;
            if is_gone {
                let age_ms = i64::try_from(UNUSED_FILE_AGE.as_millis()).unwrap_or(i64::MAX / 4);
                change.rows.delete_unused(now_ms.saturating_sub(age_ms))?;
            }
            Ok(!is_gone)
        })
        .await
    }
}

/// A run that nobody can see can be resumed by nobody.
fn forget_pause(change: &mut Change<'_>, run: i64) -> Result<(), QueueError> {
    if let Some(run) = change.rows.run(run)? {
        change.rows.set_pause(&json(&Pause::Run(run.id))?, false)?;
    }
    Ok(())
}

/// Those of some files that no bundle names.
pub(super) fn unused_files(manifests: &[String], files: Vec<Digest>) -> Result<Vec<Digest>, QueueError> {
    let mut named = HashSet::new();
    for text in manifests {
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|error| QueueError::Unreadable(format!("a bundle: {error}")))?;
        named.extend(manifest.files.into_iter().map(|file| file.digest));
    }
    Ok(files.into_iter().filter(|digest| !named.contains(digest)).collect())
}
