//! The warm interpreter of a worker, and the processes that are forked from it.
//!
//! A new interpreter takes tens of milliseconds, a fork of one that is there takes one or two. The protocol is told in
//! `runner-python/buelon/runner/warm.py`, its other end. The interpreter is started when it is first needed and again
//! when it has ended; it holds nothing of any step.

mod place;

use std::collections::HashMap;
use std::io::{self, IoSlice, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::net::unix::pipe as async_pipe;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::launch::Launch;
use crate::orphans;
use crate::process::{Exit, Pipes, Process};
use crate::spawner::{self, Tie};

pub(crate) use place::{KeptCell, Place};

/// Longest message in either direction.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// Pause before an interpreter is started again that ended before it had forked anything: the first one, and the longest.
const RESTART_MIN: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(60);
/// How long a busy interpreter may take to hear of a signal.
const SIGNAL_MAX: Duration = Duration::from_secs(5);
/// Lines of what an interpreter prints that are shown; it has nothing to say while all is well.
const LINES_MAX: usize = 20;

/// The warm interpreter of one environment.
#[derive(Debug)]
pub(crate) struct Warm {
    launch: Launch,
    running: tokio::sync::Mutex<Running>,
    /// Why it cannot be forked, where that is so whenever it is started.
    refusal: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Running {
    interpreter: Option<Interpreter>,
    /// Starts one after another of interpreters that ended before they had forked anything.
    failures: u32,
}

impl Warm {
    /// An interpreter that `launch` starts when it is needed.
    pub(crate) fn new(launch: Launch) -> Self {
        Self { launch, running: tokio::sync::Mutex::default(), refusal: OnceLock::new() }
    }

    /// A new process, forked from the interpreter. Its first line of input says where it runs. `scratch` is the number of
    /// the attempt's folder, `place` what an attempt before left in that folder.
    ///
    /// # Errors
    /// When there is no interpreter and none can be started, or it cannot fork.
    pub(crate) async fn fork(&self, scratch: u64, place: Option<Place>) -> io::Result<(Process, Pipes)> {
        let link = self.link().await?;
        if let Some(place) = place
            && let Some(forked) = place.take(&link).await
        {
            return Ok(forked);
        }
        let forked = fork(&link, Order::First, scratch).await;
        if let Some(threads) = link.state().threads {
            let _ = self.refusal.set(refusal(threads));
        }
        forked
    }

    /// Why it cannot be forked, where that is so for all attempts.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Starts the interpreter, so that the first step need not wait for it.
    pub(crate) async fn warm_up(&self) {
        if let Err(error) = self.link().await {
            tracing::warn!("no warm interpreter: {error}");
        }
    }

    async fn link(&self) -> io::Result<Arc<Link>> {
        if let Some(reason) = self.refusal() {
            return Err(io::Error::other(reason));
        }
        let mut running = self.running.lock().await;
        if let Some(interpreter) = &running.interpreter {
            if interpreter.link.is_open() {
                return Ok(Arc::clone(&interpreter.link));
            }
            let pause = RESTART_MAX.min(RESTART_MIN * 2_u32.saturating_pow(running.failures));
            if !interpreter.link.has_forked() && interpreter.started.elapsed() < pause {
                return Err(io::Error::other("it ended when it was started, and is started again in a while"));
            }
            running.failures = if interpreter.link.has_forked() { 0 } else { running.failures.saturating_add(1) };
        }
        let interpreter = Interpreter::start(&self.launch).await?;
        let link = Arc::clone(&interpreter.link);
        running.interpreter = Some(interpreter);
        Ok(link)
    }
}

/// A running interpreter; dropping it kills it, and all that was forked from it dies with it.
#[derive(Debug)]
struct Interpreter {
    pid: Pid,
    link: Arc<Link>,
    started: Instant,
    readers: Vec<AbortHandle>,
}

impl Interpreter {
    async fn start(launch: &Launch) -> io::Result<Self> {
        let (control, theirs) = messages()?;
        let (mut command, orders, tie) = match launch.broker_command() {
            Some(mut command) => {
                let (orders, brokers) = messages()?;
                command.stdout(Stdio::from(brokers));
                (command, Some(Wire::new(orders)?), Tie::Death)
            }
            None => {
                let mut command = launch.command();
                command.stdout(Stdio::null());
                (command, None, Tie::Own)
            }
        };
        command.stdin(Stdio::from(theirs)).stderr(Stdio::piped());
        let mut child = spawner::spawn(command, tie).await?;
        let stderr = child.stderr.take().map(OwnedFd::from);
        let link = Arc::new(Link::new(Wire::new(control)?, orders));
        if let Some(stderr) = stderr {
            // It ends with the last process that holds the other end.
            tokio::spawn(show(async_pipe::Receiver::from_owned_fd(stderr)?));
        }
        let mut readers = vec![tokio::spawn(read_messages(Arc::clone(&link), Link::control)).abort_handle()];
        if link.orders.is_some() {
            readers.push(tokio::spawn(read_messages(Arc::clone(&link), Link::orders)).abort_handle());
        }
        Ok(Self { pid: Pid::from_raw(child.id().cast_signed()), link, started: Instant::now(), readers })
    }
}

/// A socket for messages: our end, and theirs.
fn messages() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    // The other side waits for its messages by other means, but reads and writes them whole.
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))?;
    Ok((ours, theirs))
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
        self.link.close();
        orphans::discard_pid(self.pid);
    }
}

