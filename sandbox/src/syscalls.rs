//! A filter on system calls: what no step needs, and what has opened kernels before.
//!
//! It names what is refused, not what is allowed: steps bring libraries along of which nobody knows what they call. What
//! is allowed is still bounded by the other layers.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::error::{Result, SandboxError};

/// Refused whatever the arguments are.
const REFUSED: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Doors into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // Files by other ways than their paths.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The machine itself.
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// New namespaces, in which a step would have rights again.
const NAMESPACES: [i32; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    // The same number as the signal mask of clone: of a namespace only in unshare.
    0x80,
];

/// Requests to a terminal that put words into another's mouth.
const TERMINAL: [u64; 2] = [libc::TIOCSTI, 0x541C];

/// Loads the filters, for this process and all it starts. New privileges must have been refused before.
pub(crate) fn apply(unix_sockets: bool) -> Result {
    for filter in [unknown()?, refused(unix_sockets)?] {
        apply_filter(&filter).map_err(failed)?;
    }
    Ok(())
}

/// A call whose arguments a filter cannot see is as if the kernel did not know it: libraries then use the older one.
fn unknown() -> Result<BpfProgram> {
    compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn refused(unix_sockets: bool) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let of_unshare = NAMESPACES.map(|flag| flag as u64);
    let of_clone = &of_unshare[..of_unshare.len() - 1];
    rules.insert(libc::SYS_unshare, of_unshare.iter().map(|flag| has(0, *flag)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_clone, of_clone.iter().map(|flag| has(0, *flag)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_ioctl, TERMINAL.iter().map(|request| is(1, *request)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_socket, vec![other_family(unix_sockets)?]);
    compile(rules, libc::EPERM)
}

/// A socket of another family than the internet's. Pairs of sockets are another call, and are no way out.
fn other_family(unix_sockets: bool) -> Result<SeccompRule> {
    let mut families = vec![libc::AF_INET, libc::AF_INET6];
    if unix_sockets {
        families.push(libc::AF_UNIX);
    }
    let differs = |family| condition(0, SeccompCmpOp::Ne, family as u64);
    let conditions = families.into_iter().map(differs).collect::<Result<_>>()?;
    SeccompRule::new(conditions).map_err(failed)
}

fn has(argument: u8, bits: u64) -> Result<SeccompRule> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::MaskedEq(bits), bits)?]).map_err(failed)
}

fn is(argument: u8, value: u64) -> Result<SeccompRule> {
    SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, value)?]).map_err(failed)
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    // The kernel looks at the lower half of these arguments only.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(failed)
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, answer: i32) -> Result<BpfProgram> {
    let machine = std::env::consts::ARCH.try_into().map_err(failed)?;
    let refusal = SeccompAction::Errno(answer.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, machine).map_err(failed)?;
    filter.try_into().map_err(failed)
}

fn failed(error: impl std::error::Error) -> SandboxError {
    let source = std::io::Error::other(error.to_string());
    SandboxError::Kernel { what: "filter system calls".to_owned(), source }
}
