//! The warm interpreters of a worker: one for each Python environment in use, with and without the network, and further ones that
//! have loaded what steps import. And the warm programs of SQL steps, which are to them what an interpreter is to Python ones.
//!
//! The ones longest unused end when there are too many. One that forks an attempt is held by it: it does not end before.
//!
//! A step that comes a second time and imports something is worth an interpreter that has it loaded: it is started beside the work,
//! and attempts are forked from the bare one until it is ready.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::environments::{Environment, Imports};
use crate::warm::{Warm, WarmId};

/// Sets of imports whose fate is remembered.
const KNOWN_MAX: usize = 1_024;
/// Attempts of which the last one's interpreter is remembered, by the steps of plans.
const STEPS_MAX: usize = 1_024;
/// How long modules that could not be loaded are not tried again.
const RETRY: Duration = Duration::from_secs(600);
/// Part of the memory of a step that loaded modules may take: not all of them need be such as this step would load.
const MEMORY_SHARE: u64 = 4;
/// One that has loaded modules, or runs SQL steps, and is not used for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(1_800);

/// What an interpreter runs, whether it may use the network, and what it has loaded.
type Key = (PathBuf, bool, Arc<Imports>);

/// A step of a plan.
pub(crate) type StepOfPlan = (protocol::Digest, u32);

/// Warm interpreters by what they are for.
pub(crate) struct Interpreters {
    bare: Mutex<LruCache<(PathBuf, bool), Arc<Interpreter>>>,
    loaded: Mutex<LruCache<Key, Arc<Interpreter>>>,
    /// Programs of SQL steps, each with and without the network.
    engines: Mutex<LruCache<(PathBuf, bool), Arc<Interpreter>>>,
    /// How many that have loaded something there may be.
    loaded_max: usize,
    fates: Mutex<LruCache<Key, Fate>>,
    last: Mutex<LruCache<StepOfPlan, WarmId>>,
}

/// A warm interpreter, and the environment that must stay for it.
#[derive(Debug)]
pub(crate) struct Interpreter {
    pub(crate) warm: Warm,
    used: Mutex<Instant>,
    _environment: Arc<Environment>,
}

/// What is known of a set of imports in an environment.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// One attempt came.
    Seen,
    /// They are being loaded.
    Loading,
    /// They were loaded.
    Loaded,
    /// A bare interpreter has all of them.
    Useless,
    /// They could not be loaded.
    Failed(Instant),
}

/// What bounds the loading of modules.
pub(crate) struct Memory<F> {
    /// Of the step.
    pub(crate) of_step: Option<u64>,
    /// Of an interpreter that loads modules.
    pub(crate) to_load: u64,
    /// Whether this machine has enough for another interpreter.
    pub(crate) is_there: F,
}

impl Interpreters {
    /// None yet; so many at the most, and so many that have loaded something.
    pub(crate) fn new(bare_max: usize, loaded_max: usize) -> Self {
        Self {
            bare: cache(bare_max),
            loaded: cache(loaded_max),
            engines: cache(bare_max),
            loaded_max,
            fates: cache(KNOWN_MAX),
            last: cache(STEPS_MAX),
        }
    }

    /// The bare one of an environment; `make` says how it is started, which happens when it is first needed.
    pub(crate) fn bare(
        &self,
        environment: &Arc<Environment>,
        network: bool,
        make: impl FnOnce() -> Warm,
    ) -> Arc<Interpreter> {
        let key = (environment.python.path.clone(), network);
        Arc::clone(lock(&self.bare).get_or_insert(key, || Interpreter::new(make(), environment)))
    }

    /// The program of SQL steps; `make` says how it is started, which happens when it is first needed.
    pub(crate) fn engine(
        &self,
        program: &Path,
        environment: &Arc<Environment>,
        network: bool,
        make: impl FnOnce() -> Warm,
    ) -> Arc<Interpreter> {
        let key = (program.to_owned(), network);
        let found = Arc::clone(lock(&self.engines).get_or_insert(key, || Interpreter::new(make(), environment)));
        found.is_used();
        found
    }

