//! Open files and sockets of this process: a worker has as many as it may, its steps no more than they had without it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The limit that this process was started with, and how far it may be raised.
static GIVEN: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises this process's own limit as far as it may be: each attempt that runs takes several.
pub(crate) fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if GIVEN.set((soft, hard)).is_ok() && soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        tracing::warn!("this worker may have {soft} files and sockets open, and cannot raise that");
    }
}

/// The soft and the hard limit that programs get which nothing else bounds, where they are not this process's own.
pub(crate) fn given_limit() -> Option<(rlim_t, rlim_t)> {
    GIVEN.get().copied().filter(|(soft, hard)| soft < hard)
}

/// Has a command run with the limit that this process was given: some programs try all the numbers that they may use.
pub(crate) fn lower_limit_of(command: &mut Command) {
    let Some((soft, hard)) = given_limit() else { return };
    // SAFETY: the closure runs between fork and exec and makes one system call.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?));
    }
}

/// Whether an error says that this machine or this process is short of something just now, and no more than that.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let is_of_system = error.raw_os_error().is_some_and(|number| {
        matches!(Errno::from_raw(number), Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM)
    });
    is_of_system || error.kind() == io::ErrorKind::OutOfMemory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_limit_that_the_worker_was_given() {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -S -n"]);
        lower_limit_of(&mut command);
        let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let given = given_limit().map_or(before, |(soft, _)| soft);
        assert_eq!(told.trim().replace("unlimited", &nix::libc::RLIM_INFINITY.to_string()), given.to_string());
    }

    #[test]
    fn a_shortage_is_told_from_a_program_that_is_not_there() {
        for (number, is_one) in [(Errno::EMFILE, true), (Errno::EAGAIN, true), (Errno::ENOENT, false)] {
            assert_eq!(is_shortage(&io::Error::from_raw_os_error(number as i32)), is_one, "{number}");
        }
        assert!(!is_shortage(&io::Error::other("the pipe is missing")));
    }
}
