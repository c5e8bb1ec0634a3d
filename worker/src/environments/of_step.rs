//! The environment of one attempt.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, PoisonError};

use protocol::api::{Lease, PlanAnswer};
use protocol::{ErrorKind, Language, Source, Step, StepError};

use super::imports::Imports;
use super::{Environment, EnvironmentError, Needs, Wanted};
use crate::attempt::{Attempts, End};
use crate::hub::Hub;
use crate::trouble::Trouble;

impl<H: Hub> Attempts<H> {
    /// What a step runs in, made where it is not there, and what it imports. `root` holds the files of its bundle.
    pub(crate) async fn environment(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        root: &Path,
        end: &End,
    ) -> Result<(Arc<Environment>, Arc<Imports>), Trouble> {
        if step.language != Language::Python {
            return Ok((self.environments.own(), Arc::default()));
        }
        let made = async {
            let needs = self.needs(lease, plan, step, root)?;
            let environment = self.environments.get(&needs.wanted).await?;
            Ok((environment, Arc::clone(&needs.imports)))
        };
        tokio::select! {
            made = made => made.map_err(|error| trouble(step, error)),
            () = end.wait() => Err(Trouble::Stopped),
        }
    }

    /// What it asks for: read once for each step of a plan.
    fn needs(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        root: &Path,
    ) -> Result<Arc<Needs>, EnvironmentError> {
        let key = (lease.plan, lease.step);
        if let Some(needs) = self.environments.needs.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(needs));
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
        let wanted = Wanted::of(step, &source, read)?;
        let imports = Arc::new(Imports::of(&source, &module_folders(plan, step, root)));
        let needs = Arc::new(Needs { wanted, imports });
        self.environments.needs.lock().unwrap_or_else(PoisonError::into_inner).put(key, Arc::clone(&needs));
        Ok(needs)
    }
}

/// Where a step finds modules of its bundle: in the folder of its source, and in that of its script.
fn module_folders(plan: &PlanAnswer, step: &Step, root: &Path) -> Vec<PathBuf> {
    let of_source = match plan.sources.get(step.source as usize) {
        Some(Source::File(path)) => Some(path.as_str()),
        _ => None,
    };
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in of_source.into_iter().chain([plan.script.as_str()]) {
        let folder = path.rsplit_once('/').map_or_else(|| root.to_owned(), |(folder, _)| root.join(folder));
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
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
