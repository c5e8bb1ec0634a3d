//! Room for attempts: slots of those with a process of their own, places of those that share an interpreter, and memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::memory::Memory;

/// Memory that is counted for an attempt in a shared interpreter.
const SHARED_BYTES: u64 = 256 * 1024;
/// Time between two looks while memory is short.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// Slots of both kinds.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Of attempts that have a process of their own.
    pub(crate) own: Arc<Semaphore>,
    /// Of attempts that share an interpreter.
    pub(crate) shared: Arc<Semaphore>,
}

/// A slot or place that an attempt has taken; it is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    _permit: OwnedSemaphorePermit,
    /// Where it is counted; places in a shared interpreter are not.
    busy: Option<Arc<AtomicU32>>,
}

impl Taken {
    pub(crate) fn new(permit: OwnedSemaphorePermit, busy: Option<Arc<AtomicU32>>) -> Self {
        if let Some(busy) = &busy {
            busy.fetch_add(1, Ordering::Relaxed);
        }
        Self { _permit: permit, busy }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(busy) = &self.busy {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many attempts can be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) own: u32,
    pub(crate) shared: u32,
}

impl Slots {
    pub(crate) fn new(own: usize, limits: &Limits) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self { own: semaphore(own), shared: semaphore(limits.shared_slots as usize) }
    }

    /// What can be taken when so much memory is there and so many attempts run. One that runs nothing takes at least one: it would
    /// stand still for ever where memory never suffices.
    pub(crate) fn room(&self, memory: Option<Memory>, running: usize, limits: &Limits) -> Room {
        let free = |slots: &Semaphore| u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
        let room = |each| memory.map_or(u32::MAX, |memory| memory.room(limits.memory_reserve_bytes, each));
        let least = u32::from(running == 0);
        Room {
            own: free(&self.own).min(room(limits.slot_memory_bytes).max(least)),
            shared: free(&self.shared).min(room(SHARED_BYTES)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(available: Option<u64>, running: usize) -> Room {
        let limits = Limits {
            memory_reserve_bytes: 1 << 20,
            slot_memory_bytes: 1 << 20,
            shared_slots: 100,
            ..Limits::default()
        };
        let memory = available.map(|available| Memory { available, total: 1 << 30 });
        Slots::new(8, &limits).room(memory, running, &limits)
    }

    #[test]
    fn memory_bounds_what_is_taken() {
        assert_eq!(room(Some(1 << 30), 0), Room { own: 8, shared: 100 });
        assert_eq!(room(Some(4 << 20), 1), Room { own: 3, shared: 12 });
        assert_eq!(room(Some(1 << 20), 1), Room { own: 0, shared: 0 });
        assert_eq!(room(None, 1), Room { own: 8, shared: 100 });
    }

    #[test]
    fn a_worker_that_runs_nothing_takes_one() {
        assert_eq!(room(Some(0), 0), Room { own: 1, shared: 0 });
    }
}
