//! What a fork of a warm program does until it has heard of its step.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, getppid, setsid};
use serde::Deserialize;

use crate::fence::{self, FenceRules};
use crate::{namespaces, privileges};

/// The longest word of a cell that could not be built.
const WORD_BYTES_MAX: u64 = 4_096;
/// The limits that a step is told.
const RESOURCES: [Resource; 7] = [
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_DATA,
    Resource::RLIMIT_AS,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_CPU,
];

/// A fork, and what it was made for.
#[derive(Debug)]
pub struct Fork {
    /// What the worker says of the step; or why this process could not get where the step is to run.
    pub told: Result<Vec<u8>, String>,
    answer: File,
}

impl Fork {
    /// Answers, and ends this process: nothing of what it is a copy of may be run at its end.
    pub fn answer(mut self, line: &[u8]) -> ! {
        let is_told = self.answer.write_all(line).is_ok();
        // SAFETY: a plain system call; it ends this process.
        unsafe { libc::_exit(i32::from(!is_told)) }
    }
}

/// The standard streams of a step.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) input: OwnedFd,
    pub(super) answer: OwnedFd,
    pub(super) log: OwnedFd,
}

/// A fork that has just begun.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) streams: Streams,
    /// The first process of the cell in which it was born.
    pub(super) cell: Option<OwnedFd>,
    /// Where a new cell says that it is ready.
    pub(super) ready: Option<OwnedFd>,
    /// Whether there is no step for it yet.
    pub(super) is_early: bool,
    /// The warm program.
    pub(super) parent: Pid,
    pub(super) empty: OwnedFd,
    pub(super) fence: Option<OwnedFd>,
}

/// Where a step runs: the first line of its input.
#[derive(Debug, Deserialize)]
struct Launch {
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    /// Numbers of resources with their soft and hard limits.
    #[serde(default)]
    bounds: Vec<(u32, u64, u64)>,
    /// Rules on files, where no cell keeps them.
    #[serde(default)]
    fence: Option<FenceRules>,
}

impl Begun {
    /// Gets where the step is to run, and waits for it.
    pub(super) fn listen(self, early: impl Fn()) -> io::Result<Fork> {
        let Self { streams: Streams { input, answer, log }, cell, ready, is_early, parent, empty, fence } = self;
        setsid()?;
        if cell.is_none() {
            // Whoever is in a cell ends with its first process, which ends with the broker.
            follow(parent)?;
        }
        dup2_stdin(&empty)?;
        dup2_stdout(&log)?;
        dup2_stderr(&log)?;
        drop((empty, log));
        let answer = File::from(answer);
        let joined = match cell {
            Some(cell) => join(&cell, ready, fence.as_ref()),
            None => Ok(()),
        };
        drop(fence);
        if let Err(reason) = joined {
            return Ok(Fork { told: Err(reason), answer });
        }
        if is_early {
            early();
        }
        let mut given = Vec::new();
        File::from(input).read_to_end(&mut given)?;
        let told = settle_in(&given).map(|()| after_line(given)).map_err(|error| error.to_string());
        Ok(Fork { told, answer })
    }
}

/// Dies with the warm program.
fn follow(parent: Pid) -> io::Result<()> {
    namespaces::follow_parent().map_err(io::Error::other)?;
    // It may have died before the signal was asked for.
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the warm program is gone")) }
}

/// Enters the cell, when it is ready, and keeps no rights over it.
fn join(cell: &OwnedFd, ready: Option<OwnedFd>, fence: Option<&OwnedFd>) -> Result<(), String> {
    if let Some(ready) = ready {
        let mut word = String::new();
        let read = File::from(ready).take(WORD_BYTES_MAX).read_to_string(&mut word);
        if read.is_err() || word != "." {
            let reason = if word.is_empty() { "it ended" } else { &word };
            return Err(format!("the step's sandbox cannot be built: {reason}"));
        }
    }
    let entered = |error: &dyn std::fmt::Display| format!("the step's sandbox cannot be entered: {error}");
    let worlds = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    setns(cell.as_fd(), worlds).map_err(|error| entered(&error.desc()))?;
    // The fence needs no right, for new ones are refused already.
    privileges::give_up().map_err(|error| entered(&error))?;
    fence.map_or(Ok(()), fence::enter).map_err(|error| entered(&error))
}

/// Takes on what the first line says.
fn settle_in(given: &[u8]) -> io::Result<()> {
    let line = given.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let launch: Launch = serde_json::from_slice(line)?;
    take_on(&launch.environment);
    if let Some(rules) = &launch.fence {
        fence::step_into(rules).map_err(io::Error::other)?;
    }
    for (number, soft, hard) in launch.bounds {
        let Some(resource) = RESOURCES.into_iter().find(|resource| *resource as u32 == number) else { continue };
        let (_, most) = getrlimit(resource)?;
        setrlimit(resource, soft.min(most), hard.min(most))?;
    }
    std::env::set_current_dir(&launch.folder)
        .map_err(|error| io::Error::new(error.kind(), format!("the step's folder cannot be entered: {error}")))
}

/// Makes it the whole environment.
fn take_on(environment: &BTreeMap<String, String>) {
    let is_too_much = |name: &std::ffi::OsString| name.to_str().is_none_or(|name| !environment.contains_key(name));
    let too_much: Vec<_> = std::env::vars_os().map(|(name, _)| name).filter(is_too_much).collect();
    // SAFETY: this process has one thread: nobody reads the environment meanwhile.
    unsafe {
        too_much.iter().for_each(|name| std::env::remove_var(name));
        environment.iter().for_each(|(name, value)| std::env::set_var(name, value));
    }
}

/// What follows the first line.
fn after_line(mut given: Vec<u8>) -> Vec<u8> {
    let end = given.iter().position(|byte| *byte == b'\n').map_or(given.len(), |place| place + 1);
    given.drain(..end);
    given
}
