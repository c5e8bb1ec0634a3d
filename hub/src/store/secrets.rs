//! Sealed secrets, and which step a lease is for. What seals them is not known here.

use protocol::{JobId, LeaseToken, SessionId, Step};

use super::Store;
use super::job::Job;
use super::row::job_number;
use crate::error::QueueError;
use crate::job::{Held, Leased};

/// A secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub name: String,
    /// Its value, sealed.
    pub sealed: Vec<u8>,
    /// When it was last set.
    pub changed_ms: i64,
}

impl Store {
    /// Secrets of these names, or all, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(&self, names: Option<Vec<String>>) -> Result<Vec<Sealed>, QueueError> {
        self.read(move |rows| {
            let mut secrets = rows.secrets()?;
            if let Some(names) = &names {
                secrets.retain(|secret| names.contains(&secret.name));
            }
            Ok(secrets)
        })
        .await
    }

    /// Sets a secret; a new one only where there are fewer than `secrets_max`.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub async fn put_secret(&self, secret: Sealed, secrets_max: usize) -> Result<(), QueueError> {
        self.write(move |change| {
            let kept = change.rows.secrets()?;
            if kept.len() >= secrets_max && kept.iter().all(|known| known.name != secret.name) {
                return Err(QueueError::TooLarge {
                    what: "the list of secrets".to_owned(),
                    size: kept.len() as u64 + 1,
                    unit: "entries",
                    limit: secrets_max as u64,
                    setting: "BUE_SECRETS_MAX",
                });
            }
            change.edited();
            change.rows.put_secret(&secret)
        })
        .await
    }

    /// Seals a secret anew, unless it was changed or removed meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub async fn replace_secret(&self, known: Sealed, sealed: Vec<u8>) -> Result<(), QueueError> {
        self.write(move |change| {
            if !change.rows.secrets()?.contains(&known) {
                return Ok(());
            }
            change.edited();
            change.rows.put_secret(&Sealed { sealed: sealed.clone(), ..known.clone() })
        })
        .await
    }

    /// Removes a secret; answers with whether there was one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_secret(&self, name: String) -> Result<bool, QueueError> {
        self.write(move |change| {
            change.edited();
            change.rows.remove_secret(&name)
        })
        .await
    }

    /// The step that a lease is for, where this session holds it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leased_step(
        &self,
        session: SessionId,
        job: JobId,
        token: LeaseToken,
    ) -> Result<Option<Step>, QueueError> {
        let plans = std::sync::Arc::clone(&self.plans);
        self.read(move |rows| {
            let found = rows.jobs(&[job_number(job)])?.into_iter().next();
            let found = found.and_then(Job::when::<Leased>);
            let is_theirs = |held: &Held| held.session == session && held.token == token;
            let Some(job) = found.filter(|job| is_theirs(job.standing().held())) else { return Ok(None) };
            let Some(run) = rows.run(job.run)? else { return Ok(None) };
            plans.get(rows, run.plan)?.step(job.step).cloned().map(Some)
        })
        .await
    }

    /// The database that the step of a job names by `!connection`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn connection_of(&self, job: JobId) -> Result<Option<String>, QueueError> {
        let plans = std::sync::Arc::clone(&self.plans);
        self.read(move |rows| {
            let Some(job) = rows.jobs(&[job_number(job)])?.into_iter().next() else { return Ok(None) };
            let Some(run) = rows.run(job.run)? else { return Ok(None) };
            Ok(plans.get(rows, run.plan)?.step(job.step)?.settings.runtime.connection.clone())
        })
        .await
    }
}
