//! The cell of one attempt within that of a broker, and the process that holds it open.
//!
//! Its first process does nothing: a process that is forked from the warm interpreter joins it, and when the first one is
//! killed, everything in the cell is killed with it.

use std::io::{PipeWriter, Write};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::unistd::pause;

use crate::cell::Identity;
use crate::error::{Context, Result, answered};
use crate::{namespaces, relay, root};

/// Where the only descriptor that it keeps is put.
const READY: i32 = 3;

/// The first process of the cell: builds it, says so to `ready`, and waits to be killed.
pub(crate) fn hold(name: &str, identity: Identity, ready: PipeWriter) -> ! {
    let ready = match keep_only(ready) {
        Ok(ready) => ready,
        Err(_) => exit(),
    };
    let word = match build(name, identity) {
        Ok(()) => ".".to_owned(),
        Err(error) => error.to_string(),
    };
    let is_told = (&ready).write_all(word.as_bytes()).is_ok();
    drop(ready);
    if word != "." || !is_told {
        exit();
    }
    loop {
        pause();
    }
}

fn build(name: &str, identity: Identity) -> Result {
    namespaces::follow_parent()?;
    namespaces::name_users("self", identity, identity)?;
    root::show_attempt(name)?;
    // It keeps its rights over the cell: who has none, as the program in it, can then neither trace it nor read its memory,
    // while the warm interpreter, which made neither, can join.
    relay::leave_orphans()
}

/// Closes all but the standard streams and `ready`: an open copy of a step's pipe would hide its end.
fn keep_only(ready: PipeWriter) -> Result<std::fs::File> {
    // SAFETY: descriptors beyond the standard streams belong to values that this process never uses again.
    unsafe {
        answered(libc::dup2(ready.as_raw_fd(), READY).into()).to("keep a descriptor")?;
        std::mem::forget(ready);
        answered(libc::syscall(libc::SYS_close_range, READY + 1, libc::c_uint::MAX, 0)).to("close descriptors")?;
        Ok(std::os::fd::FromRawFd::from_raw_fd(READY))
    }
}

fn exit() -> ! {
    // SAFETY: nothing of the parent's, of which this is a copy, may be run at its end.
    unsafe { libc::_exit(1) }
}
