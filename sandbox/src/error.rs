//! What can go wrong while a cell is built.

use std::io;
use std::path::Path;

use nix::libc;

/// Why a program could not be enclosed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refused something.
    #[error("failed to {what}: {source}")]
    Kernel {
        /// What was asked of it.
        what: String,
        /// What it says.
        source: io::Error,
    },
    /// The launcher was called with something it does not understand.
    #[error("the sandbox launcher was called wrongly: {0}")]
    Call(String),
    /// What another process said of its failure.
    #[error("{0}")]
    Told(String),
    /// The launcher did not answer as it should.
    #[error("the sandbox launcher {program} does not answer: {reason}")]
    Launcher {
        /// The program that was started.
        program: String,
        /// What came of it.
        reason: String,
    },
}

impl SandboxError {
    /// Whether this machine, or whoever bounds its user, is short of processes, memory or files just now, and no more than that.
    pub(crate) fn is_shortage(&self) -> bool {
        let Self::Kernel { source, .. } = self else { return false };
        let short = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE];
        source.raw_os_error().is_some_and(|number| short.contains(&number))
    }
}

pub(crate) type Result<T = (), E = SandboxError> = std::result::Result<T, E>;

/// Says what was asked of the kernel.
pub(crate) trait Context<T> {
    /// `what` fits after "failed to".
    fn to(self, what: &str) -> Result<T>;

    /// The same with a path at its end.
    fn to_path(self, what: &str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn to(self, what: &str) -> Result<T> {
        self.map_err(|error| SandboxError::Kernel { what: what.to_owned(), source: error.into() })
    }

    fn to_path(self, what: &str, path: &Path) -> Result<T> {
        self.map_err(|error| SandboxError::Kernel { what: format!("{what} {}", path.display()), source: error.into() })
    }
}

/// The answer of a system call that is -1 for an error.
pub(crate) fn answered(answer: nix::libc::c_long) -> io::Result<nix::libc::c_long> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
