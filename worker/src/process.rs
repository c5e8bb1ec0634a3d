//! A running child process: its pipes, its end, and the certainty that nothing of it stays.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::descriptors::{self, is_shortage};
use crate::orphans;
use crate::spawner::{self, Tie};
use crate::warm::{End, KeptCell, Link};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the signal that cannot be refused, when it and those it waited for had been so long on a processor.
    Killed { cpu: Duration },
    /// With the interpreter it was forked from.
    Lost,
}

/// A process that leads a group of its own. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    parent: Parent,
}

/// Whose child it is: only its parent can tell how it ended, and can keep its number from being given to another.
#[derive(Debug)]
enum Parent {
    /// Ours. The descriptor is readable once it has ended; it stays a zombie until it is reaped.
    Worker { ended: AsyncFd<OwnedFd>, is_reaped: bool },
    /// A warm interpreter's.
    Warm { link: Arc<Link>, end: watch::Receiver<Option<End>> },
}

/// The worker's ends of a process's standard streams.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: pipe::Receiver,
    pub(crate) stderr: pipe::Receiver,
}

impl Process {
    /// Starts a command with pipes for its standard streams.
    pub(crate) async fn start(mut command: Command) -> io::Result<(Self, Pipes)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        descriptors::lower_limit_of(&mut command);
        let mut child = spawner::spawn(command, Tie::Death).await?;
        let pid = Pid::from_raw(child.id().cast_signed());
        let process = match watch(pid) {
            Ok(ended) => Self { pid, parent: Parent::Worker { ended, is_reaped: false } },
            Err(error) => {
                orphans::discard(child);
                return Err(error);
            }
        };
        let missing = || io::Error::other("a pipe is missing");
        let pipes = Pipes {
            stdin: child.stdin.take().ok_or_else(missing)?.into(),
            stdout: pipe::Receiver::from_owned_fd(child.stdout.take().ok_or_else(missing)?.into())?,
            stderr: pipe::Receiver::from_owned_fd(child.stderr.take().ok_or_else(missing)?.into())?,
        };
        Ok((process, pipes))
    }

    /// A process that a warm interpreter has forked.
    pub(crate) fn forked(pid: Pid, link: Arc<Link>, end: watch::Receiver<Option<End>>) -> Self {
        Self { pid, parent: Parent::Warm { link, end } }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&self) -> io::Result<Exit> {
        match &self.parent {
            Parent::Worker { ended, .. } => wait_for(self.pid, ended).await,
            Parent::Warm { end, .. } => {
                let mut end = end.clone();
                let end = end.wait_for(Option::is_some).await;
                Ok(end.ok().and_then(|end| end.as_ref().map(|end| end.exit)).unwrap_or(Exit::Lost))
            }
        }
    }

    /// Whether the end of a forked process has been told already.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&self.parent, Parent::Warm { end, .. } if end.borrow().is_some())
    }

    /// Sends a signal to its whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        match &self.parent {
            // The leader is there at least as a zombie, so the group is ours.
            Parent::Worker { is_reaped: false, .. } => drop(killpg(self.pid, signal)),
            Parent::Worker { is_reaped: true, .. } => {}
            Parent::Warm { end, .. } if end.borrow().is_some() => {}
            Parent::Warm { link, .. } => link.signal(self.pid, signal),
        }
    }

    /// Asks it to end, and kills it after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) -> io::Result<Exit> {
        self.signal(Signal::SIGTERM);
        if let Ok(exit) = tokio::time::timeout(grace, self.ended()).await {
            return exit;
        }
        self.signal(Signal::SIGKILL);
        self.ended().await
    }

    /// Kills what is left of its group and gives its number back. Answers with the cell it was in, where that can be used again.
    pub(crate) async fn finish(mut self) -> Option<Arc<KeptCell>> {
        self.signal(Signal::SIGKILL);
        let has_ended = self.ended().await.is_ok();
        match &mut self.parent {
            Parent::Worker { is_reaped, .. } if has_ended => {
                orphans::reap(self.pid);
                *is_reaped = true;
                None
            }
            Parent::Worker { .. } => None,
            Parent::Warm { end, .. } => end.borrow().as_ref().and_then(|end| end.cell.clone()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match &self.parent {
            Parent::Worker { is_reaped: true, .. } => {}
            Parent::Worker { is_reaped: false, .. } => orphans::discard_pid(self.pid),
            Parent::Warm { .. } => self.signal(Signal::SIGKILL),
        }
    }
}

/// Waits for the end of a child. It stays a zombie, so that its number and its group cannot be anybody else's.
async fn wait_for(pid: Pid, ended: &AsyncFd<OwnedFd>) -> io::Result<Exit> {
    loop {
        let mut ready = ended.readable().await?;
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG)? {
            WaitStatus::Exited(_, code) => return Ok(Exit::Code(code)),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => return Ok(Exit::Killed { cpu: time_of(pid) }),
            WaitStatus::Signaled(_, signal, _) => return Ok(Exit::Signal(signal as i32)),
            _ => ready.clear_ready(),
        }
    }
}

/// The time on a processor of a process that is not reaped yet, and of those it waited for; none where the system does not say.
fn time_of(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::from_millis(ticks * 1_000 / u64::try_from(per_second).unwrap_or(100).max(1))
}

/// A descriptor that is readable once the process has ended.
fn watch(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: a system call without pointers; the descriptor it returns is new and owned by nobody else.
    let descriptor = unsafe {
        let number = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        if number < 0 {
            let error = io::Error::last_os_error();
            if is_shortage(&error) {
                return Err(error);
            }
            return Err(io::Error::new(error.kind(), format!("pidfd_open (Linux 5.3 or later): {error}")));
        }
        OwnedFd::from_raw_fd(i32::try_from(number).map_err(io::Error::other)?)
    };
    // SAFETY: the descriptor is owned by the value that is registered, and is closed with it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
