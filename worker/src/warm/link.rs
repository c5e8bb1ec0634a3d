//! The conversation with a warm interpreter, and with the broker of its cells where it has one.

use std::collections::HashMap;
use std::io::{self, IoSlice, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe as async_pipe;
use tokio::sync::{oneshot, watch};

use super::load::Loaded;
use super::{KeptCell, WarmId};
use crate::process::{Exit, Pipes, Process};

/// Longest message in either direction.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_024;
/// How long a busy interpreter may take to hear of a signal.
const SIGNAL_MAX: Duration = Duration::from_secs(5);

/// A socket for messages: our end, and theirs.
pub(super) fn messages() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    // The other side waits for its messages by other means, but reads and writes them whole.
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))?;
    Ok((ours, theirs))
}

/// Our end of a socket for messages.
#[derive(Debug)]
pub(super) struct Wire(AsyncFd<OwnedFd>);

impl Wire {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
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
        self.0.async_io(Interest::READABLE, |_| self.try_receive()).await
    }

    /// What is there by now; nothing (``) where no more will come.
    fn try_receive(&self) -> io::Result<String> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let mut read = || recv(self.0.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT);
        // Of one that ended with messages unread the kernel says so first, and once; what it had said itself comes after that.
        let count = match read() {
            Err(Errno::ECONNRESET) => read(),
            answer => answer,
        }?;
        Ok(String::from_utf8_lossy(&message[..count]).into_owned())
    }
}

/// The conversation with an interpreter, and with its broker where it has one.
#[derive(Debug)]
pub(crate) struct Link {
    /// Whose it is.
    pub(super) id: WarmId,
    control: Wire,
    /// To the broker, which makes a cell before the interpreter forks into it.
    pub(super) orders: Option<Wire>,
    next_number: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    has_forked: bool,
    /// Threads of an interpreter that has too many to be forked.
    threads: Option<u32>,
    /// Who waits for modules to be loaded.
    loading: Option<oneshot::Sender<Loaded>>,
    /// Memory for data of an interpreter that has loaded them.
    data_bytes: Option<u64>,
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
type Forked = (Pid, watch::Receiver<Option<End>>);

/// An order to fork: who waits for the answer, and in which folder the process will be.
#[derive(Debug)]
struct Asked {
    scratch: u64,
    answer: oneshot::Sender<io::Result<Forked>>,
}

/// In which cell a process is forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// A new one, where there is a broker.
    First,
    /// The one that is kept for this folder.
    Again,
    /// The same, for a step that is not there yet.
    Early,
}

impl Link {
    pub(super) fn new(id: WarmId, control: Wire, orders: Option<Wire>) -> Self {
        Self { id, control, orders, next_number: AtomicU64::new(0), state: Mutex::default() }
    }

    /// One that nobody is at the other end of.
    #[cfg(test)]
    pub(super) fn of_nobody(id: WarmId) -> Self {
        let (control, _) = messages().expect("a pair of sockets");
        Self::new(id, Wire::new(control).expect("a socket"), None)
    }

    pub(super) fn control(&self) -> &Wire {
        &self.control
    }

    /// Where orders to fork go: to the interpreter itself, unless somebody must make a cell first.
    pub(super) fn orders(&self) -> &Wire {
        self.orders.as_ref().unwrap_or(&self.control)
    }

