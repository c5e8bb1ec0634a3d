//! The warm interpreter of a worker, and the processes that are forked from it.
//!
//! A new interpreter takes tens of milliseconds, a fork of one that is there takes one or two. The protocol is told in
//! `runner-python/buelon/runner/warm.py`, its other end. The interpreter is started when it is first needed and again
//! when it has ended; it holds nothing of any step.

mod link;
mod load;
mod place;

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe as async_pipe;
use tokio::task::AbortHandle;

use crate::launch::Launch;
use crate::orphans;
use crate::process::{Pipes, Process};
use crate::spawner::{self, Tie};
use link::{Order, Wire, fork, messages, read_messages, refusal};

pub(crate) use link::{End, Link};
pub(crate) use place::{KeptCell, Place};

/// Pause before an interpreter is started again that ended before it had forked anything: the first one, and the longest.
const RESTART_MIN: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(60);
/// Lines of what an interpreter prints that are shown; it has nothing to say while all is well.
const LINES_MAX: usize = 20;

/// Which warm interpreter, of all that this process ever had; it is the same when that is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WarmId(u64);

/// The warm interpreter of one environment.
#[derive(Debug)]
pub(crate) struct Warm {
    id: WarmId,
    launch: Launch,
    running: tokio::sync::Mutex<Running>,
    /// The interpreter that has loaded the modules it was told to.
    loaded: Mutex<Weak<Link>>,
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
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let id = WarmId(COUNT.fetch_add(1, Ordering::Relaxed));
        Self { id, launch, running: tokio::sync::Mutex::default(), loaded: Mutex::default(), refusal: OnceLock::new() }
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
        if let Some(threads) = link.threads() {
            let _ = self.refusal.set(refusal(threads));
        }
        forked
    }

    pub(crate) fn id(&self) -> WarmId {
        self.id
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
        let interpreter = Interpreter::start(self.id, &self.launch).await?;
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
    async fn start(id: WarmId, launch: &Launch) -> io::Result<Self> {
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
        let link = Arc::new(Link::new(id, Wire::new(control)?, orders));
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

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.readers.iter().for_each(AbortHandle::abort);
        self.link.close();
        orphans::discard_pid(self.pid);
    }
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
