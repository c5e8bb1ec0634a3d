//! Python environments: the interpreter and the packages that a step asks for.
//!
//! - [`wanted`]: what a step asks for, from its settings and from its source.
//! - [`requirement`]: which of its lines an installer is given.
//! - [`script_block`]: packages named in a Python source itself (PEP 723).
//! - [`imports`]: what its source imports.
//! - [`interpreters`]: other versions of Python on this machine.
//! - [`folder`]: environments on disk, shared by the workers of a machine.
//! - [`of_step`]: the one of an attempt.
//! - [`build`]: making one, with `uv` where it is there and with `venv` and `pip` else.
//!
//! An environment is made once for each set of interpreter and packages. One that could not be made is not tried again for a
//! while: a thousand jobs that ask for it get the installer's words, and the index is asked once.

mod build;
mod folder;
mod imports;
mod interpreters;
mod of_step;
mod requirement;
mod script_block;
mod wanted;

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lru::LruCache;
use protocol::Digest;

use crate::config::{Config, Limits};
use crate::enclosure::Enclosure;
use crate::python::Python;
use build::Installer;
pub use build::find_uv;
pub(crate) use folder::Environment;
use folder::Folder;
pub(crate) use imports::Imports;
pub(crate) use wanted::Wanted;

/// Environments whose fate is remembered; more are looked for on disk again.
const KNOWN_MAX: usize = 256;

/// Why a step has no environment.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// What it asks for cannot be understood.
    #[error("{0}")]
    Wrong(String),
    /// No such Python here.
    #[error(
        "there is no Python {wanted} on this worker, only {here}; install it where the worker finds it on its PATH, or change `!python`"
    )]
    NoPython {
        /// What was asked for.
        wanted: String,
        /// What there is.
        here: String,
    },
    /// The installer gave up.
    #[error("its packages cannot be installed: {what}{tail}")]
    Install {
        /// Which command, and how it ended.
        what: String,
        /// The end of what it printed.
        tail: String,
    },
    /// This machine's disk failed.
    #[error("{0}")]
    Disk(String),
}

impl EnvironmentError {
    fn disk(path: &Path, error: &io::Error) -> Self {
        Self::Disk(format!("the folder of environments {} cannot be used: {error}", path.display()))
    }
}

/// The environments of one worker.
pub(crate) struct Environments {
    folder: Folder,
    own: Arc<Environment>,
    installer: Installer,
    limits: Limits,
    made: Mutex<HashMap<Digest, Arc<Slot>>>,
    needs: Mutex<LruCache<(Digest, u32), Arc<Needs>>>,
    /// Other versions of Python that were looked for, and when.
    others: Mutex<LruCache<String, Look>>,
}

/// What a step of a plan needs: its environment, and what is to be loaded in there.
struct Needs {
    wanted: Wanted,
    imports: Arc<Imports>,
}

/// One environment: whoever holds the lock makes it, the others wait.
type Slot = tokio::sync::Mutex<State>;

/// When a Python was looked for, and what came of it.
type Look = (Instant, Result<Python, EnvironmentError>);

#[derive(Default)]
enum State {
    #[default]
    Unknown,
    /// Nobody may use it any more; then it is looked for on disk again.
    Made(std::sync::Weak<Environment>),
    Failed(Instant, EnvironmentError),
}

impl Environments {
    /// Those below `root`; removes what is too old or too much.
    pub(crate) fn open(root: PathBuf, config: &Config, enclosure: Enclosure) -> Self {
        let (python, limits) = (&config.python, &config.limits);
        let installer = Installer::find(&root, config, enclosure);
        let folder = Folder::new(root);
        folder.trim(limits.environments_bytes_max, limits.environment_age_max);
        Self {
            folder,
            own: Arc::new(Environment::bare(python.clone())),
            installer,
            limits: limits.clone(),
            made: Mutex::default(),
            needs: Mutex::new(LruCache::new(NonZeroUsize::new(limits.plans_max).unwrap_or(NonZeroUsize::MIN))),
            others: Mutex::new(LruCache::new(NonZeroUsize::new(KNOWN_MAX).unwrap_or(NonZeroUsize::MIN))),
        }
    }

