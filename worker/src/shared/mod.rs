//! Steps that share an interpreter (`!isolation shared`): many awaits beside each other, each with its own log, time limit and
//! cancellation.
//!
//! - [`interpreter`]: one interpreter, and the conversation with it.
//! - [`attempt`]: one attempt in it.
//!
//! Only attempts of one step's source, with the same settings and the same secrets, share one. It takes a bounded number of
//! attempts and a bounded amount of memory; then another one is started, and it ends with its last attempt.

mod attempt;
mod interpreter;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Digest;

use interpreter::SharedInterpreter;

/// What attempts must have in common to share an interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// The plan, which stands for the bundle too.
    plan: Digest,
    source: u32,
    runtime: protocol::Runtime,
    /// Of names and values of declared variables and secrets.
    variables: Digest,
}

/// The one that takes attempts now; whoever holds the lock starts the next one.
type Slot = tokio::sync::Mutex<Option<Arc<SharedInterpreter>>>;

/// The shared interpreters of a worker.
#[derive(Debug)]
pub(crate) struct SharedInterpreters {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    count_max: usize,
}

impl SharedInterpreters {
    /// None yet. Of more than so many, those without attempts end.
    pub(crate) fn new(count_max: usize) -> Self {
        Self { slots: Mutex::default(), count_max }
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.count_max && !slots.contains_key(&key) {
            // An attempt that runs holds its interpreter, and one that begins its slot.
            slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1
                    || slot.try_lock().is_ok_and(|kept| kept.as_ref().is_some_and(|kept| Arc::strong_count(kept) > 1))
            });
        }
        Arc::clone(slots.entry(key).or_default())
    }
}
