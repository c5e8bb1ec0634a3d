//! What the engine of one step is: the worker's own, or a database whose address the hub keeps as a secret.

use std::borrow::Cow;

use protocol::api::Lease;
use protocol::secret::{CONNECTION_PREFIX, connection_suffix};
use protocol::{ErrorKind, Language, Step, StepError};

use crate::attempt::{Attempts, End};
use crate::config::Mode;
use crate::connection::Postgres;
use crate::engines::Engines;
use crate::hub::Hub;
use crate::redact::Redactor;
use crate::trouble::Trouble;

impl<H: Hub> Attempts<H> {
    /// The engines for a step. In a fleet another worker may have what this one lacks.
    pub(crate) async fn engines(&self, lease: &Lease, step: &Step, end: &End) -> Result<Cow<'_, Engines>, Trouble> {
        let config = &self.shared.config;
        let engines = match self.database_of_hub(lease, step, end).await? {
            Some((name, database)) => Cow::Owned(config.engines.with_connection(name, database)),
            None => Cow::Borrowed(&config.engines),
        };
        engines.check(step, &config.program, &config.limits).map_err(|error| match config.mode {
            Mode::Fleet { .. } => Trouble::Away(error.message),
            Mode::Local { .. } => Trouble::Step(error),
        })?;
        Ok(engines)
    }

    /// The database that a step names and that this worker does not know, with its name.
    async fn database_of_hub<'step>(
        &self,
        lease: &Lease,
        step: &'step Step,
        end: &End,
    ) -> Result<Option<(&'step str, Postgres)>, Trouble> {
        let config = &self.shared.config;
        let is_in_fleet = matches!(config.mode, Mode::Fleet { .. });
        let Some(name) = step.settings.runtime.connection.as_deref().filter(|_| {
            is_in_fleet && step.language == Language::Postgres && config.engines.database_of(step).is_none()
        }) else {
            return Ok(None);
        };
        let secret = format!("{CONNECTION_PREFIX}{}", connection_suffix(name));
        let answer = self.secrets(lease, end).await?;
        let Some(address) = answer.secrets.get(&secret) else { return Ok(None) };
        let database: Postgres = address.0.parse().map_err(|reason| {
            let message = format!("the secret {secret}, for `!connection {name}`, cannot be used: {reason}");
            Trouble::Step(StepError::new(ErrorKind::Secret, message))
        })?;
        Ok(Some((name, database)))
    }
}

/// Hides the password of the database that a step runs on.
pub(crate) fn redactor(engines: &Engines, step: &Step) -> Option<Redactor> {
    let database = engines.database_of(step).filter(|_| step.language == Language::Postgres)?;
    Redactor::new(database.password.as_deref())
}
