//! The environment of one attempt.

use std::path::{Component, Path};
use std::sync::{Arc, PoisonError};

use protocol::api::{Lease, PlanAnswer};
use protocol::{ErrorKind, Language, Source, Step, StepError};

use super::{Environment, EnvironmentError, Wanted};
use crate::attempt::{Attempts, End};
use crate::hub::Hub;
use crate::trouble::Trouble;

impl<H: Hub> Attempts<H> {
    /// What a step runs in, made where it is not there. `root` holds the files of its bundle.
    pub(crate) async fn environment(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        root: &Path,
        end: &End,
    ) -> Result<Arc<Environment>, Trouble> {
        if step.language != Language::Python {
            return Ok(self.environments.own());
        }
        let made = async {
            let wanted = self.wanted(lease, plan, step, root)?;
            self.environments.get(&wanted).await
        };
        tokio::select! {
            made = made => made.map_err(|error| trouble(step, error)),
            () = end.wait() => Err(Trouble::Stopped),
        }
    }

    /// What it asks for: read once for each step of a plan.
    fn wanted(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        root: &Path,
    ) -> Result<Arc<Wanted>, EnvironmentError> {
        let key = (lease.plan, lease.step);
        if let Some(wanted) = self.environments.wanted.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(wanted));
        }
        let read = |path: &str| {
            if !is_inside(Path::new(path)) {
                return Err(format!("the file {path} is not within the bundle"));
            }
            std::fs::read_to_string(root.join(path)).map_err(|error| format!("the file {path} cannot be read: {error}"))
        };
        let source = match plan.sources.get(step.source as usize) {
            Some(Source::Code { text, .. }) => text.clone(),
            // That it cannot be read is said by who loads it.
            Some(Source::File(path)) => read(path).unwrap_or_default(),
            None => String::new(),
        };
        let wanted = Arc::new(Wanted::of(step, &source, read)?);
        self.environments.wanted.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(&wanted));
        Ok(wanted)
    }
}

/// Whether a path leads nowhere but down.
fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn trouble(step: &Step, error: EnvironmentError) -> Trouble {
    match error {
        EnvironmentError::Disk(reason) => Trouble::Away(reason),
        other => {
            let message = format!("the Python environment of step `{}` cannot be made: {other}", step.name);
            Trouble::Step(StepError::new(ErrorKind::Environment, message))
        }
    }
}
