//! What an attempt leaves for the next one in its folder: its cell, and a process in there that waits for a step.
//!
//! A fork takes a millisecond or two, which the next attempt need not wait for where it is made beforehand. Such a process has
//! entered the cell, has taken the memory that a step needs, and reads its input; it has heard of no step, and it runs one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::WarmId;
use super::link::{Link, Order, fork};
use crate::process::{Pipes, Process};

/// From the end of an attempt to the order for a process that waits for the next one: its outcome goes first.
const PAUSE: Duration = Duration::from_millis(2);

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
    async fn fork(self: Arc<Self>, order: Order) -> io::Result<(Process, Pipes)> {
        // It is used again: whoever uses it sees to its end.
        self.is_taken.store(true, Ordering::Relaxed);
        fork(&self.link, order, self.scratch).await
    }

    /// The same, begun when the outcome of the attempt before is out of the way, or at once when somebody wants it.
    async fn fork_early(self: Arc<Self>, wanted: oneshot::Receiver<()>) -> io::Result<(Process, Pipes)> {
        match tokio::time::timeout(PAUSE, wanted).await {
            // Whoever wanted it is gone again.
            Ok(Err(_)) => Err(io::Error::other("it is not wanted")),
            Ok(Ok(())) => self.fork(Order::Again).await,
            Err(_) => self.fork(Order::Early).await,
        }
    }
}

impl Drop for KeptCell {
    fn drop(&mut self) {
        if !*self.is_taken.get_mut() {
            self.link.close_cell(self.scratch);
        }
    }
}

#[cfg(test)]
impl Place {
    /// A cell of an interpreter that there is only the number of.
    pub(crate) fn of_nobody(id: u64) -> (Self, WarmId) {
        let link = Arc::new(Link::of_nobody(WarmId(id)));
        (Self::Cell(Arc::new(KeptCell::new(link, id))), WarmId(id))
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
        /// Has it made at once.
        wanted: oneshot::Sender<()>,
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
                let (wanted, is_wanted) = oneshot::channel();
                let process = tokio::spawn(cell.fork_early(is_wanted));
                Self::Process { link, process, wanted, since: Instant::now() }
            }
            waiting @ Self::Process { .. } => waiting,
        }
    }

    /// The same, and tells that process what it can read before there is a step for it. It has heard nothing yet, and takes so much at once.
    pub(crate) fn told(self, line: Vec<u8>) -> Self {
        match self.stand_by() {
            Self::Process { link, process, wanted, since } => {
                let told = async move {
                    let _ = wanted.send(());
                    let (process, pipes) = process.await.map_err(io::Error::other)??;
                    // A pipe that takes only a part of it, as where there are too many of them, is of no use.
                    match nix::unistd::write(&pipes.stdin, &line)? {
                        written if written == line.len() => Ok((process, pipes)),
                        _ => Err(io::ErrorKind::WriteZero.into()),
                    }
                };
                let (wanted, _) = oneshot::channel();
                Self::Process { link, process: tokio::spawn(told), wanted, since }
            }
            cell @ Self::Cell(_) => cell,
        }
    }

    /// Whose forks begin in it.
    pub(crate) fn of(&self) -> WarmId {
        match self {
            Self::Cell(cell) => cell.link.id,
            Self::Process { link, .. } => link.id,
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
            Self::Cell(cell) if Arc::ptr_eq(&cell.link, of) => cell.fork(Order::Again).await.ok(),
            Self::Process { link, process, wanted, .. } if Arc::ptr_eq(&link, of) => {
                let _ = wanted.send(());
                let started = process.await.ok()?.ok()?;
                (!started.0.has_ended()).then_some(started)
            }
            _ => None,
        }
    }
}
