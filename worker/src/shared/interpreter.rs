//! One interpreter that runs many attempts at once, and the conversation with it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol::frame::{EndFrame, StartFrame};
use protocol::shared_frame::{FromShared, SharedStart, ToShared};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::log::Log;
use crate::orphans::Mark;
use crate::process::{Exit, Pipes, Process};
use crate::quota::{Excess, Quota};
use crate::scratch::Scratch;

/// Lines that may wait to be written to it.
const ORDERS_MAX: usize = 1_024;
/// Most that is kept of what the process prints outside of any attempt, in bytes: the end.
const STRAY_BYTES_MAX: usize = 4_096;
/// How often it tells of one that blocks it: `_BUSY_S` in `shared.py`.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for its last words when it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How an attempt in it ended.
#[derive(Debug)]
pub(crate) enum SharedEnding {
    /// The step returned or raised.
    Answer(Box<EndFrame>),
    /// It was cancelled, as the worker asked.
    Cancelled,
    /// The interpreter ended by itself, or had to be ended, under so many attempts.
    Crash { cause: Crash, attempts: usize },
    /// The worker ended the interpreter because of another attempt.
    Stopped,
}

/// What ended an interpreter.
#[derive(Debug, Clone)]
pub(crate) enum Crash {
    /// Its process ended; `None` where the system does not say how.
    Exit(Option<Exit>),
    /// It said something that it must not say.
    Protocol(String),
    /// It filled more of the disk than it may.
    Full(Excess),
}

/// An interpreter; dropping it kills it.
#[derive(Debug)]
pub(crate) struct SharedInterpreter {
    pub(crate) scratch: Scratch,
    orders: mpsc::Sender<Vec<u8>>,
    state: Arc<State>,
    stop: tokio_util::sync::CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    attempts: Mutex<Attempts>,
    next_number: AtomicU64,
    /// It takes no further attempts.
    is_retired: AtomicBool,
    /// The worker is ending it.
    is_stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct Attempts {
    running: HashMap<u64, Running>,
    /// The interpreter has ended, and all its attempts were told: nobody would end another.
    is_closed: bool,
    /// The one that blocked the interpreter when it was heard of last.
    busy: Option<u64>,
    /// When that was heard.
    busy_at: Option<Instant>,
    /// How long it was blocked in all.
    blocked: Duration,
}

impl Attempts {
    /// Takes note of an attempt that blocks the interpreter, which is told again and again for as long as it does.
    fn note_busy(&mut self, number: u64, now: Instant) {
        // It is told for the first time when it has lasted for as long as there is between two times.
        let since = self.busy_at.map(|at| now.saturating_duration_since(at));
        let time = since.filter(|since| *since < 2 * BUSY_PAUSE).unwrap_or(2 * BUSY_PAUSE);
        self.busy = Some(number);
        self.busy_at = Some(now);
        self.blocked += time;
        if let Some(running) = self.running.get_mut(&number) {
            running.blocking += time;
        }
    }
}

#[derive(Debug)]
struct Running {
    log: Log,
    ended: Option<oneshot::Sender<SharedEnding>>,
    /// How long the interpreter had been blocked before.
    blocked_before: Duration,
    /// How long this one has blocked it.
    blocking: Duration,
}

/// An attempt that was taken up.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) number: u64,
    /// What the interpreter is to be told.
    pub(crate) order: Vec<u8>,
    pub(crate) ending: oneshot::Receiver<SharedEnding>,
}

impl State {
    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one line; an error says what is wrong with it.
    fn take(&self, line: &[u8]) -> Result<(), serde_json::Error> {
        match serde_json::from_slice(line)? {
            FromShared::Log(printed) => {
                if let Some(running) = self.attempts().running.get_mut(&printed.number) {
                    running.log.push(printed.text.as_bytes(), OffsetDateTime::now_utc());
                }
            }
            FromShared::End(end) => {
                let ending = match end.frame {
                    Some(frame) => SharedEnding::Answer(Box::new(frame)),
                    None => SharedEnding::Cancelled,
                };
                let mut attempts = self.attempts();
                attempts.busy = None;
                let ended = attempts.running.get_mut(&end.number).and_then(|running| running.ended.take());
                // Nobody waits for one that was given up.
                let _ = ended.map(|ended| ended.send(ending));
            }
            FromShared::Busy(number) => self.attempts().note_busy(number, Instant::now()),
            FromShared::Retire(()) => self.is_retired.store(true, Ordering::SeqCst),
        }
        Ok(())
    }

