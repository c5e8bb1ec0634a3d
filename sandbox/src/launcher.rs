//! The launcher: called by a worker as `bue sandbox-launcher …`, it builds a cell around itself and becomes the program.
//!
//! It has one thread and does its work before anything else of `bue` runs: between a fork and the start of a program, a
//! process with several threads can do next to nothing safely.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, Pid, fork};

use crate::cell::{Cell, Identity, Walls};
use crate::error::{Context, Result, SandboxError, answered};
use crate::namespaces::{self, Side};
use crate::warm::{BROKER as WARM, FENCE};
use crate::{broker, disguise, fence, messages, privileges, probe, relay, root, syscalls};

/// The word by which a program is called as the launcher.
pub const WORD: &str = "sandbox-launcher";
/// The exit code of a launcher that could not start its program.
pub const NOT_STARTED: u8 = 125;

/// The signal that ends a launcher which had too little for it just now: no program is ended by this one.
pub const SHORTAGE: i32 = libc::SIGSTKFLT;

/// What a launcher is to do.
const ENCLOSE: &str = "enclose";
const BROKER: &str = "broker";
pub(crate) const PROBE: &str = "probe";

/// A command by which `launcher` starts `program` in a cell. Environment and standard streams are the program's.
#[must_use]
pub fn enclosed_command(launcher: &Path, cell: &Cell, program: &Path, arguments: &[OsString]) -> Command {
    command(launcher, ENCLOSE, cell, program, arguments)
}

/// A command by which `launcher` starts a warm interpreter with a broker.
///
/// Its standard input must be the socket between worker and interpreter, its standard output the one between worker and
/// broker; both keep messages apart.
#[must_use]
pub fn broker_command(launcher: &Path, cell: &Cell, program: &Path, arguments: &[OsString]) -> Command {
    command(launcher, BROKER, cell, program, arguments)
}

fn command(launcher: &Path, word: &str, cell: &Cell, program: &Path, arguments: &[OsString]) -> Command {
    let mut command = Command::new(launcher);
    // A path that is no UTF-8 has no JSON: the launcher then says that it does not understand.
    let cell = serde_json::to_string(cell).unwrap_or_default();
    command.args([WORD, word, &cell]).arg(program).args(arguments).current_dir("/");
    command
}

/// Does what the arguments after the program's name say, where they are for a launcher.
///
/// Must be called before this process has a second thread.
pub fn launch(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter();
    if arguments.next()? != WORD {
        return None;
    }
    match obey(arguments.collect()) {
        Ok(code) => Some(code),
        Err(error) => {
            eprintln!("bue: the step's process cannot be started in its sandbox: {error}");
            if error.is_shortage() {
                relay::end_as(-SHORTAGE);
            }
            Some(ExitCode::from(NOT_STARTED))
        }
    }
}

fn obey(arguments: Vec<OsString>) -> Result<ExitCode> {
    close_inherited()?;
    let [word, cell, program @ ..] = arguments.as_slice() else {
        return Err(SandboxError::Call("too few arguments".to_owned()));
    };
    let cell = cell.to_str().and_then(|text| serde_json::from_str::<Cell>(text).ok());
    let cell = cell.ok_or_else(|| SandboxError::Call("its second argument describes no cell".to_owned()))?;
    disguise::forget_arguments();
    disguise::offer_for_lack_of_memory();
    match (word.to_str(), program) {
        (Some(PROBE), []) => probe::answer(&cell),
        (Some(ENCLOSE), [program, arguments @ ..]) => enclose(&cell, Program { program, arguments }),
        (Some(BROKER), [program, arguments @ ..]) => serve(&cell, Program { program, arguments }),
        _ => Err(SandboxError::Call(format!("`{}` is nothing it does", word.display()))),
    }
}

/// Closes what the worker itself was started with, beside the standard streams: none of it is a step's.
fn close_inherited() -> Result {
    // SAFETY: no descriptor beyond the standard streams belongs to a value of this process yet.
    answered(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) })
        .to("close inherited descriptors")
        .map(drop)
}