/// Our end of a socket for messages.
#[derive(Debug)]
struct Wire(AsyncFd<OwnedFd>);

impl Wire {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the value that is registered, and is closed with it.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }?))
    }

    fn try_send(&self, message: &[u8], descriptors: &[i32]) -> io::Result<()> {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let rights = if descriptors.is_empty() { &[] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(message)], rights, flags, None)?;
        Ok(())
    }

    async fn send(&self, message: &[u8], descriptors: &[i32]) -> io::Result<()> {
        self.0.async_io(Interest::WRITABLE, |_| self.try_send(message, descriptors)).await
    }

    async fn receive(&self) -> io::Result<String> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let read = |_: &OwnedFd| Ok(recv(self.0.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT)?);
        let count = self.0.async_io(Interest::READABLE, read).await?;
        Ok(String::from_utf8_lossy(&message[..count]).into_owned())
    }
}

/// The conversation with an interpreter, and with its broker where it has one.
#[derive(Debug)]
pub(crate) struct Link {
    control: Wire,
    /// To the broker, which makes a cell before the interpreter forks into it.
    orders: Option<Wire>,
    next_number: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    has_forked: bool,
    /// Threads of an interpreter that has too many to be forked.
    threads: Option<u32>,
    asked: HashMap<u64, Asked>,
    processes: HashMap<i32, Told>,
}

/// A process that was forked, and who is told of its end.
#[derive(Debug)]
struct Told {
    scratch: u64,
    end: watch::Sender<Option<End>>,
}

/// How a process ended that was forked.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) exit: Exit,
    /// The cell it was in, where nothing is left in there.
    pub(crate) cell: Option<Arc<KeptCell>>,
}

/// A process that was forked, and where its end will be told.
pub(crate) type Forked = (Pid, watch::Receiver<Option<End>>);

/// An order to fork: who waits for the answer, and in which folder the process will be.
#[derive(Debug)]
struct Asked {
    scratch: u64,
    answer: oneshot::Sender<io::Result<Forked>>,
}

/// In which cell a process is forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// A new one, where there is a broker.
    First,
    /// The one that is kept for this folder.
    Again,
    /// The same, for a step that is not there yet.
    Early,
}

impl Link {
    fn new(control: Wire, orders: Option<Wire>) -> Self {
        Self { control, orders, next_number: AtomicU64::new(0), state: Mutex::default() }
    }

    fn control(&self) -> &Wire {
        &self.control
    }

    /// Where orders to fork go: to the interpreter itself, unless somebody must make a cell first.
    fn orders(&self) -> &Wire {
        self.orders.as_ref().unwrap_or(&self.control)
    }

