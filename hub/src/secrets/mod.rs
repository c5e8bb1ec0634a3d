//! Secrets: set by users, sealed in the store, opened only for the holder of a lease on a step that declares them.
//!
//! - [`mod@keyring`]: the keys, sealing and opening.
//!
//! No other use case opens a secret, and what lists them does not read their values.

pub mod keyring;

use std::collections::BTreeMap;

use protocol::secret::{
    CONNECTION_PREFIX, SecretText, SecretView, SecretsAnswer, SecretsRequest, connection_suffix, name_defect,
};
use protocol::{Language, Runtime, Step};

use crate::clock::now_ms;
use crate::error::QueueError;
use crate::queue::{Queue, Shared};
use crate::store::Sealed;
use keyring::Keyring;

impl Queue {
    /// Sets a secret, or changes it. Attempts that run keep the value they were given.
    ///
    /// # Errors
    /// The name or the value is unfit, there are too many, or this hub has no key.
    pub async fn set_secret(&self, name: String, value: SecretText) -> Result<(), QueueError> {
        if let Some(defect) = name_defect(&name) {
            return Err(QueueError::Invalid(defect));
        }
        self.check_value(&name, &value)?;
        let sealed = keyring(&self.shared)?.seal(&name, &value)?;
        tracing::info!(secret = name, "secret set");
        let secret = Sealed { name, sealed, changed_ms: now_ms() };
        self.shared.store.put_secret(secret, self.limits().secrets_max).await
    }

    /// The names of all secrets.
    ///
    /// # Errors
    /// The database failed.
    pub async fn secrets(&self) -> Result<Vec<SecretView>, QueueError> {
        let secrets = self.shared.store.secrets(None).await?.into_iter();
        Ok(secrets.map(|secret| SecretView { name: secret.name, changed_ms: secret.changed_ms }).collect())
    }

    /// Removes a secret for good.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove_secret(&self, name: String) -> Result<(), QueueError> {
        if !self.shared.store.remove_secret(name.clone()).await? {
            return Err(QueueError::not_found(format!("secret `{}`", name.escape_debug())));
        }
        tracing::info!(secret = name, "secret removed");
        Ok(())
    }

    /// What the step of a lease declares, for the worker that holds the lease.
    ///
    /// # Errors
    /// The lease is not the sender's, or a secret cannot be opened with this hub's keys.
    pub async fn secrets_of_lease(&self, request: SecretsRequest) -> Result<SecretsAnswer, QueueError> {
        let step = self.shared.store.leased_step(request.session, request.job, request.token).await?;
        let Some(step) = step else {
            return Err(QueueError::Conflict(format!("the lease of job {} is not this worker's", request.job)));
        };
        let declared = declared_by(step);
        let kept = self.shared.store.secrets(Some(declared.clone())).await?;
        let mut secrets = BTreeMap::new();
        for Sealed { name, sealed, .. } in kept {
            let value = keyring(&self.shared)?.open(&name, &sealed)?;
            secrets.insert(name, value);
        }
        let missing = declared.into_iter().filter(|name| !secrets.contains_key(name)).collect();
        Ok(SecretsAnswer { secrets, missing })
    }

    /// Whether the address of the database that steps name so is kept here, for workers that have none of their own.
    pub(crate) async fn keeps_connection(&self, connection: &str) -> Result<bool, QueueError> {
        let name = format!("{CONNECTION_PREFIX}{}", connection_suffix(connection));
        Ok(!self.shared.store.secrets(Some(vec![name])).await?.is_empty())
    }

    fn check_value(&self, name: &str, value: &SecretText) -> Result<(), QueueError> {
        let limit = self.limits().secret_bytes_max;
        match value.0.as_str() {
            "" => Err(QueueError::Invalid(format!("the value of secret {name} is empty"))),
            text if text.contains('\0') => {
                Err(QueueError::Invalid(format!("the value of secret {name} holds a zero byte, which no variable can")))
            }
            text if text.len() > limit => Err(QueueError::TooLarge {
                what: format!("the value of secret {name}"),
                size: text.len() as u64,
                unit: "bytes",
                limit: limit as u64,
                setting: "BUE_SECRET_BYTES_MAX",
            }),
            _ => Ok(()),
        }
    }
}

/// The names of the secrets that a step gets: those it declares, and the address of the database that it names. A Python step gets no
/// such address, whatever it declares.
fn declared_by(step: Step) -> Vec<String> {
    let Runtime { mut secrets, connection, .. } = step.settings.runtime;
    secrets.retain(|name| !name.starts_with(CONNECTION_PREFIX));
    let connection = connection.filter(|_| step.language == Language::Postgres);
    secrets.extend(connection.map(|name| format!("{CONNECTION_PREFIX}{}", connection_suffix(&name))));
    secrets
}

/// Seals anew what older keys sealed, so that these can be thrown away. A secret whose key is gone stays as it is.
pub(crate) async fn reseal(shared: &Shared) -> Result<(), QueueError> {
    let Some(keyring) = &shared.keyring else { return Ok(()) };
    for secret in shared.store.secrets(None).await? {
        if keyring.is_current(&secret.sealed) {
            continue;
        }
        match keyring.open(&secret.name, &secret.sealed) {
            Ok(value) => {
                let sealed = keyring.seal(&secret.name, &value)?;
                shared.store.replace_secret(secret, sealed).await?;
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
    Ok(())
}

fn keyring(shared: &Shared) -> Result<&Keyring, QueueError> {
    shared
        .keyring
        .as_ref()
        .ok_or_else(|| QueueError::Unavailable("this hub was started without a key for secrets".to_owned()))
}
