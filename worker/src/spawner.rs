//! Starts child processes from one thread that lasts as long as this process.
//!
//! The kernel sends a child its parent-death signal when the *thread* that forked it ends, and the threads of an
//! async runtime come and go. So every child is forked here.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc;

use nix::libc;
use tokio::sync::oneshot;

use crate::orphans;

type Order = (Command, Tie, oneshot::Sender<io::Result<Child>>);

/// What happens to a child when this process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    /// The kernel kills it.
    Death,
    /// It notices, and ends by itself.
    Own,
}

static ORDERS: OnceLock<Option<mpsc::Sender<Order>>> = OnceLock::new();

/// Doors of the control groups in which children begin: files to which a process writes `0` to enter.
static DOORS: OnceLock<Vec<File>> = OnceLock::new();

/// Has every child from now on begin in control groups, whose doors these are.
pub(crate) fn enter(doors: Vec<File>) {
    // The first worker of a process decides.
    let _ = DOORS.set(doors);
}

/// Starts `command` in a session of its own.
///
/// The child counts as known until [`orphans::reap`] is called for it.
///
/// # Errors
/// When the program cannot be started.
pub(crate) async fn spawn(command: Command, tie: Tie) -> io::Result<Child> {
    let orders = ORDERS.get_or_init(start_thread).as_ref().ok_or_else(|| io::Error::other("no thread can be made"))?;
    let (reply, answer) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    orders.send((command, tie, reply)).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

fn start_thread() -> Option<mpsc::Sender<Order>> {
    let (orders, inbox) = mpsc::channel::<Order>();
    let work = move || {
        for (command, tie, reply) in inbox {
            // Where nobody waits any more, the child is ended by whoever finds it: nobody else knows it.
            if let Err(Ok(child)) = reply.send(orphans::spawn_known(|| start(command, tie))) {
                orphans::discard(child);
            }
        }
    };
    std::thread::Builder::new().name("spawner".to_owned()).spawn(work).ok().map(|_| orders)
}

fn start(mut command: Command, tie: Tie) -> io::Result<Child> {
    let parent = nix::unistd::getpid().as_raw();
    let doors: Vec<RawFd> = DOORS.get().into_iter().flatten().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the closure runs between fork and exec and makes async-signal-safe system calls only.
    unsafe {
        command.pre_exec(move || {
            doors.iter().for_each(|door| step_through(*door));
            leave(tie, parent)
        });
    }
    command.spawn()
}

/// In the child: into a control group. One that is gone bounds nobody.
fn step_through(door: RawFd) {
    // SAFETY: a system call with a buffer of its length; the descriptor is open for as long as this program runs.
    let _ = unsafe { libc::write(door, b"0".as_ptr().cast(), 1) };
}

/// In the child: a session of its own, and perhaps death with the parent.
fn leave(tie: Tie, parent: libc::pid_t) -> io::Result<()> {
    // SAFETY: plain system calls without pointers.
    unsafe {
        if libc::setsid() == -1 {
            return Err(io::Error::last_os_error());
        }
        if tie == Tie::Own {
            return Ok(());
        }
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) == -1 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before the signal was asked for.
        if libc::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}
