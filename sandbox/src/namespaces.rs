//! Namespaces: a process that is first in its own world of users, processes, mounts and System V objects.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc::{self, c_int, c_ulong};
use nix::unistd::Pid;

use crate::cell::Identity;
use crate::error::{Context, Result, answered};

/// What every cell has of its own.
pub(crate) const CELL: c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;

/// Which of the two processes that came of a call this is.
pub(crate) enum Side {
    /// The caller, and its child.
    Parent(Pid, OwnedFd),
    /// The child.
    Child,
}

/// A child in new namespaces, as fork would make it, and a descriptor that names it for good.
///
/// This process must have one thread: the child goes on with a copy of it.
pub(crate) fn child_in(namespaces: c_int) -> io::Result<Side> {
    let mut descriptor: c_int = -1;
    let flags = namespaces | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without a stack of its own and without CLONE_VM the call is a fork; the caller has one thread. The kernel
    // writes the descriptor to a variable that lives here.
    let pid = answered(unsafe { libc::syscall(libc::SYS_clone, flags as c_ulong, 0, &raw mut descriptor, 0, 0) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the kernel has just opened it for this process.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(Side::Parent(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?), descriptor))
}

/// Says which users are known in the namespace of `process`: `own`, the one who made it, and `identity`, each as itself.
///
/// To name another than oneself takes the rights of root. Who is in a namespace where nobody is named does not know who it is.
pub(crate) fn name_users(process: &str, own: Identity, identity: Identity) -> Result {
    let write = |file: &str, content: String| {
        let path = format!("/proc/{process}/{file}");
        std::fs::write(&path, content).to(&format!("write {path}"))
    };
    if own == identity {
        write("setgroups", "deny".to_owned())?;
    }
    write("uid_map", mapping(own.user, identity.user))?;
    write("gid_map", mapping(own.group, identity.group))
}

fn mapping(own: u32, other: u32) -> String {
    if own == other { format!("{own} {own} 1") } else { format!("{own} {own} 1\n{other} {other} 1") }
}

/// Dies when the parent does.
pub(crate) fn follow_parent() -> Result {
    // SAFETY: a plain system call without pointers.
    answered(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong) }.into())
        .to("ask for death with the parent")
        .map(drop)
}

/// Waits for the word.
pub(crate) fn wait_for_word(mut listener: PipeReader) -> Result {
    let mut word = [0; 1];
    listener.read_exact(&mut word).to("go on: the launcher is gone")
}

/// Gives the word.
pub(crate) fn give_word(mut speaker: PipeWriter) -> Result {
    speaker.write_all(b".").to("let the enclosed process go on")
}

#[repr(C)]
struct InterfaceFlags {
    name: [libc::c_char; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// In a network namespace of its own: lets the machine's own address work.
pub(crate) fn raise_loopback() -> Result {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").to("make a socket")?;
    let mut request = InterfaceFlags { name: [0; libc::IFNAMSIZ], flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    request.name[0] = b'l' as libc::c_char;
    request.name[1] = b'o' as libc::c_char;
    // SAFETY: the request has the size and layout of the kernel's own, and lives during the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    answered(answer.into()).to("raise the loopback").map(drop)
}
