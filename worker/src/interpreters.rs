//! The warm interpreters of a worker: one for each Python environment in use, with and without the network.
//!
//! The ones longest unused end when there are too many. One that forks an attempt is held by it: it does not end before.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::environments::Environment;
use crate::warm::Warm;

/// Warm interpreters by what they run, and whether they may use the network.
pub(crate) struct Interpreters {
    kept: Mutex<LruCache<(PathBuf, bool), Arc<Interpreter>>>,
}

/// A warm interpreter, and the environment that must stay for it.
#[derive(Debug)]
pub(crate) struct Interpreter {
    pub(crate) warm: Warm,
    _environment: Arc<Environment>,
}

impl Interpreters {
    /// None yet; so many at the most.
    pub(crate) fn new(count_max: usize) -> Self {
        Self { kept: Mutex::new(LruCache::new(NonZeroUsize::new(count_max).unwrap_or(NonZeroUsize::MIN))) }
    }

    /// The one of an environment; `make` says how it is started, which happens when it is first needed.
    pub(crate) fn get(
        &self,
        environment: &Arc<Environment>,
        network: bool,
        make: impl FnOnce() -> Warm,
    ) -> Arc<Interpreter> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (environment.python.path.clone(), network);
        let new = || Arc::new(Interpreter { warm: make(), _environment: Arc::clone(environment) });
        Arc::clone(kept.get_or_insert(key, new))
    }
}
