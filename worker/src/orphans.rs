//! Finds and ends processes that steps left behind.
//!
//! Killing a step's process group misses a grandchild that made a session of its own. This process is a
//! subreaper: such a grandchild becomes its child when the step ends, carries the attempt's mark in its environment,
//! and is found by it. One that wiped its environment belongs to no live attempt, and is ended as well.

use std::collections::{HashMap, HashSet};
use std::io;
use std::process::Child;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getsid};

/// Variable that marks the processes of an attempt.
pub(crate) const MARK_VARIABLE: &str = "BUE_ATTEMPT_MARK";

/// How often survivors are looked for before it is left at that.
const SWEEPS_MAX: u32 = 200;
/// How often those are looked for that end with a child that is discarded.
const REAPS_OF_STRAYS: u32 = 20;
/// How often a process is found without a mark before it counts as one that wiped it. One that is becoming another program has none for a
/// moment, either.
const BARE_LOOKS: u32 = 4;
/// How often its environment is read in one look: it breaks off where the program changes meanwhile.
const READS: u32 = 4;
/// Time between two looks.
const SWEEP_PAUSE: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Known {
    /// Children this process started itself, until they are reaped.
    children: HashSet<i32>,
    /// Marks of attempts that still run; each may be there more than once.
    marks: HashMap<String, u32>,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes this process the parent of its orphaned descendants.
pub(crate) fn adopt() -> io::Result<()> {
    // SAFETY: a plain system call without pointers.
    let answer = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Starts a child such that no sweep can take it for an orphan.
pub(crate) fn spawn_known(start: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    let mut known = known();
    let child = start()?;
    known.children.insert(child.id().cast_signed());
    Ok(child)
}

/// Reaps a child of this process that has ended.
pub(crate) fn reap(pid: Pid) {
    // Under the lock: as soon as it is reaped, its number may be given to the next child.
    let mut known = known();
    let _ = waitpid(pid, None);
    known.children.remove(&pid.as_raw());
}

/// Ends a child that nobody wants, with its group.
pub(crate) fn discard(child: Child) {
    discard_pid(Pid::from_raw(child.id().cast_signed()));
}

/// Ends a child of this process with its group, and reaps it without waiting here.
pub(crate) fn discard_pid(pid: Pid) {
    let _ = killpg(pid, Signal::SIGKILL);
    let _ = kill(pid, Signal::SIGKILL);
    // A killed process may take a moment to end; the caller may be in an async task.
    let _ = std::thread::Builder::new().spawn(move || {
        let _ = nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        reap(pid);
        // What it had started ends with it, and is this process's to reap then.
        for _ in 0..REAPS_OF_STRAYS {
            std::thread::sleep(SWEEP_PAUSE);
            reap_strays();
        }
    });
}

/// Reaps what belonged to children of this process and has ended.
fn reap_strays() {
    let known = known();
    for pid in strays(&known) {
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
}

/// Children of this process that it did not start itself.
fn strays(known: &Known) -> impl Iterator<Item = Pid> {
    let own_session = getsid(None);
    // What other code of this process started is in this process's session; steps never are.
    children().into_iter().filter(move |pid| {
        own_session.is_ok() && !known.children.contains(&pid.as_raw()) && getsid(Some(*pid)) != own_session
    })
}

/// An attempt that runs: orphans with its mark are left alone until it is dropped.
#[derive(Debug)]
pub(crate) struct Mark(String);

impl Mark {
    /// Registers a mark; it must be unique in this process.
    pub(crate) fn new(text: String) -> Self {
        *known().marks.entry(text.clone()).or_default() += 1;
        Self(text)
    }

    /// The value of [`MARK_VARIABLE`].
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Unregisters it and ends all orphans that belong to no running attempt, and their children, and theirs.
    pub(crate) async fn sweep(self) {
        drop(self);
        let mut bare = HashMap::new();
        for _ in 0..SWEEPS_MAX {
            if !kill_strays(&mut bare) {
                return;
            }
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
        tracing::warn!("some processes of ended steps are still there");
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let mut known = known();
        if let Some(count) = known.marks.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                known.marks.remove(&self.0);
            }
        }
    }
}

/// Kills or reaps every stray child once; tells whether there were any. `bare` counts how often one had no mark.
fn kill_strays(bare: &mut HashMap<Pid, u32>) -> bool {
    let known = known();
    let mut found = false;
    for pid in strays(&known) {
        let is_reaped = matches!(waitpid(pid, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some());
        let owner = if is_reaped { None } else { Some(owner_of(pid, &known)) };
        match owner {
            None => {}
            Some(Owner::RunningAttempt) => continue,
            Some(Owner::Nobody) => end(pid),
            Some(Owner::Unknown) => {
                let looks = bare.entry(pid).or_default();
                *looks += 1;
                if *looks >= BARE_LOOKS {
                    end(pid);
                }
            }
        }
        found = true;
    }
    found
}

fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
}

/// Whose a stray process is.
enum Owner {
    RunningAttempt,
    Nobody,
    /// It has no mark: it wiped it, or is becoming another program.
    Unknown,
}

fn owner_of(pid: Pid, known: &Known) -> Owner {
    if known.marks.is_empty() {
        return Owner::Nobody;
    }
    let place = format!("/proc/{pid}/environ");
    match (0..READS).find_map(|_| mark_in(&std::fs::read(&place).ok()?)) {
        Some(mark) if known.marks.contains_key(&mark) => Owner::RunningAttempt,
        Some(_) => Owner::Nobody,
        None => Owner::Unknown,
    }
}

/// The mark in an environment, which may break off anywhere.
fn mark_in(environment: &[u8]) -> Option<String> {
    environment.split_inclusive(|byte| *byte == 0).find_map(|variable| {
        let variable = std::str::from_utf8(variable.strip_suffix(&[0])?).ok()?;
        Some(variable.strip_prefix(MARK_VARIABLE)?.strip_prefix('=')?.to_owned())
    })
}

/// Children of this process that it did not fork itself, and those its main thread forked.
///
/// The kernel gives orphans to the first thread that lives, and the main thread lives as long as the process: it is
/// enough to look at one list, and every attempt that ends looks at it.
fn children() -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", std::process::id());
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_a_discarded_child_had_started_is_reaped_when_it_ends() {
        adopt().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "setsid sleep 60 & echo $!; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut child = spawn_known(|| command.spawn()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let place = PathBuf::from(format!("/proc/{grandchild}"));
        // It is in a session of its own before it is no longer a shell.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(place.join("comm")).unwrap().starts_with("sleep") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(SWEEP_PAUSE);
        }
        kill(Pid::from_raw(grandchild), Signal::SIGKILL).unwrap();
        discard(child);
        while place.exists() {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::sleep(SWEEP_PAUSE);
        }
    }
}
