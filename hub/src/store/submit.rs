//! A new run: its bundle, its plan and its first jobs, in one transaction.

use std::sync::Arc;

use protocol::{Digest, Manifest, Plan, RunId};

use super::Store;
use super::change::{Change, StoredPlan};
use super::passes::{Outer, stamp};
use super::plans::{PlanCache, PlanEntry};
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
    /// Files of the bundle are missing, or the key belongs to a run of another script.
    pub async fn submit(&self, submission: Submission) -> Result<(RunId, bool), QueueError> {
        let plans = Arc::clone(&self.plans);
        self.write(move |change| submit(change, &plans, &submission)).await
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

    /// The run that an earlier submission of a script made with the same key.
    ///
    /// # Errors
    /// The key belongs to a run of another script.
    pub async fn run_of_key(
        &self,
        key: String,
        script: String,
        manifest: Manifest,
    ) -> Result<Option<RunId>, QueueError> {
        let plans = Arc::clone(&self.plans);
        self.read(move |rows| run_of_key(rows, &plans, &key, &script, &manifest)).await
    }

    /// Which of a manifest's files have never been stored, each once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn missing_files(&self, manifest: &Manifest) -> Result<Vec<Digest>, QueueError> {
        let manifest = manifest.clone();
        self.read(move |rows| missing(rows, &manifest)).await
    }

    /// The content of a script, once all files of its bundle are stored.
    ///
    /// # Errors
    /// Files are missing, or the database failed.
    pub async fn script(&self, manifest: Manifest, script: Digest) -> Result<Vec<u8>, QueueError> {
        self.read(move |rows| {
            let missing = missing(rows, &manifest)?;
            if !missing.is_empty() {
                return Err(QueueError::MissingFiles(missing));
            }
            rows.file(script)?.ok_or_else(|| QueueError::MissingFiles(vec![script]))
        })
        .await
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

/// The run of a key. A key stands for one script; other files of the bundle may have changed since: a run may itself have written them.
fn run_of_key(
    rows: &mut dyn Rows,
    plans: &PlanCache,
    key: &str,
    script: &str,
    manifest: &Manifest,
) -> Result<Option<RunId>, QueueError> {
    let Some(id) = rows.run_of_key(key)? else { return Ok(None) };
    let gone = || QueueError::Unreadable(format!("the run {id} of the key `{key}` is gone"));
    let run = rows.run_by_id(&id)?.ok_or_else(gone)?;
    let plan = plans.get(rows, run.plan)?;
    let first: Option<Manifest> = rows.manifest(plan.bundle)?.and_then(|text| serde_json::from_str(&text).ok());
    let text_in = |manifest: &Manifest| manifest.find(&plan.plan.script).map(|file| file.digest);
    if plan.plan.script == script && first.as_ref().and_then(text_in) == text_in(manifest) {
        return Ok(Some(id));
    }
    let other =
        if plan.plan.script == script { "another text of it".to_owned() } else { format!("`{}`", plan.plan.script) };
    Err(QueueError::Conflict(format!(
        "the key `{key}` belongs to run {id} of {other}; a key stands for one script, so `{script}` needs another one"
    )))
}

fn submit(change: &mut Change<'_>, plans: &PlanCache, submission: &Submission) -> Result<(RunId, bool), QueueError> {
    if let Some(key) = &submission.key {
        // An earlier submission of the same batch may have brought the key.
        change.flush()?;
        let (script, manifest) = (&submission.plan.script, &submission.manifest);
        if let Some(id) = run_of_key(change.rows, plans, key, script, manifest)? {
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
    let number = change.take_run_number();
    let id = RunId::new(u64::try_from(now_ms / 1_000).unwrap_or(0), parted(random, number));
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

/// Random bits for the id of a run, with some of its number among them: 4,096 runs of one second never have the same id.
fn parted(random: u32, number: i64) -> u32 {
    const NUMBER: u32 = 0xfff << 5;
    let number = u32::try_from(number & 0xfff).unwrap_or(0) << 5;
    (random & !NUMBER) | number
}