    /// Has the cell of a folder closed.
    pub(super) fn close_cell(self: &Arc<Self>, scratch: u64) {
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

    pub(super) fn is_open(&self) -> bool {
        !self.state().is_closed
    }

    pub(super) fn has_forked(&self) -> bool {
        self.state().has_forked
    }

    /// Threads of an interpreter that has too many to be forked.
    pub(super) fn threads(&self) -> Option<u32> {
        self.state().threads
    }

    /// Memory for data of an interpreter that runs, with all modules that it was told to load.
    pub(super) fn loaded_bytes(&self) -> Option<u64> {
        let state = self.state();
        state.data_bytes.filter(|_| !state.is_closed)
    }

    /// Sends orders to load modules; their answer comes when the last one is carried out, or one cannot be.
    pub(super) async fn load(&self, orders: &[String]) -> oneshot::Receiver<Loaded> {
        let (loading, loaded) = oneshot::channel();
        self.state().loading = Some(loading);
        for order in orders {
            // One that has found an unfit module has answered, and ends before it has heard of the others.
            if self.control.send(order.as_bytes(), &[]).await.is_err() {
                break;
            }
        }
        loaded
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
            "loaded" => {
                let modules = subject.parse().ok()?;
                let mut state = self.state();
                state.data_bytes = Some(rest.parse().ok()?);
                // Nobody waits any more where it took too long.
                let _ = state.loading.take()?.send(Loaded::Modules(modules));
            }
            "unfit" | "late" => {
                let is_late = word == "late";
                let unfit = Loaded::Unfit { module: subject.to_owned(), reason: rest.to_owned(), is_late };
                let _ = self.state().loading.take()?.send(unfit);
                // It has been loaded all the same: this interpreter is not forked any more.
                return None;
            }
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
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.loading = None;
        // Whoever waits for an answer learns it from the sender's end.
        state.asked.clear();
        for (_, told) in state.processes.drain() {
            told.end.send_replace(Some(End { exit: Exit::Lost, cell: None }));
        }
    }
}

pub(super) fn refusal(threads: u32) -> String {
    format!(
        "the interpreter has {threads} threads as soon as it starts, which come from a `.pth` file or a `sitecustomize` of its \
         packages: it cannot be forked, and each attempt has a fresh one"
    )
}

fn exit(status: i32, cpu: Duration) -> Exit {
    match status {
        code if code >= 0 => Exit::Code(code),
        signal if signal == -(Signal::SIGKILL as i32) => Exit::Killed { cpu },
        signal => Exit::Signal(-signal),
    }
}

pub(super) async fn read_messages(link: Arc<Link>, wire: fn(&Link) -> &Wire) {
    while let Ok(message) = wire(&link).receive().await {
        if link.take(&message).is_none() {
            break;
        }
    }
    // A broker ends with its interpreter, and may be missed before the last words of that have been read.
    while link.control.try_receive().is_ok_and(|message| link.take(&message).is_some()) {}
    link.close();
}

/// A new process, forked as `order` says for the folder `scratch`.
pub(super) async fn fork(link: &Arc<Link>, order: Order, scratch: u64) -> io::Result<(Process, Pipes)> {
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
    use std::time::Instant;

    use nix::sys::socket::send;

    use super::*;

    #[tokio::test]
    async fn an_unfit_module_is_heard_of_although_the_interpreter_ends_before_it_has_all_orders() {
        for is_gone_before in [true, false] {
            let (control, theirs) = messages().unwrap();
            let link = Arc::new(Link::new(WarmId(0), Wire::new(control).unwrap(), None));
            let mut theirs = Some(theirs);
            let mut answer = || {
                let theirs = theirs.take().unwrap();
                send(theirs.as_raw_fd(), b"unfit wave is not fit", MsgFlags::empty()).unwrap();
            };
            if is_gone_before {
                answer();
            }
            let loaded = link.load(&["load wave".to_owned(), "loaded".to_owned()]).await;
            if !is_gone_before {
                answer();
            }
            read_messages(Arc::clone(&link), Link::control).await;
            let loaded = loaded.await.unwrap();
            assert!(matches!(&loaded, Loaded::Unfit { module, .. } if module == "wave"), "{loaded:?}");
            assert!(!link.is_open());
        }
    }

    #[tokio::test]
    async fn the_last_words_of_an_interpreter_are_heard_although_its_broker_is_missed_first() {
        let ((control, theirs), (orders, broker)) = (messages().unwrap(), messages().unwrap());
        let link = Arc::new(Link::new(WarmId(0), Wire::new(control).unwrap(), Some(Wire::new(orders).unwrap())));
        let loaded = link.load(&["load wave".to_owned(), "loaded".to_owned()]).await;
        send(theirs.as_raw_fd(), b"late wave starts threads", MsgFlags::empty()).unwrap();
        drop((theirs, broker));
        read_messages(Arc::clone(&link), Link::orders).await;
        let loaded = loaded.await.unwrap();
        assert!(matches!(&loaded, Loaded::Unfit { module, is_late: true, .. } if module == "wave"), "{loaded:?}");
        assert!(!link.is_open());
    }

    #[tokio::test]
    async fn a_signal_waits_for_an_interpreter_that_is_busy() {
        let ((control, theirs), (orders, _broker)) = (messages().unwrap(), messages().unwrap());
        let link = Arc::new(Link::new(WarmId(0), Wire::new(control).unwrap(), Some(Wire::new(orders).unwrap())));
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
