//! Cells in which the forks of a warm program begin, one after another.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::libc;

/// A cell, by a descriptor of its first process. Dropping it ends nothing: forks drop what they are copies of.
#[derive(Debug)]
pub(super) struct KeptCell {
    /// Number of the scratch folder that it shows.
    pub(super) folder: String,
    first: OwnedFd,
    /// The list of its first process's children; `None` where the kernel keeps no such lists.
    children: Option<File>,
}

impl KeptCell {
    pub(super) fn new(folder: &str, first: OwnedFd, pid: &str) -> Self {
        let children = File::open(format!("/proc/{pid}/task/{pid}/children")).ok();
        Self { folder: folder.to_owned(), first, children }
    }

    /// Its first process.
    pub(super) fn first(&self) -> BorrowedFd<'_> {
        self.first.as_fd()
    }

    /// The same, for a process that is born in it.
    pub(super) fn into_first(self) -> OwnedFd {
        self.first
    }

    /// Whether only the first process is left.
    ///
    /// What a process leaves behind at its end becomes a child of the first one, which takes none of them away unseen.
    pub(super) fn is_empty(&self) -> bool {
        self.children.as_ref().is_some_and(|children| matches!(children.read_at(&mut [0; 1], 0), Ok(0)))
    }

    /// Kills the first process, and with it all others.
    pub(super) fn end(&self) {
        // One that is gone already needs no signal.
        let _ = signal(self.first(), libc::SIGKILL);
    }
}

/// Sends a signal to the process that a descriptor names.
fn signal(process: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let no_details = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without details the kernel reads no memory of this process.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, no_details, 0) };
    crate::error::answered(answer).map(drop)
}
