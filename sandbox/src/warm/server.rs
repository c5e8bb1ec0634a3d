//! Orders of the worker and its broker, carried out, and the ends of the forks, told.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{ForkResult, Pid, fork};

use super::fork::{Begun, Streams};
use super::kept::KeptCell;
use crate::error::answered;
use crate::messages::{self, Message};

/// Descriptors of an order: the step's input, output and errors.
const STREAMS: usize = 3;
/// Why descriptors are missing from a message: this process has as many as it may.
const TOO_MANY: &str = "too many files are open in the warm program";

/// How the service ends.
pub(super) enum End {
    /// The worker is gone.
    Worker,
    /// This is a fork.
    Fork(Begun),
}

/// A fork that runs.
struct Running {
    pid: Pid,
    cell: Option<KeptCell>,
}

pub(super) struct Server {
    control: OwnedFd,
    broker: Option<OwnedFd>,
    /// An empty file, for standard input.
    empty: OwnedFd,
    /// The fence into which forks step, where there is one.
    fence: Option<OwnedFd>,
    /// Forks that run, by the descriptors that tell their ends.
    running: HashMap<RawFd, (OwnedFd, Running)>,
    /// Cells in which nothing runs, by the folders they show.
    kept: HashMap<String, KeptCell>,
    /// Cells that are being ended, each with what is told when all in it is gone.
    closing: HashMap<RawFd, (KeptCell, String)>,
}

/// An order to fork.
struct Order<'message> {
    number: &'message str,
    streams: Streams,
    cell: Option<KeptCell>,
    /// Where a new cell says that it is ready.
    ready: Option<OwnedFd>,
    is_early: bool,
}