    /// Has the cell of a folder closed.
    fn close_cell(self: &Arc<Self>, scratch: u64) {
        let message = format!("close {scratch}");
        if !self.is_open() || self.control.try_send(message.as_bytes(), &[]).is_ok() {
            return;
        }
        let link = Arc::clone(self);
        // It is busy. Without a runtime this worker ends, and all cells with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { link.control.send(message.as_bytes(), &[]).await });
        }
    }

    /// Sends a signal to the group of a process that was forked, unless it has ended.
    pub(crate) fn signal(self: &Arc<Self>, pid: Pid, signal: Signal) {
        let message = format!("signal {pid} {}", signal as i32);
        if !self.is_open() || self.control.try_send(message.as_bytes(), &[]).is_ok() {
            return;
        }
        // The interpreter is busy or gone. Without a broker the number is the best we have, and it is still its own, for its end was
        // not told. With one it means nothing here: an interpreter that does not hear of it for too long goes as a whole, and takes
        // it along.
        match (&self.orders, tokio::runtime::Handle::try_current()) {
            (None, _) => drop(nix::sys::signal::killpg(pid, signal)),
            (Some(_), Err(_)) => self.close(),
            (Some(_), Ok(runtime)) => {
                let link = Arc::clone(self);
                runtime.spawn(async move {
                    let sent = tokio::time::timeout(SIGNAL_MAX, link.control.send(message.as_bytes(), &[])).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        link.close();
                    }
                });
            }
        }
    }

    fn is_open(&self) -> bool {
        !self.state().is_closed
    }

    fn has_forked(&self) -> bool {
        self.state().has_forked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one message; tells whether it made sense.
    fn take(self: &Arc<Self>, message: &str) -> Option<()> {
        let (word, rest) = message.split_once(' ')?;
        if word == "broken" {
            tracing::warn!("the warm interpreter's sandbox cannot be built: {rest}");
            return None;
        }
        if word == "threads" {
            let threads = rest.parse().ok()?;
            self.state().threads = Some(threads);
            tracing::warn!("{}", refusal(threads));
            return None;
        }
        let (subject, rest) = rest.split_once(' ')?;
        match word {
            "forked" => self.take_forked(subject.parse().ok()?, rest.parse().ok()?),
            "refused" => {
                let asked = self.state().asked.remove(&subject.parse().ok()?)?;
                let _ = asked.answer.send(Err(io::Error::other(format!("failed to fork: {rest}"))));
            }
            "ended" | "kept" => {
                let (status, cpu_ms) = rest.split_once(' ')?;
                let exit = exit(status.parse().ok()?, Duration::from_millis(cpu_ms.parse().ok()?));
                let told = self.state().processes.remove(&subject.parse().ok()?)?;
                let cell = (word == "kept").then(|| self.kept_cell(told.scratch));
                // Where nobody waits any more, the cell goes with the message.
                let _ = told.end.send(Some(End { exit, cell }));
            }
            _ => return None,
        }
        Some(())
    }

    fn kept_cell(self: &Arc<Self>, scratch: u64) -> Arc<KeptCell> {
        Arc::new(KeptCell::new(Arc::clone(self), scratch))
    }

    fn take_forked(self: &Arc<Self>, number: u64, pid: i32) {
        let (ended, end) = watch::channel(None);
        let asked = {
            let mut state = self.state();
            state.has_forked = true;
            let asked = state.asked.remove(&number);
            let scratch = asked.as_ref().map_or(u64::MAX, |asked| asked.scratch);
            state.processes.insert(pid, Told { scratch, end: ended });
            asked
        };
        let is_wanted = asked.is_some_and(|asked| asked.answer.send(Ok((Pid::from_raw(pid), end))).is_ok());
        if !is_wanted {
            self.signal(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// The interpreter is gone, and with it all that was forked from it.
    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // Whoever waits for an answer learns it from the sender's end.
        state.asked.clear();
        for (_, told) in state.processes.drain() {
            told.end.send_replace(Some(End { exit: Exit::Lost, cell: None }));
        }
    }
}

fn refusal(threads: u32) -> String {
    format!(
        "the interpreter has {threads} threads as soon as it starts, which come from a `.pth` file or a `sitecustomize` of its \
         packages: it cannot be forked, and each attempt has a fresh one"
    )
}

/// Shows what an interpreter prints: it has no other way to say what is wrong with it.
async fn show(stderr: async_pipe::Receiver) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    let mut shown = 0;
    while let Ok(Some(line)) = lines.next_segment().await {
        if shown < LINES_MAX {
            tracing::warn!("the warm interpreter says: {}", String::from_utf8_lossy(&line).escape_debug());
        }
        shown += 1;
    }
}

fn exit(status: i32, cpu: Duration) -> Exit {
    match status {
        code if code >= 0 => Exit::Code(code),
        signal if signal == -(Signal::SIGKILL as i32) => Exit::Killed { cpu },
        signal => Exit::Signal(-signal),
    }
}

async fn read_messages(link: Arc<Link>, wire: fn(&Link) -> &Wire) {
    while let Ok(message) = wire(&link).receive().await {
        if link.take(&message).is_none() {
            break;
        }
    }
    link.close();
}

async fn fork(link: &Arc<Link>, order: Order, scratch: u64) -> io::Result<(Process, Pipes)> {
    let (their_stdin, stdin) = pipe()?;
    let (stdout, their_stdout) = pipe()?;
    let (stderr, their_stderr) = pipe()?;
    let number = link.next_number.fetch_add(1, Ordering::Relaxed);
    let (asked, answer) = oneshot::channel();
    link.state().asked.insert(number, Asked { scratch, answer: asked });
    let descriptors = [their_stdin.as_raw_fd(), their_stdout.as_raw_fd(), their_stderr.as_raw_fd()];
    let (wire, word) = match order {
        Order::First => (link.orders(), "fork"),
        Order::Again => (&link.control, "again"),
        Order::Early => (&link.control, "early"),
    };
    wire.send(format!("{word} {number} {scratch}").as_bytes(), &descriptors).await?;
    let gone = |_| io::Error::other("the warm interpreter has ended");
    let (pid, end) = answer.await.map_err(gone)??;
    let pipes = Pipes {
        stdin: stdin.into(),
        stdout: async_pipe::Receiver::from_owned_fd(stdout.into())?,
        stderr: async_pipe::Receiver::from_owned_fd(stderr.into())?,
    };
    Ok((Process::forked(pid, Arc::clone(link), end), pipes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_waits_for_an_interpreter_that_is_busy() {
        let ((control, theirs), (orders, _broker)) = (messages().unwrap(), messages().unwrap());
        let link = Arc::new(Link::new(Wire::new(control).unwrap(), Some(Wire::new(orders).unwrap())));
        while link.control.try_send(b"close 1", &[]).is_ok() {}
        link.signal(Pid::from_raw(7), Signal::SIGKILL);
        assert!(link.is_open());
        let mut message = [0; MESSAGE_BYTES_MAX];
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match recv(theirs.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT) {
                Ok(count) if &message[..count] == b"signal 7 9" => break,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            assert!(Instant::now() < deadline, "the signal is lost");
        }
        assert!(link.is_open());
    }
}
