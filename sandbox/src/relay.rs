//! Ends of processes, handed on: a launcher ends as the program that it has started.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, raise, signal};
use nix::sys::wait::{WaitStatus, wait, waitpid};
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::launcher::SHORTAGE;

/// Signals that ask a group to end; a launcher leaves the answer to its program.
const REQUESTS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Exit codes from here on stand for signals.
const BEYOND_CODES: i32 = 128;

/// Has this process go on when its group is asked to end.
pub(crate) fn ignore_requests() -> Result {
    handle(SigHandler::SigIgn)
}

/// What a program expects at its start.
pub(crate) fn heed_requests() -> Result {
    handle(SigHandler::SigDfl)?;
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.to("reset a signal").map(drop)
}

/// Has the kernel take children away when they end; nobody asks how.
pub(crate) fn leave_orphans() -> Result {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.to("ignore the end of children").map(drop)
}

fn handle(handler: SigHandler) -> Result {
    for request in REQUESTS {
        // SAFETY: no handler is installed.
        unsafe { signal(request, handler) }.to("set what a signal does")?;
    }
    Ok(())
}

/// In the first process of a namespace: waits for the program, takes orphans away, and reports how the program ended.
pub(crate) fn tend(program: Pid, mut report: PipeWriter) -> Result {
    loop {
        let status = match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => -(signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error).to("wait for the program"),
        };
        return report.write_all(&status.to_ne_bytes()).to("report the end of the program");
    }
}

/// Whether anybody still waits for the report.
pub(crate) fn is_awaited(report: &PipeWriter) -> bool {
    let mut ready = [PollFd::new(report.as_fd(), PollFlags::empty())];
    !matches!(poll(&mut ready, PollTimeout::ZERO), Ok(1))
}

/// In the launcher: waits for the first process of the namespace; tells how the program ended, where it ever began, or that there was
/// too little for it to begin.
pub(crate) fn wait_for(first: Pid, mut report: PipeReader) -> Option<i32> {
    let mut status = [0; 4];
    let is_told = report.read_exact(&mut status).is_ok();
    let end = loop {
        match waitpid(first, None) {
            Err(nix::errno::Errno::EINTR) => {}
            end => break end,
        }
    };
    match end {
        _ if is_told => Some(i32::from_ne_bytes(status)),
        // No signal of its own ends the first process of a namespace.
        Ok(WaitStatus::Exited(_, code)) if code == BEYOND_CODES + SHORTAGE => Some(-SHORTAGE),
        _ => None,
    }
}

/// Ends this process as the program ended.
pub(crate) fn end_as(status: i32) -> ! {
    if let Ok(number) = Signal::try_from(-status) {
        // SAFETY: no handler is installed.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
        let _ = raise(number);
    }
    // SAFETY: nothing is left to do here; exit handlers belong to a program that this process never was.
    unsafe { libc::_exit(if status < 0 { BEYOND_CODES - status } else { status }) }
}