impl Server {
    pub(super) fn new(broker: Option<OwnedFd>, fence: Option<OwnedFd>) -> io::Result<Self> {
        let control = std::io::stdin().as_fd().try_clone_to_owned()?;
        let empty = std::fs::File::open("/dev/null")?.into();
        let (running, kept, closing) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { control, broker, empty, fence, running, kept, closing })
    }

    /// Serves until the worker is gone, or this process is a fork.
    pub(super) fn serve(&mut self) -> io::Result<End> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads > 1 {
            self.say(&format!("threads {threads}"))?;
            return Ok(End::Worker);
        }
        loop {
            for ready in self.wait()? {
                let is_order = ready == self.control.as_raw_fd()
                    || self.broker.as_ref().is_some_and(|broker| broker.as_raw_fd() == ready);
                if is_order {
                    let source = self.broker.as_ref().filter(|broker| broker.as_raw_fd() == ready);
                    let Some(message) = messages::receive(source.unwrap_or(&self.control).as_fd())? else {
                        self.end_all();
                        return Ok(End::Worker);
                    };
                    if let Some(begun) = self.obey(message)? {
                        return Ok(End::Fork(begun));
                    }
                } else if self.running.contains_key(&ready) {
                    self.tell_end(ready)?;
                } else if let Some((cell, end)) = self.closing.remove(&ready) {
                    drop(cell);
                    self.say(&end)?;
                }
            }
        }
    }

    /// Descriptors on which something has happened.
    fn wait(&self) -> io::Result<Vec<RawFd>> {
        let sources = self.broker.iter().chain([&self.control]).map(AsFd::as_fd);
        let forks = self.running.values().map(|(told, _)| told.as_fd());
        let cells = self.closing.values().map(|(cell, _)| cell.first());
        let mut asked: Vec<PollFd<'_>> =
            sources.chain(forks).chain(cells).map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
        loop {
            match poll(&mut asked, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                answered => {
                    answered?;
                    let has_news = |asked: &&PollFd<'_>| asked.any().unwrap_or(false);
                    return Ok(asked.iter().filter(has_news).map(|asked| asked.as_fd().as_raw_fd()).collect());
                }
            }
        }
    }

    /// Carries out one order; in a fork answers with what it is.
    fn obey(&mut self, message: Message) -> io::Result<Option<Begun>> {
        let Message { text, descriptors } = message;
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["fork", number, folder, ref pid @ ..] => {
                let has_cell = self.broker.is_some();
                let mut descriptors = descriptors.into_iter();
                let Some(streams) = Streams::take(&mut descriptors) else {
                    return self.refuse(number, TOO_MANY).map(|()| None);
                };
                let (cell, ready) = match (has_cell, descriptors.next(), descriptors.next(), pid.first()) {
                    (false, ..) => (None, None),
                    (true, Some(first), Some(ready), Some(pid)) => {
                        (Some(KeptCell::new(folder, first, pid)), Some(ready))
                    }
                    (true, ..) => return self.refuse(number, TOO_MANY).map(|()| None),
                };
                self.fork(Order { number, streams, cell, ready, is_early: false })
            }
            [word @ ("again" | "early"), number, folder] => {
                let cell = self.kept.remove(folder);
                let Some(streams) = Streams::take(&mut descriptors.into_iter()) else {
                    cell.iter().for_each(KeptCell::end);
                    return self.refuse(number, TOO_MANY).map(|()| None);
                };
                if self.broker.is_some() && cell.is_none() {
                    return self.refuse(number, "its cell is gone").map(|()| None);
                }
                self.fork(Order { number, streams, cell, ready: None, is_early: word == "early" })
            }
            ["close", folder] => {
                self.kept.remove(folder).iter().for_each(KeptCell::end);
                Ok(None)
            }
            ["signal", pid, number] => {
                if let (Ok(pid), Some(signal)) = (pid.parse(), signal_of(number)) {
                    self.signal(Pid::from_raw(pid), signal);
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn fork(&mut self, order: Order<'_>) -> io::Result<Option<Begun>> {
        let Order { number, streams, cell, ready, is_early } = order;
        let born = match &cell {
            Some(cell) => setns(cell.first(), CloneFlags::CLONE_NEWPID),
            None => Ok(()),
        };
        let parent = nix::unistd::getpid();
        // SAFETY: this process has one thread, so that its copy finds nothing half done and no lock taken.
        match born.and_then(|()| unsafe { fork() }) {
            Err(error) => {
                cell.iter().for_each(KeptCell::end);
                self.refuse(number, error.desc()).map(|()| None)
            }
            Ok(ForkResult::Child) => {
                let (empty, fence) = (self.empty.try_clone()?, self.fence.take());
                Ok(Some(Begun { streams, cell: cell.map(KeptCell::into_first), ready, is_early, parent, empty, fence }))
            }
            Ok(ForkResult::Parent { child }) => {
                drop((streams, ready));
                let told = ends(child)?;
                self.running.insert(told.as_raw_fd(), (told, Running { pid: child, cell }));
                self.say(&format!("forked {number} {child}"))?;
                Ok(None)
            }
        }
    }

    fn refuse(&self, number: &str, reason: &str) -> io::Result<()> {
        self.say(&format!("refused {number} {reason}"))
    }

    fn signal(&self, pid: Pid, signal: Signal) {
        // One that has ended is in here no more, so its number cannot be another's yet.
        if self.running.values().any(|(_, running)| running.pid == pid) && killpg(pid, signal) == Err(Errno::ESRCH) {
            // It has not made its group yet.
            let _ = kill(pid, signal);
        }
    }

    fn tell_end(&mut self, told: RawFd) -> io::Result<()> {
        let Some((_, Running { pid, cell })) = self.running.remove(&told) else { return Ok(()) };
        // It is not reaped yet: its group cannot be another's.
        let _ = killpg(pid, Signal::SIGKILL);
        let (status, cpu_ms) = reap(pid)?;
        match cell {
            None => self.say(&format!("ended {pid} {status} {cpu_ms}")),
            Some(cell) if cell.is_empty() => {
                self.kept.insert(cell.folder.clone(), cell);
                self.say(&format!("kept {pid} {status} {cpu_ms}"))
            }
            Some(cell) => {
                cell.end();
                self.closing.insert(cell.first().as_raw_fd(), (cell, format!("ended {pid} {status} {cpu_ms}")));
                Ok(())
            }
        }
    }

    /// The worker is gone, perhaps killed: nothing of its steps stays.
    fn end_all(&mut self) {
        for (_, running) in self.running.values() {
            let _ = killpg(running.pid, Signal::SIGKILL);
        }
    }

    fn say(&self, message: &str) -> io::Result<()> {
        messages::send(self.control.as_fd(), message, &[])
    }
}

/// Takes a process away that has ended: its exit code, or its signal as a negative number, and the milliseconds that it and those
/// it waited for were on a processor.
fn reap(process: Pid) -> io::Result<(i32, i64)> {
    let mut status = 0;
    let mut used = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes to two variables that live here; all zeros are a value of the second.
    let used = unsafe {
        answered(libc::wait4(process.as_raw(), &raw mut status, 0, used.as_mut_ptr()).into())?;
        used.assume_init()
    };
    let ms = |time: libc::timeval| time.tv_sec * 1_000 + time.tv_usec / 1_000;
    let end = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) };
    Ok((end, ms(used.ru_utime) + ms(used.ru_stime)))
}

fn signal_of(number: &str) -> Option<Signal> {
    number.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok())
}

/// A descriptor that is readable once the process has ended.
fn ends(process: Pid) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers; the descriptor it returns is new and owned by nobody else.
    unsafe {
        let number = answered(libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(number).map_err(io::Error::other)?))
    }
}

impl Streams {
    /// Those of an order; `None`: some are missing.
    fn take(descriptors: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let mut all: Vec<OwnedFd> = descriptors.take(STREAMS).collect();
        let (log, answer, input) = (all.pop()?, all.pop()?, all.pop()?);
        Some(Self { input, answer, log })
    }
}
