//! What an attempt leaves for the next one in its folder: its cell, and a process in there that waits for a step.
//!
//! A fork takes a millisecond or two, which the next attempt need not wait for where it is made beforehand. Such a process has
//! entered the cell and reads its input; it has heard of no step, and it runs one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Link, Order, fork};
use crate::process::{Pipes, Process};

/// A cell in which nothing runs, and that shows a scratch folder. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct KeptCell {
    link: Arc<Link>,
    scratch: u64,
    is_taken: AtomicBool,
}

impl KeptCell {
    pub(super) fn new(link: Arc<Link>, scratch: u64) -> Self {
        Self { link, scratch, is_taken: AtomicBool::new(false) }
    }

    /// A process in it.
    async fn fork(self: Arc<Self>) -> io::Result<(Process, Pipes)> {
        // It is used again: whoever uses it sees to its end.
        self.is_taken.store(true, Ordering::Relaxed);
        fork(&self.link, Order::Again, self.scratch).await
    }
}

impl Drop for KeptCell {
    fn drop(&mut self) {
        if !*self.is_taken.get_mut() {
            self.link.close_cell(self.scratch);
        }
    }
}

/// Where the next attempt in a folder can begin. Dropping it ends what is there.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a cell.
    Cell(Arc<KeptCell>),
    /// In a process that is there, or will be in a moment.
    Process {
        /// Whose fork it is.
        link: Arc<Link>,
        /// Nobody misses it where it is dropped: its group and its cell go with it.
        process: JoinHandle<io::Result<(Process, Pipes)>>,
        /// When it was ordered.
        since: Instant,
    },
}

impl Place {
    /// Has a process wait in the cell.
    pub(crate) fn stand_by(self) -> Self {
        match self {
            Self::Cell(cell) => {
                let link = Arc::clone(&cell.link);
                Self::Process { link, process: tokio::spawn(cell.fork()), since: Instant::now() }
            }
            waiting @ Self::Process { .. } => waiting,
        }
    }

    /// How long a process has waited in it; `None`: there is none.
    pub(crate) fn waited(&self) -> Option<Duration> {
        match self {
            Self::Cell(_) => None,
            Self::Process { since, .. } => Some(since.elapsed()),
        }
    }

    /// A process, where it is one of this interpreter; where somebody has ended it meanwhile, there is none.
    pub(super) async fn take(self, of: &Arc<Link>) -> Option<(Process, Pipes)> {
        match self {
            Self::Cell(cell) if Arc::ptr_eq(&cell.link, of) => cell.fork().await.ok(),
            Self::Process { link, process, .. } if Arc::ptr_eq(&link, of) => {
                let started = process.await.ok()?.ok()?;
                (!started.0.has_ended()).then_some(started)
            }
            _ => None,
        }
    }
}
