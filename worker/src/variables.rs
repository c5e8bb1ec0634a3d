//! The variables that a step declares: of the worker's environment with `!env`, and secrets of the hub with `!secret`.
//!
//! They go to the process of the attempt alone. A warm interpreter never holds any.

use std::collections::BTreeMap;
use std::ffi::OsString;

use protocol::api::{ApiErrorKind, Lease};
use protocol::secret::{SecretsAnswer, SecretsRequest};
use protocol::{ErrorKind, Language, Outcome, Step, StepError};

use crate::attempt::{Attempts, End};
use crate::bundles::FetchError;
use crate::config::Mode;
use crate::hub::{Hub, HubError};
use crate::redact::Redactor;
use crate::trouble::Trouble;

/// Variables that name or are credentials of the worker itself: no step gets them by name.
const CREDENTIALS: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "POSTGRES_PASSWORD"];
/// Settings of the worker begin so.
const OWN_PREFIX: &str = "BUE_";

/// What a step gets beside the variables that every step gets.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// Hides the secrets among them.
    pub(crate) redactor: Option<Redactor>,
    /// Variables that this worker does not have.
    pub(crate) absent: Vec<String>,
}

impl Declared {
    /// What came of an attempt, with no secret in what is said about it.
    pub(crate) fn hide(&self, outcome: Outcome) -> Outcome {
        match (&self.redactor, outcome) {
            (Some(redactor), Outcome::Error(error)) => Outcome::Error(hide(redactor, error)),
            (_, outcome) => outcome,
        }
    }
}

fn hide(redactor: &Redactor, error: StepError) -> StepError {
    StepError {
        kind: error.kind,
        message: redactor.text(&error.message),
        trace: error.trace.map(|trace| redactor.text(&trace)),
        lost: error.lost,
    }
}

impl<H: Hub> Attempts<H> {
    /// What a step declares, fetched and looked up.
    pub(crate) async fn declared(&self, lease: &Lease, step: &Step, end: &End) -> Result<Declared, Trouble> {
        let runtime = &step.settings.runtime;
        let mut declared = Declared::default();
        if let Mode::Fleet { .. } = self.shared.config.mode {
            for name in &runtime.environment {
                match variable(step, name)? {
                    Some(value) => drop(declared.variables.insert(name.into(), value)),
                    None => declared.absent.push(name.clone()),
                }
            }
        }
        if !runtime.secrets.is_empty() && step.language == Language::Python {
            let answer = self.secrets(lease, end).await?;
            if let Some(name) = answer.missing.first() {
                return Err(Trouble::Step(self.missing_secret(step, name)));
            }
            declared.redactor = Redactor::new(answer.secrets.values().map(|value| value.0.as_str()));
            let secrets = answer.secrets.into_iter().map(|(name, value)| (name.into(), value.0.into()));
            declared.variables.extend(secrets);
        }
        Ok(declared)
    }

    pub(crate) async fn secrets(&self, lease: &Lease, end: &End) -> Result<SecretsAnswer, Trouble> {
        let request = SecretsRequest { session: self.shared.session, job: lease.job, token: lease.token };
        let ask = || async {
            match self.shared.hub.secrets(request.clone()).await {
                // The lease is gone: the attempt is about to be stopped, and its outcome will count for nothing.
                Err(HubError::Answer { kind: ApiErrorKind::Conflict, .. }) => Ok(None),
                answer => answer.map(Some).map_err(FetchError::Hub),
            }
        };
        self.fetch(end, ask).await?.ok_or(Trouble::Stopped)
    }

    fn missing_secret(&self, step: &Step, name: &str) -> StepError {
        let way_out = match self.shared.config.mode {
            Mode::Fleet { .. } => {
                format!("which nobody has set; `bue secret set {name}` sets it, then `bue reset` starts the job over")
            }
            Mode::Local { .. } => "which is neither in the environment nor in `.env`".to_owned(),
        };
        let message = format!("step `{}` declares the secret {name}, {way_out}", step.name);
        StepError::new(ErrorKind::Secret, message)
    }
}

/// A variable of the worker's environment, unless it is one of the worker's own.
fn variable(step: &Step, name: &str) -> Result<Option<OsString>, Trouble> {
    if name.starts_with(OWN_PREFIX) || CREDENTIALS.contains(&name) {
        let message = format!(
            "step `{}` declares the variable {name}, which is the worker's own and goes to no step; what the step needs \
             can be kept as a secret: `bue secret set`, under another name where it begins with {OWN_PREFIX}",
            step.name
        );
        return Err(Trouble::Step(StepError::new(ErrorKind::Load, message)));
    }
    Ok(std::env::var_os(name))
}
