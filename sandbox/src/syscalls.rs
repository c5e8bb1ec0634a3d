//! A filter on system calls: what no step needs, and what has opened kernels before.
//!
//! It names what is refused, not what is allowed: steps bring libraries along of which nobody knows what they call. What
//! is allowed is still bounded by the other layers.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter, sock_filter,
};

use crate::error::{Result, SandboxError};

/// A call of Linux 6.15, on all kinds of machines.
const OPEN_TREE_ATTR: i64 = 467;

/// Refused whatever the arguments are.
const REFUSED: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
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
    libc::SYS_fanotify_mark,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // Memory that no limit counts, and that outlives who made it.
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmdt,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_mq_timedsend,
    libc::SYS_mq_timedreceive,
    libc::SYS_mq_notify,
    libc::SYS_mq_getsetattr,
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
    OPEN_TREE_ATTR,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
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
    libc::SYS_uselib,
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

/// Kinds of sockets that steps make, and the protocols that are TCP, UDP or the kind's own. Others have a history.
const KINDS: [i32; 2] = [libc::SOCK_STREAM, libc::SOCK_DGRAM];
const PROTOCOLS: [i32; 3] = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
/// The bits of a socket's type that say its kind; the others are flags.
const KIND_BITS: u64 = 0xF;
/// Numbers of kinds that there are.
const KINDS_END: i32 = 16;

/// Ways to live of a program that it may ask for: its own, and which one that is.
const PERSONALITIES: [u64; 2] = [0, 0xFFFF_FFFF];

/// Calls in the way of x32 have this bit: the same calls with other numbers, which no step is built for.
const X32: u32 = 0x4000_0000;

/// Requests to a terminal that put words into another's mouth.
const TERMINAL: [u64; 2] = [libc::TIOCSTI, 0x541C];

/// Loads the filters, for this process and all it starts. New privileges must have been refused before.
pub(crate) fn apply(unix_sockets: bool) -> Result {
    for filter in [unknown()?, refused(unix_sockets)?] {
        apply_filter(&filter).map_err(failed)?;
    }
    Ok(())
}

/// Calls that are as if the kernel did not know them: libraries then use others. `clone3` has arguments that a filter cannot
/// see; a file in memory counts for no limit.
fn unknown() -> Result<BpfProgram> {
    let calls = [libc::SYS_clone3, libc::SYS_memfd_create].map(|call| (call, Vec::new()));
    let mut program = foreign();
    program.extend(compile(BTreeMap::from(calls), libc::ENOSYS)?);
    Ok(program)
}

/// The beginning of a filter that knows no calls but those of this kind of machine. Jumps are counted from where they are,
/// so any filter can follow.
fn foreign() -> BpfProgram {
    const NUMBER_OFFSET: u32 = 0;
    if !cfg!(target_arch = "x86_64") {
        return BpfProgram::new();
    }
    let instruction = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    vec![
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, NUMBER_OFFSET),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, X32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

fn refused(unix_sockets: bool) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let of_unshare = NAMESPACES.map(|flag| flag as u64);
    let of_clone = &of_unshare[..of_unshare.len() - 1];
    // A child of its own parent would be out of sight of who looks for what a step left behind.
    let of_clone = [of_clone, &[libc::CLONE_PARENT as u64]].concat();
    rules.insert(libc::SYS_unshare, of_unshare.iter().map(|flag| has(0, *flag)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_clone, of_clone.iter().map(|flag| has(0, *flag)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_ioctl, TERMINAL.iter().map(|request| is(1, *request)).collect::<Result<_>>()?);
    rules.insert(libc::SYS_socket, other_sockets(unix_sockets)?);
    rules.insert(libc::SYS_socketpair, vec![none_of(0, &[libc::AF_UNIX as u64])?]);
    rules.insert(libc::SYS_personality, vec![none_of(0, &PERSONALITIES)?]);
    compile(rules, libc::EPERM)
}

/// Sockets of another family than the internet's, of another kind, or of another protocol. Pairs of sockets are another call,
/// and are no way out.
fn other_sockets(unix_sockets: bool) -> Result<Vec<SeccompRule>> {
    let mut families = vec![libc::AF_INET as u64, libc::AF_INET6 as u64];
    if unix_sockets {
        families.push(libc::AF_UNIX as u64);
    }
    let other_kinds = (0..KINDS_END).filter(|kind| !KINDS.contains(kind));
    let mut rules = vec![none_of(0, &families)?, none_of(2, &PROTOCOLS.map(|protocol| protocol as u64))?];
    for kind in other_kinds {
        rules.push(rule(vec![condition(1, SeccompCmpOp::MaskedEq(KIND_BITS), kind as u64)?])?);
    }
    Ok(rules)
}

fn none_of(argument: u8, values: &[u64]) -> Result<SeccompRule> {
    rule(values.iter().map(|value| condition(argument, SeccompCmpOp::Ne, *value)).collect::<Result<_>>()?)
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(failed)
}

fn has(argument: u8, bits: u64) -> Result<SeccompRule> {
    rule(vec![condition(argument, SeccompCmpOp::MaskedEq(bits), bits)?])
}

fn is(argument: u8, value: u64) -> Result<SeccompRule> {
    rule(vec![condition(argument, SeccompCmpOp::Eq, value)?])
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the beginning of the filter answers to a call; `None`: what follows decides.
    fn answer_of_foreign(number: u32) -> Option<u32> {
        let program = foreign();
        let mut at = 0;
        while let Some(instruction) = program.get(at) {
            match u32::from(instruction.code) & 0x07 {
                libc::BPF_JMP if number < instruction.k => at += usize::from(instruction.jf),
                libc::BPF_RET => return Some(instruction.k),
                _ => {}
            }
            at += 1;
        }
        None
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn calls_in_the_way_of_x32_are_unknown_and_those_of_the_machine_go_on() {
        let unknown = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        for number in [X32, X32 | libc::SYS_ptrace as u32, X32 | 521, u32::MAX] {
            assert_eq!(answer_of_foreign(number), Some(unknown), "{number:#x}");
        }
        for number in [0, libc::SYS_ptrace as u32, X32 - 1] {
            assert_eq!(answer_of_foreign(number), None, "{number:#x}");
        }
    }
}