    /// Removes what is too old or too much by now, and what was begun and not finished.
    pub(crate) fn tidy(&self) {
        self.folder.clear_unfinished();
        self.folder.trim_downloads(self.limits.environments_bytes_max);
        self.folder.trim(self.limits.environments_bytes_max, self.limits.environment_age_max);
    }

    /// The worker's own interpreter, for steps that ask for nothing else.
    pub(crate) fn own(&self) -> Arc<Environment> {
        Arc::clone(&self.own)
    }

    /// What a step runs in: made now where it is not there.
    pub(crate) async fn get(&self, wanted: &Wanted) -> Result<Arc<Environment>, EnvironmentError> {
        if wanted.is_default() {
            return Ok(self.own());
        }
        let python = self.interpreter(wanted).await?;
        if wanted.requirements.is_empty() {
            return Ok(Arc::new(Environment::bare(python)));
        }
        self.installer.check(&wanted.requirements)?;
        let digest = wanted.digest(&python);
        let slot = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.len() >= KNOWN_MAX {
                // What is being made is held by who makes it.
                made.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            Arc::clone(made.entry(digest).or_default())
        };
        let mut state = slot.lock().await;
        match &*state {
            State::Made(environment) => {
                if let Some(environment) = environment.upgrade() {
                    return Ok(environment);
                }
            }
            State::Failed(at, error) if at.elapsed() < self.limits.environment_retry => return Err(error.clone()),
            State::Failed(..) | State::Unknown => {}
        }
        match self.make(digest, &python, wanted).await {
            Ok(environment) => {
                let environment = Arc::new(environment);
                *state = State::Made(Arc::downgrade(&environment));
                Ok(environment)
            }
            Err(error) => {
                *state = State::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    async fn make(&self, digest: Digest, python: &Python, wanted: &Wanted) -> Result<Environment, EnvironmentError> {
        let place = self.folder.place(digest);
        let disk = |error: io::Error| EnvironmentError::disk(&place.folder, &error);
        if let Some(environment) = place.open(python).map_err(disk)? {
            return Ok(environment);
        }
        let lock = place.lock().await.map_err(disk)?;
        // Another worker may have made it meanwhile.
        let lock = match place.finished(lock, python).map_err(disk)? {
            Ok(environment) => return Ok(environment),
            Err(lock) => lock,
        };
        tracing::info!(environment = %place.name(), packages = wanted.requirements.len(), "making a Python environment");
        let begun = Instant::now();
        let _downloads = self.folder.hold_downloads().map_err(disk)?;
        place.clear().map_err(disk)?;
        self.installer.install(&place.folder, python, &wanted.requirements).await?;
        let environment = place.finish(lock, python).map_err(disk)?;
        tracing::info!(environment = %place.name(), seconds = begun.elapsed().as_secs_f64(), "a Python environment is made");
        self.folder.trim(self.limits.environments_bytes_max, self.limits.environment_age_max);
        Ok(environment)
    }

    async fn interpreter(&self, wanted: &Wanted) -> Result<Python, EnvironmentError> {
        let Some(version) = wanted.python.clone() else { return Ok(self.own.python.clone()) };
        if let Some(known) = self.known_interpreter(&version) {
            return known;
        }
        let (own, looked_for) = (self.own.python.clone(), version.clone());
        let found = tokio::task::spawn_blocking(move || interpreters::find(&looked_for, &own)).await;
        let found = found
            .map_err(|error| EnvironmentError::Disk(format!("the look for another Python was given up: {error}")))?;
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.put(version, (Instant::now(), found.clone()));
        found
    }

    /// What a look not long ago came to: each asks all Pythons of this machine for their version.
    fn known_interpreter(&self, version: &str) -> Option<Result<Python, EnvironmentError>> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = others.get(version)?;
        let holds = match found {
            Ok(python) => python.path.exists(),
            Err(_) => at.elapsed() < self.limits.environment_retry,
        };
        holds.then(|| found.clone())
    }
}
