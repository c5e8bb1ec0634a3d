//! A new run: its bundle, its plan and its first jobs, in one transaction.

use protocol::{Digest, Manifest, Plan, RunId};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::change::Change;
use super::passes::{Outer, stamp};
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

impl SqliteStore {
    /// Makes a run, or finds the one that an earlier submission with the same key made. Answers with its id and
    /// whether it was there before.
    ///
    /// # Errors
    /// Files of the bundle are missing.
    pub async fn submit(&self, submission: Submission) -> Result<(RunId, bool), QueueError> {
        self.write(move |change| submit(change, &submission)).await
    }

    /// The run that was made with an idempotency key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run_of_key(&self, key: String) -> Result<Option<RunId>, QueueError> {
        self.read(move |connection| {
            let found: Option<String> = connection
                .prepare_cached("SELECT id FROM runs WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            found.map(parse_run).transpose()
        })
        .await
    }
}

pub(super) fn parse_run(text: String) -> Result<RunId, QueueError> {
    text.parse().map_err(|error| QueueError::Unreadable(format!("a run id: {error}")))
}

fn submit(change: &mut Change<'_>, submission: &Submission) -> Result<(RunId, bool), QueueError> {
    if let Some(key) = &submission.key {
        let found: Option<String> = change
            .connection
            .prepare_cached("SELECT id FROM runs WHERE key = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            return Ok((parse_run(id)?, true));
        }
    }
    let digests: Vec<Digest> = submission.manifest.files.iter().map(|file| file.digest).collect();
    let missing = super::files::missing(change.connection, &digests)?;
    if !missing.is_empty() {
        return Err(QueueError::MissingFiles(missing));
    }
    let plan = store_plan(change, &submission.manifest, &submission.plan)?;
    let seconds = u64::try_from(submission.now_ms / 1_000).unwrap_or(0);
    let id = RunId::new(seconds, submission.random);
    change
        .connection
        .prepare_cached("INSERT INTO runs (id, key, plan, script, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![id.as_str(), submission.key, plan.0, submission.plan.script, submission.now_ms])?;
    let number = change.connection.last_insert_rowid();
    change.connection.prepare_cached("INSERT INTO frames (run) VALUES (?1)")?.execute([number])?;
    let root = change.connection.last_insert_rowid();
    change.connection.prepare_cached("UPDATE runs SET root = ?2 WHERE number = ?1")?.execute([number, root])?;
    let run = change.run(number)?;
    change.touch(number);
    stamp(change, number, &run, &run.plan.blueprints.root, root, &Outer::default(), None)?;
    Ok((id, false))
}

/// Stores bundle and plan, each under the digest of its content. A second run of the same script adds nothing.
fn store_plan(change: &Change<'_>, manifest: &Manifest, plan: &Plan) -> Result<Digest, QueueError> {
    let bundle = manifest.digest();
    let unreadable = |error| QueueError::Unreadable(format!("a plan: {error}"));
    let body = serde_json::to_string(plan).map_err(unreadable)?;
    let digest = Digest::of(format!("{bundle} {body}").as_bytes());
    let manifest = serde_json::to_string(manifest).map_err(unreadable)?;
    change
        .connection
        .prepare_cached("INSERT OR IGNORE INTO bundles (digest, manifest) VALUES (?1, ?2)")?
        .execute(params![bundle.0, manifest])?;
    change
        .connection
        .prepare_cached("INSERT OR IGNORE INTO plans (digest, bundle, body) VALUES (?1, ?2, ?3)")?
        .execute(params![digest.0, bundle.0, body])?;
    Ok(digest)
}
