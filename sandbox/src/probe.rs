//! Finds out which layers this machine has, by building each of them once around a process that does nothing.

use std::io::{PipeWriter, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::libc;
use nix::unistd::{ForkResult, fork};

use crate::bounds::Bounds;
use crate::cell::{Cell, Identity, Walls};
use crate::error::{Context, Result, SandboxError};
use crate::launcher::{self, PROBE, WORD};
use crate::layers::{Finding, Layer, Report};
use crate::namespaces::{self, Side};
use crate::{fence, privileges, root, syscalls};

/// The version of Landlock that bounds signals and abstract sockets.
const SIGNALS_SINCE: i64 = 6;
/// Name of a folder, as those of attempts are named.
const ATTEMPT: &str = "0";

/// Has `launcher` try all layers, with folders below `folder`, for steps that run as `identity`.
///
/// # Errors
/// When the launcher cannot be started or the folders cannot be made. A layer that is missing is no error.
pub fn probe(launcher: &Path, folder: &Path, identity: Identity) -> Result<Report> {
    let (mountpoint, scratch) = (folder.join("root"), folder.join("scratch"));
    for path in [&mountpoint, &scratch.join(ATTEMPT)] {
        std::fs::create_dir_all(path).to_path("make the folder", path)?;
    }
    let cell = Cell {
        walls: Walls { namespaces: true, network: false, fence: true, syscalls: true, rights: true },
        mountpoint,
        scratch,
        readable: Vec::new(),
        writable: Vec::new(),
        folder: "/".into(),
        identity,
        unix_sockets: false,
        bounds: Bounds::default(),
    };
    let failed = |reason: String| SandboxError::Launcher { program: launcher.display().to_string(), reason };
    let described = serde_json::to_string(&cell).map_err(|error| failed(error.to_string()))?;
    let output = Command::new(launcher)
        .args([WORD, PROBE, &described])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        failed(format!("{}: {}", output.status, complaint.lines().next().unwrap_or("no output")))
    })
}

/// In the launcher: tries them and prints what came of it.
pub(crate) fn answer(cell: &Cell) -> Result<ExitCode> {
    let findings = Layer::ALL.map(|layer| Finding { layer, missing: reason(layer, cell) });
    let report = Report { findings: findings.into() };
    let text = serde_json::to_string(&report).map_err(|error| SandboxError::Call(error.to_string()))?;
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Why a layer is missing.
fn reason(layer: Layer, cell: &Cell) -> Option<String> {
    let nothing = || Ok(());
    match layer {
        Layer::Users => tried_in(libc::CLONE_NEWUSER, cell, nothing),
        Layer::Processes => tried_in(libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWIPC, cell, nothing),
        Layer::Files => tried_in(namespaces::CELL, cell, || launcher::build(cell, root::Scratch::Own)),
        Layer::Attempts => tried_in(namespaces::CELL, cell, || attempt(cell)),
        Layer::Network => tried_in(namespaces::CELL | libc::CLONE_NEWNET, cell, namespaces::raise_loopback),
        Layer::Fence => match fence::version() {
            Some(_) => tried(|| privileges::no_new_privileges().and_then(|()| fence::apply(cell))),
            None => Some("this kernel has no Landlock, or it is not switched on".to_owned()),
        },
        Layer::Signals => match fence::version() {
            Some(version) if version >= SIGNALS_SINCE => None,
            Some(version) => Some(format!("Landlock has version {version} here, not {SIGNALS_SINCE}")),
            None => Some("this kernel has no Landlock, or it is not switched on".to_owned()),
        },
        Layer::Syscalls => tried(|| privileges::no_new_privileges().and_then(|()| syscalls::apply(false))),
        Layer::Identity if cell.identity.user == 0 => Some("they do".to_owned()),
        Layer::Identity => {
            let in_namespaces = tried_in(namespaces::CELL, cell, || privileges::become_user(cell.identity, None));
            in_namespaces.and_then(|_| tried(|| be_step(cell)))
        }
    }
}

/// As a step of a worker without namespaces: another user, who must reach its folder at its place on this machine.
fn be_step(cell: &Cell) -> Result {
    privileges::become_user(cell.identity, None)?;
    let folder = cell.scratch.join(ATTEMPT);
    std::fs::read_dir(&folder).to_path("reach as another user", &folder).map(drop)
}

/// A cell within a cell, as a broker makes them.
fn attempt(cell: &Cell) -> Result {
    launcher::build(cell, root::Scratch::OfAll)?;
    privileges::become_user(cell.identity, None)?;
    let inner = || {
        namespaces::name_users("self", cell.identity, cell.identity)?;
        root::show_attempt(ATTEMPT)
    };
    told_by(|speaker| match namespaces::child_in(namespaces::CELL).to("make namespaces within namespaces")? {
        Side::Child => tell(speaker, inner()),
        Side::Parent(..) => {
            drop(speaker);
            Ok(())
        }
    })
}

/// Tries something in new namespaces, whose first process has all rights in them.
fn tried_in(flags: libc::c_int, cell: &Cell, attempt: impl FnOnce() -> Result) -> Option<String> {
    let tried = told_by(|speaker| {
        let (listener, word) = std::io::pipe().to("make a pipe")?;
        match namespaces::child_in(flags).to("make namespaces")? {
            Side::Child => {
                drop(word);
                tell(speaker, namespaces::wait_for_word(listener).and_then(|()| attempt()))
            }
            Side::Parent(first, _) => {
                drop((speaker, listener));
                namespaces::name_users(&first.to_string(), Identity::own(), cell.identity)?;
                namespaces::give_word(word)
            }
        }
    });
    tried.err().map(|error| error.to_string())
}

/// Tries something in a process of its own: what it takes away is gone with it.
fn tried(attempt: impl FnOnce() -> Result) -> Option<String> {
    let tried = told_by(|speaker| {
        // SAFETY: this process has one thread.
        match unsafe { fork() }.to("fork")? {
            ForkResult::Child => tell(speaker, attempt()),
            ForkResult::Parent { .. } => {
                drop(speaker);
                Ok(())
            }
        }
    });
    tried.err().map(|error| error.to_string())
}

/// Starts a process that tells what came of it, and waits for that.
fn told_by(start: impl FnOnce(PipeWriter) -> Result) -> Result {
    let (mut listener, speaker) = std::io::pipe().to("make a pipe")?;
    start(speaker)?;
    let mut told = String::new();
    listener.read_to_string(&mut told).to("hear of it")?;
    // The kernel ends what is left of it with this process.
    let _ = nix::sys::wait::wait();
    match told.as_str() {
        "." => Ok(()),
        "" => Err(SandboxError::Told("the process that tried it ended without a word".to_owned())),
        reason => Err(SandboxError::Told(reason.to_owned())),
    }
}

/// In the process that tried it: says what came of it, and ends.
fn tell(mut speaker: PipeWriter, tried: Result) -> ! {
    let word = tried.map_or_else(|error| error.to_string(), |()| ".".to_owned());
    let _ = speaker.write_all(word.as_bytes());
    // SAFETY: nothing of the parent's, of which this is a copy, may be run at its end.
    unsafe { libc::_exit(0) }
}
