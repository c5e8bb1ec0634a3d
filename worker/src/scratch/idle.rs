//! Scratch folders that hold a bundle's files, untouched, and wait for the next attempt of that bundle.
//!
//! Making and removing files is what a file system is slowest at: it looks for a place among all those that were given
//! back lately. Most steps write nothing, and leave their folder as they found it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::Digest;

use super::Scratch;

/// Folders kept, with the bundle whose files they hold; the one longest unused goes first.
#[derive(Debug)]
pub(super) struct Idle {
    kept: Mutex<VecDeque<(Digest, Scratch)>>,
    count_max: usize,
}

impl Idle {
    pub(super) fn new(count_max: usize) -> Self {
        Self { kept: Mutex::default(), count_max }
    }

    /// The folder of this bundle that was used last.
    pub(super) fn take(&self, bundle: Digest) -> Option<Scratch> {
        let mut kept = self.kept();
        let place = kept.iter().rposition(|(of, _)| *of == bundle)?;
        kept.remove(place).map(|(_, scratch)| scratch)
    }

    pub(super) fn put(&self, bundle: Digest, scratch: Scratch) {
        let longest_unused = {
            let mut kept = self.kept();
            kept.push_back((bundle, scratch));
            if kept.len() > self.count_max { kept.pop_front() } else { None }
        };
        // Removing it takes a while, which nobody should wait for under the lock.
        drop(longest_unused);
    }

    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Digest, Scratch)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