/// What is to be started.
#[derive(Clone, Copy)]
struct Program<'call> {
    program: &'call OsString,
    arguments: &'call [OsString],
}

impl Program<'_> {
    /// Becomes the program: returns only where that fails.
    fn start(self, cell: &Cell) -> Result<Infallible> {
        relay::heed_requests()?;
        std::env::set_current_dir(&cell.folder).to_path("enter the folder", &cell.folder)?;
        let error = Command::new(self.program).args(self.arguments).exec();
        Err(error).to_path("start", Path::new(self.program))
    }
}

/// Starts one program in a cell of its own.
fn enclose(cell: &Cell, program: Program<'_>) -> Result<ExitCode> {
    if !cell.walls.namespaces {
        confine_alone(cell)?;
        match program.start(cell)? {}
    }
    relay::ignore_requests()?;
    let (report, reporter) = io::pipe().to("make a pipe")?;
    let Some(first) = first_process(cell)? else {
        drop(report);
        return in_cell(cell, program, reporter);
    };
    drop(reporter);
    match relay::wait_for(first, report) {
        Some(status) => relay::end_as(status),
        None => Ok(ExitCode::from(NOT_STARTED)),
    }
}

/// Makes the namespaces of a cell. In their first process, `None`: it has all rights in them, and nothing is built yet.
fn first_process(cell: &Cell) -> Result<Option<Pid>> {
    let (listener, speaker): (PipeReader, PipeWriter) = io::pipe().to("make a pipe")?;
    let network = if cell.walls.network { libc::CLONE_NEWNET } else { 0 };
    match namespaces::child_in(namespaces::CELL | network).to("make namespaces")? {
        Side::Parent(first, _) => {
            drop(listener);
            namespaces::name_users(&first.to_string(), Identity::own(), cell.identity)?;
            namespaces::give_word(speaker)?;
            Ok(Some(first))
        }
        Side::Child => {
            drop(speaker);
            namespaces::follow_parent()?;
            namespaces::wait_for_word(listener)?;
            if cell.walls.network {
                namespaces::raise_loopback()?;
            }
            Ok(None)
        }
    }
}