    /// It has ended: all its attempts with it.
    fn close(&self, cause: &Crash, stray: &[u8]) {
        self.is_retired.store(true, Ordering::SeqCst);
        let mut attempts = self.attempts();
        attempts.is_closed = true;
        let count = attempts.running.len();
        for running in attempts.running.values_mut() {
            if !stray.is_empty() {
                running.log.note("the interpreter printed last:", OffsetDateTime::now_utc());
                running.log.push(stray, OffsetDateTime::now_utc());
            }
            let ending = if self.is_stopped.load(Ordering::SeqCst) {
                SharedEnding::Stopped
            } else {
                SharedEnding::Crash { cause: cause.clone(), attempts: count }
            };
            let _ = running.ended.take().map(|ended| ended.send(ending));
        }
    }
}

impl SharedInterpreter {
    /// Takes over a process that was started in `scratch`.
    pub(crate) fn new(
        started: (Process, Pipes),
        scratch: Scratch,
        mark: Mark,
        quota: Quota,
        frame_bytes_max: usize,
    ) -> Self {
        let (process, pipes) = started;
        let state = Arc::new(State::default());
        let stop = tokio_util::sync::CancellationToken::new();
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let writing = tokio::spawn(write(pipes.stdin, inbox));
        let folder = scratch.root().to_owned();
        let reading = Reading { state: Arc::clone(&state), stop: stop.clone(), quota, folder, frame_bytes_max };
        tokio::spawn(async move {
            reading.run(process, pipes.stdout, pipes.stderr).await;
            writing.abort();
            mark.sweep().await;
        });
        Self { scratch, orders, state, stop }
    }

    /// Whether it takes further attempts.
    pub(crate) fn is_open(&self) -> bool {
        !self.state.is_retired.load(Ordering::SeqCst)
    }

    /// Numbers that nothing else in its folder has.
    pub(crate) fn numbers(&self, count: usize) -> u64 {
        self.state.next_number.fetch_add(count as u64, Ordering::SeqCst)
    }

    /// Takes up an attempt, whose log grows from now on. It begins when its order is given: see [`Self::give`].
    ///
    /// # Errors
    /// When the interpreter has ended.
    pub(crate) fn take_up(
        &self,
        frame: StartFrame,
        environment: BTreeMap<String, String>,
        log: Log,
    ) -> io::Result<Begun> {
        let number = self.numbers(1);
        let order = line(&ToShared::Run(Box::new(SharedStart { number, frame, environment })))?;
        let (ended, ending) = oneshot::channel();
        let mut attempts = self.state.attempts();
        if attempts.is_closed {
            return Err(io::Error::other("the interpreter has ended"));
        }
        let (blocked_before, blocking) = (attempts.blocked, Duration::ZERO);
        attempts.running.insert(number, Running { log, ended: Some(ended), blocked_before, blocking });
        Ok(Begun { number, order, ending })
    }

    /// Gives it an order, as soon as it has read enough of those before.
    pub(crate) async fn give(&self, order: Vec<u8>) {
        // Where it cannot be given the interpreter has ended or is about to, and all its attempts hear of that.
        let _ = self.orders.send(order).await;
    }

    /// Asks for the end of an attempt; it answers when it is over.
    pub(crate) async fn cancel(&self, number: u64) {
        if let Ok(order) = line(&ToShared::Cancel(number)) {
            self.give(order).await;
        }
    }

