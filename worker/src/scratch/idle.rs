//! Scratch folders that hold a bundle's files, untouched, and wait for the next attempt of that bundle.
//!
//! Making and removing files is what a file system is slowest at: it looks for a place among all those that were given
//! back lately. Most steps write nothing, and leave their folder as they found it. In some of them a process waits as well.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Digest;

use super::{Fit, Scratch};
use crate::warm::{Place, WarmId};

/// A process that has waited this long may go, where another is wanted.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How many are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Folders.
    pub(crate) folders_max: usize,
    /// Those of them in which a process waits.
    pub(crate) processes_max: usize,
}

/// Folders kept, with the bundle whose files they hold; the one longest unused goes first.
#[derive(Debug)]
pub(super) struct Idle {
    kept: Mutex<VecDeque<(Digest, Scratch)>>,
    keep: Keep,
}

impl Idle {
    pub(super) fn new(keep: Keep) -> Self {
        Self { kept: Mutex::default(), keep }
    }

    /// The folder of this bundle that was used last, of those that serve a fork of `interpreter` best; of those in which a process waits
    /// the one where it has waited longest, and is ready most likely. One in which another interpreter has its place is left to it while
    /// there may be more: steps of several kinds come in turn.
    pub(super) fn take(&self, bundle: Digest, interpreter: Option<WarmId>) -> Option<Scratch> {
        let mut kept = self.kept();
        let least = if kept.len() < self.keep.folders_max { Fit::Bare } else { Fit::Other };
        let of_bundle = kept.iter().enumerate().filter(|(_, (of, _))| *of == bundle);
        let fits = of_bundle.map(|(index, (_, scratch))| {
            let (fit, latest) = (scratch.fits(interpreter), index as isize);
            (fit, if fit == Fit::Process { -latest } else { latest }, index)
        });
        let (.., index) = fits.filter(|(fit, ..)| *fit >= least).max()?;
        kept.remove(index).map(|(_, scratch)| scratch)
    }

    pub(super) fn put(&self, bundle: Digest, mut scratch: Scratch) {
        let (longest_waiting, longest_unused) = {
            let mut kept = self.kept();
            let mut longest_waiting = None;
            if waiting(&kept).count() >= self.keep.processes_max {
                // One that nobody has had a use for makes room for one that may be wanted.
                let index = waiting(&kept).find(|(_, scratch)| scratch.has_waited(WAIT_MAX)).map(|(index, _)| index);
                longest_waiting = index.and_then(|index| kept.remove(index));
            }
            if waiting(&kept).count() < self.keep.processes_max {
                scratch.place = scratch.place.take().map(Place::stand_by);
            }
            kept.push_back((bundle, scratch));
            let is_full = kept.len() > self.keep.folders_max;
            // One in which a process waits is worth more than others.
            let index = kept.iter().position(|(_, scratch)| !scratch.has_process()).unwrap_or(0);
            (longest_waiting, if is_full { kept.remove(index) } else { None })
        };
        // Removing them takes a while, which nobody should wait for under the lock.
        drop((longest_waiting, longest_unused));
    }

    pub(super) fn clear(&self) {
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(Digest, Scratch)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Folders in which a process waits, with their places; the one longest unused comes first.
fn waiting(kept: &VecDeque<(Digest, Scratch)>) -> impl Iterator<Item = (usize, &Scratch)> {
    kept.iter().map(|(_, scratch)| scratch).enumerate().filter(|(_, scratch)| scratch.has_process())
}
