//! A warm program: it stays, and forks itself for each step, as a warm interpreter does.
//!
//! What takes long at the start of a program (loading it, binding its symbols) happens once. The protocol is told in
//! `runner-python/buelon/runner/warm.py`; this is the same for programs that are no Python: of its orders, those to load modules
//! are none of theirs. The program must have one thread when it begins to serve, and holds nothing of any step.
//!
//! - `server`: orders of the worker and its broker, and what becomes of the forks.
//! - `kept`: cells that serve one attempt after another.
//! - `fork`: what a fork does until it has heard of its step.

mod fork;
mod kept;
mod server;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

pub use fork::Fork;

use server::{End, Server};

/// The word after a program's own that has it serve a worker, and the one after that where it has a broker.
pub const WARM_WORD: &str = "warm";
/// See [`WARM_WORD`].
pub const BROKER_WORD: &str = "broker";

/// The descriptor on which a warm program hears from its broker.
pub(crate) const BROKER: i32 = 3;
/// The descriptor of the fence into which its forks step, where there is one.
pub(crate) const FENCE: i32 = 4;

/// Serves the worker on standard input until it is gone, and returns `None` then. In each fork: returns what the fork was made for.
///
/// `early` is called in forks that are made before there is a step for them: there is time to get ready.
///
/// # Errors
/// The conversation with the worker has failed: this process is of no use any more.
pub fn serve_forks(has_broker: bool, early: impl Fn()) -> io::Result<Option<Fork>> {
    // SAFETY: what is there the launcher has put there for this program, which has not used it yet.
    let (broker, fence) = unsafe {
        let broker = has_broker.then(|| OwnedFd::from_raw_fd(BROKER));
        (broker, is_fence(FENCE).then(|| OwnedFd::from_raw_fd(FENCE)))
    };
    let mut server = Server::new(broker, fence)?;
    match server.serve()? {
        End::Worker => Ok(None),
        End::Fork(begun) => {
            // A copy of what the warm program holds.
            drop(server);
            begun.listen(early).map(Some)
        }
    }
}

fn is_fence(descriptor: i32) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
        .is_ok_and(|kind| kind.to_string_lossy().contains("landlock"))
}