    /// The one that has loaded what a step imports, where there is one, and the step has memory for it. It is started where that is
    /// worth it: attempts come, and this machine has memory for it.
    pub(crate) fn loaded(
        self: &Arc<Self>,
        environment: &Arc<Environment>,
        network: bool,
        imports: &Arc<Imports>,
        memory: Memory<impl FnOnce() -> bool>,
        make: impl FnOnce() -> Warm,
    ) -> Option<Arc<Interpreter>> {
        if imports.is_empty() || self.loaded_max == 0 {
            return None;
        }
        let key = (environment.python.path.clone(), network, Arc::clone(imports));
        let mut fates = lock(&self.fates);
        let next = match fates.get(&key) {
            None => Fate::Seen,
            Some(Fate::Loading | Fate::Useless) => return None,
            Some(Fate::Failed(at)) if at.elapsed() < RETRY => return None,
            Some(Fate::Loaded) => {
                let found = lock(&self.loaded)
                    .get(&key)
                    .and_then(|found| Some((Arc::clone(found), found.warm.loaded_bytes()?)));
                if let Some((found, bytes)) = found {
                    found.is_used();
                    return memory.of_step.is_none_or(|most| bytes <= most / MEMORY_SHARE).then_some(found);
                }
                // It has ended, or made room for others.
                Fate::Loading
            }
            Some(Fate::Seen | Fate::Failed(_)) => Fate::Loading,
        };
        if matches!(next, Fate::Loading) && !(memory.is_there)() {
            return None;
        }
        fates.put(key.clone(), next);
        drop(fates);
        if matches!(next, Fate::Loading) {
            let interpreter = Interpreter::new(make(), environment);
            tokio::spawn(Arc::clone(self).load(key, interpreter, memory.to_load));
        }
        None
    }

    /// Has a new one load what it is for, and keeps it.
    async fn load(self: Arc<Self>, key: Key, interpreter: Arc<Interpreter>, data_bytes_max: u64) {
        let begun = Instant::now();
        let fate = match interpreter.warm.load(&key.2, data_bytes_max).await {
            Ok(0) => Fate::Useless,
            Ok(modules) => {
                let ms = begun.elapsed().as_millis();
                tracing::debug!(modules, ms, "an interpreter has loaded what steps import");
                let pushed_out = lock(&self.loaded).push(key.clone(), interpreter);
                // Ending it takes a while, which nobody should wait for under the lock.
                drop(pushed_out);
                Fate::Loaded
            }
            Err(error) => {
                tracing::warn!(
                    "modules that steps import cannot be loaded beforehand, each attempt imports them: {error}"
                );
                Fate::Failed(Instant::now())
            }
        };
        lock(&self.fates).put(key, fate);
    }

    /// Ends those that have loaded something, and programs of SQL steps, for which nobody has come for a while.
    pub(crate) fn tidy(&self) {
        let unused = (take_unused(&self.loaded), take_unused(&self.engines));
        // Ending them takes a while, which nobody should wait for under the locks.
        drop(unused);
    }

    /// Which one the last attempt of a step was forked from.
    pub(crate) fn last(&self, step: StepOfPlan) -> Option<WarmId> {
        lock(&self.last).get(&step).copied()
    }

    /// Remembers which one an attempt is forked from.
    pub(crate) fn note_last(&self, step: StepOfPlan, id: WarmId) {
        lock(&self.last).put(step, id);
    }
}

impl Interpreter {
    fn new(warm: Warm, environment: &Arc<Environment>) -> Arc<Self> {
        Arc::new(Self { warm, used: Mutex::new(Instant::now()), _environment: Arc::clone(environment) })
    }

    fn is_used(&self) {
        *lock(&self.used) = Instant::now();
    }

    fn idle(&self) -> Duration {
        lock(&self.used).elapsed()
    }
}

fn take_unused<K: std::hash::Hash + Eq>(kept: &Mutex<LruCache<K, Arc<Interpreter>>>) -> Vec<(K, Arc<Interpreter>)> {
    let mut kept = lock(kept);
    let mut unused = Vec::new();
    while kept.peek_lru().is_some_and(|(_, interpreter)| interpreter.idle() > IDLE_MAX) {
        unused.extend(kept.pop_lru());
    }
    unused
}

fn cache<K: std::hash::Hash + Eq, V>(count_max: usize) -> Mutex<LruCache<K, V>> {
    Mutex::new(LruCache::new(NonZeroUsize::new(count_max).unwrap_or(NonZeroUsize::MIN)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
