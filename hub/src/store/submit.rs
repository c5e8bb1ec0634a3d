//! A new run: its bundle, its plan and its first jobs, in one transaction.

use std::sync::Arc;

use protocol::{Digest, Manifest, Plan, RunId};

use super::Store;
use super::change::{Change, StoredPlan};
use super::passes::{Outer, stamp};
use super::plans::PlanEntry;
use super::row::NewRun;
use super::rows::Rows;
use crate::error::QueueError;

/// A compiled script on its way into the queue.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its files; all must have been stored.
    pub manifest: Manifest,
    /// What it says.
    pub plan: Plan,
    /// Idempotency key.
    pub key: Option<String>,
    /// Random bits for the run's id.
    pub random: u32,
    /// Unix time in milliseconds.
    pub now_ms: i64,
}

impl Store {
    /// Makes a run, or finds the one that an earlier submission with the same key made. Answers with its id and
    /// whether it was there before.
    ///
    /// # Errors
    /// Files of the bundle are missing.
    pub async fn submit(&self, submission: Submission) -> Result<(RunId, bool), QueueError> {
        self.write(move |change| submit(change, &submission)).await
    }

    /// Makes a new run of the plan of another one, or finds the one that an earlier request with the same key made. Answers
    /// with its id and whether it was there before.
    ///
    /// # Errors
    /// There is no such run, or the key belongs to a run of another plan.
    pub async fn run_again(
        &self,
        run: RunId,
        key: Option<String>,
        random: u32,
        now_ms: i64,
    ) -> Result<(RunId, bool), QueueError> {
        let plans = Arc::clone(&self.plans);
        self.write(move |change| {
            let plan = change.run_row(&run)?.plan;
            if let Some(key) = &key
                && let Some(id) = change.rows.run_of_key(key)?
            {
                let same = change.run_row(&id)?.plan == plan;
                let message = || format!("the key `{key}` belongs to run {id} of another script");
                return if same { Ok((id, true)) } else { Err(QueueError::Conflict(message())) };
            }
            let plan = plans.get(change.rows, plan)?;
            Ok((make_run(change, key.clone(), plan, None, random, now_ms)?, false))
        })
        .await
    }

    /// The run that was made with an idempotency key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run_of_key(&self, key: String) -> Result<Option<RunId>, QueueError> {
        self.read(move |rows| rows.run_of_key(&key)).await
    }

    /// The script of a run: its path in the bundle, and the digest of its text.
    ///
    /// # Errors
    /// There is no such run.
    pub async fn script_of(&self, run: RunId) -> Result<(String, Option<Digest>), QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| {
            let found = rows.run_by_id(&run)?.ok_or_else(|| QueueError::not_found(format!("run {run}")))?;
            let plan = plans.get(rows, found.plan)?;
            let manifest: Option<Manifest> =
                rows.manifest(plan.bundle)?.and_then(|text| serde_json::from_str(&text).ok());
            let script = plan.plan.script.clone();
            let digest = manifest.and_then(|manifest| manifest.find(&script).map(|file| file.digest));
            Ok((script, digest))
        })
        .await
    }

    /// Which of a manifest's files have never been stored, each once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn missing_files(&self, manifest: &Manifest) -> Result<Vec<Digest>, QueueError> {
        let manifest = manifest.clone();
        self.read(move |rows| missing(rows, &manifest)).await
    }

    /// Stores one file. Storing it again changes nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_file(&self, digest: Digest, content: bytes::Bytes, now_ms: i64) -> Result<(), QueueError> {
        self.write(move |change| {
            change.edited();
            change.rows.put_file(digest, &content, now_ms)
        })
        .await
    }

    /// The content of one file.
    ///
    /// # Errors
    /// There is no such file.
    pub async fn file(&self, digest: Digest) -> Result<Vec<u8>, QueueError> {
        let absent = move || QueueError::not_found(format!("file {digest}"));
        self.read(move |rows| rows.file(digest)?.ok_or_else(absent)).await
    }

    /// The files of a bundle.
    ///
    /// # Errors
    /// There is no such bundle.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, QueueError> {
        self.read(move |rows| {
            let text = rows.manifest(digest)?.ok_or_else(|| QueueError::not_found(format!("bundle {digest}")))?;
            serde_json::from_str(&text).map_err(|error| QueueError::Unreadable(format!("bundle {digest}: {error}")))
        })
        .await
    }
}

/// Those files of a manifest that are not stored, each once, in order.
fn missing(rows: &mut dyn Rows, manifest: &Manifest) -> Result<Vec<Digest>, QueueError> {
    let wanted: Vec<Digest> = manifest.files.iter().map(|file| file.digest).collect();
    let mut seen: std::collections::HashSet<Digest> = rows.files_here(&wanted)?.into_iter().collect();
    Ok(wanted.into_iter().filter(|digest| seen.insert(*digest)).collect())
}

fn submit(change: &mut Change<'_>, submission: &Submission) -> Result<(RunId, bool), QueueError> {
    if let Some(key) = &submission.key {
        // An earlier submission of the same batch may have brought the key.
        change.flush()?;
        if let Some(id) = change.rows.run_of_key(key)? {
            return Ok((id, true));
        }
    }
    let missing = missing(change.rows, &submission.manifest)?;
    if !missing.is_empty() {
        return Err(QueueError::MissingFiles(missing));
    }
    let bundle = submission.manifest.digest();
    let unreadable = |error| QueueError::Unreadable(format!("a plan: {error}"));
    let body = serde_json::to_string(&submission.plan).map_err(unreadable)?;
    let digest = Digest::of(format!("{bundle} {body}").as_bytes());
    let manifest = serde_json::to_string(&submission.manifest).map_err(unreadable)?;
    let plan = Arc::new(PlanEntry::new(digest, bundle, submission.plan.clone()));
    let stored = StoredPlan { digest, body, bundle, manifest };
    let id = make_run(change, submission.key.clone(), plan, Some(stored), submission.random, submission.now_ms)?;
    Ok((id, false))
}

fn make_run(
    change: &mut Change<'_>,
    key: Option<String>,
    plan: Arc<PlanEntry>,
    stored: Option<StoredPlan>,
    random: u32,
    now_ms: i64,
) -> Result<RunId, QueueError> {
    let id = RunId::new(u64::try_from(now_ms / 1_000).unwrap_or(0), random);
    let number = change.take_run_number();
    let root = change.add_frame(number, None, 0, None);
    let new = NewRun {
        number,
        id: id.clone(),
        key,
        plan: plan.digest,
        root,
        script: plan.plan.script.clone(),
        created_ms: now_ms,
    };
    let run = change.add_run(new, stored, plan);
    stamp(change, number, &run, &run.plan.blueprints.root, root, &Outer::default(), None)?;
    Ok(id)
}