    /// Whether another attempt than this one blocks it.
    pub(crate) fn is_blocked_by_another(&self, number: u64) -> bool {
        self.state.attempts().busy.is_some_and(|busy| busy != number)
    }

    /// How long others have kept an attempt from going on.
    pub(crate) fn held_up(&self, number: u64) -> Duration {
        let attempts = self.state.attempts();
        let Some(running) = attempts.running.get(&number) else { return Duration::ZERO };
        attempts.blocked.saturating_sub(running.blocked_before).saturating_sub(running.blocking)
    }

    /// Ends it, for one of its attempts does not end: the others are handed back.
    pub(crate) fn end(&self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        self.state.is_retired.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }

    /// The log of an attempt that is over.
    pub(crate) fn log(&self, number: u64) -> Option<Log> {
        self.state.attempts().running.remove(&number).map(|running| running.log)
    }
}

fn line(order: &ToShared) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    Ok(line)
}

impl Drop for SharedInterpreter {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Writes orders, as many at once as there are.
async fn write(stdin: OwnedFd, mut inbox: mpsc::Receiver<Vec<u8>>) {
    let Ok(mut stdin) = pipe::Sender::from_owned_fd(stdin) else { return };
    let mut lines = Vec::new();
    while inbox.recv_many(&mut lines, ORDERS_MAX).await > 0 {
        if stdin.write_all(&lines.concat()).await.is_err() {
            return;
        }
        lines.clear();
    }
}

struct Reading {
    state: Arc<State>,
    stop: tokio_util::sync::CancellationToken,
    /// What may be in its folder.
    quota: Quota,
    folder: PathBuf,
    frame_bytes_max: usize,
}

impl Reading {
    /// Reads until the process has ended, or is ended.
    async fn run(self, process: Process, mut stdout: pipe::Receiver, mut stderr: pipe::Receiver) {
        let mut stray = Vec::new();
        let fault = tokio::select! {
            reason = self.read(&mut stdout) => reason.map(Crash::Protocol),
            never = collect(&mut stderr, &mut stray) => match never {},
            excess = self.quota.exceeded(&self.folder) => Some(Crash::Full(excess)),
            () = self.stop.cancelled() => None,
        };
        // Its last words are in the pipe by the time that its output is closed.
        let _ = tokio::time::timeout(LAST_WORDS, collect(&mut stderr, &mut stray)).await;
        let cause = match fault {
            None if !self.stop.is_cancelled() => Crash::Exit(process.ended().await.ok()),
            fault => {
                process.signal(Signal::SIGKILL);
                fault.unwrap_or(Crash::Exit(None))
            }
        };
        self.state.close(&cause, &stray);
        process.finish().await;
    }

    /// Reads answers; `Some` says what was wrong with one, `None` that there are no more.
    async fn read(&self, stdout: &mut pipe::Receiver) -> Option<String> {
        let mut buffer: Vec<u8> = Vec::with_capacity(1 << 16);
        loop {
            match stdout.read_buf(&mut buffer).await {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
            let mut begin = 0;
            while let Some(length) = buffer[begin..].iter().position(|byte| *byte == b'\n') {
                if let Err(error) = self.state.take(&buffer[begin..begin + length]) {
                    return Some(format!("it answered something that is no frame: {error}"));
                }
                begin += length + 1;
            }
            buffer.drain(..begin);
            if buffer.len() > self.frame_bytes_max {
                return Some(format!("it answered with a line over the limit of {} bytes", self.frame_bytes_max));
            }
        }
    }
}

/// The end of what comes, for as long as it is polled.
async fn collect(stderr: &mut pipe::Receiver, stray: &mut Vec<u8>) -> std::convert::Infallible {
    let mut chunk = vec![0; 4_096];
    loop {
        match stderr.read(&mut chunk).await {
            Ok(count) if count > 0 => {
                stray.extend_from_slice(&chunk[..count]);
                let excess = stray.len().saturating_sub(STRAY_BYTES_MAX);
                stray.drain(..excess);
            }
            _ => std::future::pending::<()>().await,
        }
    }
}
