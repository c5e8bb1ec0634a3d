//! Rights of a process: given up for good, whatever it starts.

use nix::libc::{self, c_int, c_ulong};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::cell::Identity;
use crate::error::{Context, Result, SandboxError, answered};

/// What a process that joins other cells needs to keep.
pub(crate) const CAP_SYS_ADMIN: u32 = 21;
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Becomes `identity` with no capabilities but `kept`, also after it starts another program.
pub(crate) fn become_user(identity: Identity, kept: Option<u32>) -> Result {
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    if Identity::own() != identity {
        prctl(libc::PR_SET_KEEPCAPS, 1).to("keep capabilities")?;
        setgroups(&[]).to("leave all groups")?;
        setresgid(group, group, group).to("change the group")?;
        setresuid(user, user, user).to("change the user")?;
    }
    keep_capabilities(kept)?;
    if let Some(capability) = kept {
        ambient(capability)?;
    }
    // Its own entries in /proc are its own again, after what the kernel takes for a change of rights.
    prctl(libc::PR_SET_DUMPABLE, 1).to("own its entries in /proc")
}

/// The same without any capability, where the death of this process is tied to its parent's: the kernel forgets that when the
/// user changes.
pub(crate) fn become_user_of_same_parent(identity: Identity) -> Result {
    let mut signal: c_int = 0;
    // SAFETY: the kernel writes the signal to a variable that lives here.
    answered(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) }.into())
        .to("read what its parent's end means")?;
    let parent = nix::unistd::getppid();
    become_user(identity, None)?;
    prctl(libc::PR_SET_PDEATHSIG, signal as c_ulong).to("tie its end to its parent's")?;
    // The parent may have died in between.
    if signal != 0 && nix::unistd::getppid() != parent {
        return Err(SandboxError::Told("the worker is gone".to_owned()));
    }
    Ok(())
}

/// Gives up all capabilities.
pub(crate) fn give_up() -> Result {
    keep_capabilities(None)?;
    // Its own entries in /proc are its own again, after what the kernel takes for a change of rights.
    prctl(libc::PR_SET_DUMPABLE, 1).to("own its entries in /proc")
}

fn keep_capabilities(kept: Option<u32>) -> Result {
    let set = kept.map_or(0, |capability| 1 << capability);
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [
        Data { effective: set, permitted: set, inheritable: set },
        Data { effective: 0, permitted: 0, inheritable: 0 },
    ];
    // SAFETY: both point to values of the layout that version 3 asks for, and the kernel only reads them.
    answered(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
        .to("give up capabilities")
        .map(drop)
}

fn ambient(capability: u32) -> Result {
    // SAFETY: a plain system call without pointers.
    let answer = unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as c_ulong, c_ulong::from(capability), 0, 0)
    };
    answered(answer.into()).to("keep a capability").map(drop)
}

/// No program that is started from now on has more rights than this one.
pub(crate) fn no_new_privileges() -> Result {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).to("refuse new privileges")
}

/// Others of the same user can neither read nor trace this process.
pub(crate) fn hide_memory() -> Result {
    prctl(libc::PR_SET_DUMPABLE, 0).to("hide its memory")
}

fn prctl(option: c_int, value: c_ulong) -> std::io::Result<()> {
    // SAFETY: a plain system call without pointers.
    answered(unsafe { libc::prctl(option, value, 0, 0, 0) }.into()).map(drop)
}