/// In the first process: builds the root, starts the program, and tends it.
fn in_cell(cell: &Cell, program: Program<'_>, report: PipeWriter) -> Result<ExitCode> {
    build(cell, root::Scratch::Own)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.to("fork")? {
        ForkResult::Child => {
            drop(report);
            privileges::become_user(cell.identity, None)?;
            confine(cell)?;
            match program.start(cell)? {}
        }
        ForkResult::Parent { child } => {
            stand_back(cell)?;
            // What starts the program may have died before its signal was asked for again.
            if relay::is_awaited(&report) {
                relay::tend(child, report)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) fn build(cell: &Cell, scratch: root::Scratch) -> Result {
    root::enter(root::Plan {
        mountpoint: &cell.mountpoint,
        readable: &cell.readable,
        writable: &cell.writable,
        scratch: (&cell.scratch, scratch),
        identity: cell.identity,
    })
}

/// The first process of a namespace needs no rights once all is built, and nobody needs to see into it.
fn stand_back(cell: &Cell) -> Result {
    privileges::become_user(cell.identity, None)?;
    privileges::hide_memory()?;
    namespaces::follow_parent()
}

/// The layers that hold for a program and all it starts.
fn confine(cell: &Cell) -> Result {
    cell.bounds.apply(u64::from(cell.walls.namespaces))?;
    privileges::no_new_privileges()?;
    if cell.walls.fence {
        fence::apply(cell)?;
    }
    if cell.walls.syscalls {
        syscalls::apply(cell.unix_sockets)?;
    }
    Ok(())
}

/// The same without namespaces: here the program has the worker's own rights until they are given up.
fn confine_alone(cell: &Cell) -> Result {
    // Files are named in the fence while they can still be reached.
    let fence = if cell.walls.fence { Some(fence::prepare(cell)?) } else { None };
    if cell.walls.rights {
        privileges::become_user_of_same_parent(cell.identity)?;
    }
    confine(&Cell { walls: Walls { fence: false, syscalls: false, ..cell.walls }, ..cell.clone() })?;
    if let Some(fence) = fence {
        fence::enter(&fence)?;
    }
    if cell.walls.syscalls { syscalls::apply(cell.unix_sockets) } else { Ok(()) }
}

/// Starts a warm interpreter, and makes cells for what is forked from it.
fn serve(cell: &Cell, program: Program<'_>) -> Result<ExitCode> {
    let orders = take_stream(1)?;
    match first_process(cell) {
        Ok(None) => {}
        Ok(Some(first)) => {
            drop(take_stream(0)?);
            drop(orders);
            while nix::sys::wait::waitpid(first, None) == Err(nix::errno::Errno::EINTR) {}
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(broken(error, &orders)),
    }
    match start_warm(cell, program, &orders) {
        Ok(warm) => broker::serve(&orders, &warm).map(|()| ExitCode::SUCCESS),
        Err(error) => Err(broken(error, &orders)),
    }
}

/// Tells the worker; there is nobody else to tell.
fn broken(error: SandboxError, orders: &OwnedFd) -> SandboxError {
    let _ = messages::send(orders.as_fd(), &format!("broken {error}"), &[]);
    error
}

fn start_warm(cell: &Cell, program: Program<'_>, orders: &OwnedFd) -> Result<OwnedFd> {
    build(cell, root::Scratch::OfAll)?;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).to("make sockets")?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.to("fork")? {
        ForkResult::Child => match become_warm(cell, program, &theirs) {
            Ok(never) => match never {},
            Err(error) => Err(broken(error, orders)),
        },
        ForkResult::Parent { .. } => {
            drop(take_stream(0)?);
            privileges::become_user(cell.identity, None)?;
            namespaces::follow_parent()?;
            relay::leave_orphans()?;
            Ok(ours)
        }
    }
}

/// The warm interpreter runs no step's code. It is not within the fence, from which the kernel lets nobody join what is
/// outside; its forks step into it.
fn become_warm(cell: &Cell, program: Program<'_>, broker: &OwnedFd) -> Result<Infallible> {
    let fence = if cell.walls.fence { Some(fence::prepare(cell)?) } else { None };
    root::hide_attempts()?;
    // To join the cells of attempts takes a right over this one.
    privileges::become_user(cell.identity, Some(privileges::CAP_SYS_ADMIN))?;
    let fence = fence.map(|fence| lift(fence.as_raw_fd())).transpose()?;
    place(&lift(broker.as_raw_fd())?, WARM)?;
    if let Some(fence) = fence {
        place(&fence, FENCE)?;
    }
    confine(&Cell { walls: Walls { fence: false, ..cell.walls }, ..cell.clone() })?;
    program.start(cell)
}

/// Puts a descriptor where a program looks for it, open for that program.
fn place(descriptor: &OwnedFd, number: i32) -> Result {
    // SAFETY: what was at the number belongs to a value that this process never uses again. Where the descriptor is there
    // already, the first call would leave it to be closed at the start of the program.
    let answer = unsafe {
        match descriptor.as_raw_fd() == number {
            true => libc::fcntl(number, libc::F_SETFD, 0),
            false => libc::dup2(descriptor.as_raw_fd(), number),
        }
    };
    answered(answer.into()).to("place a descriptor").map(drop)
}

/// Takes a standard stream away from this process, so that only the caller has it.
fn take_stream(number: i32) -> Result<OwnedFd> {
    let empty = std::fs::File::options().read(true).write(true).open("/dev/null").to("open /dev/null")?;
    let taken = lift(number)?;
    place(&empty.into(), number)?;
    Ok(taken)
}

/// A copy of a descriptor, out of the way of those that have a place.
fn lift(descriptor: i32) -> Result<OwnedFd> {
    // SAFETY: the call opens a new descriptor, which is owned by nobody else.
    unsafe {
        let copy =
            answered(libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, FENCE + 1).into()).to("copy a descriptor")?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(copy).map_err(io::Error::other).to("copy a descriptor")?))
    }
}
