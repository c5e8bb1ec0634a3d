//! One interpreter that runs many attempts at once, and the conversation with it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
use crate::scratch::Scratch;

/// Lines that may wait to be written to it.
const ORDERS_MAX: usize = 1_024;
/// Most that is kept of what the process prints outside of any attempt, in bytes: the end.
const STRAY_BYTES_MAX: usize = 4_096;
/// Longest wait for its last words when it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How an attempt in it ended.
#[derive(Debug)]
pub(crate) enum SharedEnding {
    /// The step returned or raised.
    Answer(Box<EndFrame>),
    /// It was cancelled, as the worker asked.
    Cancelled,
    /// The interpreter ended by itself under so many attempts.
    Crash { exit: Option<Exit>, attempts: usize, reason: Option<String> },
    /// The worker ended the interpreter because of another attempt.
    Stopped,
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
    attempts: Mutex<HashMap<u64, Running>>,
    next_number: AtomicU64,
    /// It takes no further attempts.
    is_retired: AtomicBool,
    /// The worker is ending it.
    is_stopped: AtomicBool,
}

#[derive(Debug)]
struct Running {
    log: Log,
    ended: Option<oneshot::Sender<SharedEnding>>,
}

/// An attempt that was begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) number: u64,
    pub(crate) ending: oneshot::Receiver<SharedEnding>,
}

impl State {
    fn attempts(&self) -> MutexGuard<'_, HashMap<u64, Running>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one line; an error says what is wrong with it.
    fn take(&self, line: &[u8]) -> Result<(), serde_json::Error> {
        match serde_json::from_slice(line)? {
            FromShared::Log(printed) => {
                if let Some(running) = self.attempts().get_mut(&printed.number) {
                    running.log.push(printed.text.as_bytes(), OffsetDateTime::now_utc());
                }
            }
            FromShared::End(end) => {
                let ending = match end.frame {
                    Some(frame) => SharedEnding::Answer(Box::new(frame)),
                    None => SharedEnding::Cancelled,
                };
                let ended = self.attempts().get_mut(&end.number).and_then(|running| running.ended.take());
                // Nobody waits for one that was given up.
                let _ = ended.map(|ended| ended.send(ending));
            }
            FromShared::Retire(()) => self.is_retired.store(true, Ordering::SeqCst),
        }
        Ok(())
    }

    /// It has ended: all its attempts with it.
    fn close(&self, exit: Option<Exit>, reason: Option<&str>, stray: &[u8]) {
        self.is_retired.store(true, Ordering::SeqCst);
        let mut attempts = self.attempts();
        let count = attempts.len();
        for running in attempts.values_mut() {
            if !stray.is_empty() {
                running.log.note("the interpreter printed last:", OffsetDateTime::now_utc());
                running.log.push(stray, OffsetDateTime::now_utc());
            }
            let ending = if self.is_stopped.load(Ordering::SeqCst) {
                SharedEnding::Stopped
            } else {
                SharedEnding::Crash { exit, attempts: count, reason: reason.map(str::to_owned) }
            };
            let _ = running.ended.take().map(|ended| ended.send(ending));
        }
    }
}

impl SharedInterpreter {
    /// Takes over a process that was started in `scratch`.
    pub(crate) fn new(started: (Process, Pipes), scratch: Scratch, mark: Mark, frame_bytes_max: usize) -> Self {
        let (process, pipes) = started;
        let state = Arc::new(State::default());
        let stop = tokio_util::sync::CancellationToken::new();
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let writing = tokio::spawn(write(pipes.stdin, inbox));
        let reading = Reading { state: Arc::clone(&state), stop: stop.clone(), frame_bytes_max };
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

    /// Begins an attempt, whose log grows in the meantime.
    pub(crate) async fn begin(
        &self,
        frame: StartFrame,
        environment: BTreeMap<String, String>,
        log: Log,
    ) -> io::Result<Begun> {
        let number = self.numbers(1);
        let (ended, ending) = oneshot::channel();
        self.state.attempts().insert(number, Running { log, ended: Some(ended) });
        let begun = Begun { number, ending };
        self.send(&ToShared::Run(Box::new(SharedStart { number, frame, environment }))).await?;
        if !self.is_open() {
            // It may have ended between the look and the order, and nobody would answer.
            let is_gone = self.orders.is_closed();
            if is_gone {
                return Err(io::Error::other("the interpreter has ended"));
            }
        }
        Ok(begun)
    }

    /// Asks for the end of an attempt; it answers when it is over.
    pub(crate) async fn cancel(&self, number: u64) {
        // Where the order cannot be sent the interpreter has ended, which is an answer too.
        let _ = self.send(&ToShared::Cancel(number)).await;
    }

    /// Ends it, for one of its attempts does not end: the others are handed back.
    pub(crate) fn end(&self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        self.state.is_retired.store(true, Ordering::SeqCst);
        self.stop.cancel();
    }

    /// The log of an attempt that is over.
    pub(crate) fn log(&self, number: u64) -> Option<Log> {
        self.state.attempts().remove(&number).map(|running| running.log)
    }

    async fn send(&self, order: &ToShared) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.send(line).await.map_err(|_| io::Error::other("the interpreter has ended"))
    }
}

impl Drop for SharedInterpreter {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Writes orders, as many at once as there are.
async fn write(mut stdin: pipe::Sender, mut inbox: mpsc::Receiver<Vec<u8>>) {
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
    frame_bytes_max: usize,
}

impl Reading {
    /// Reads until the process has ended, or is ended.
    async fn run(self, process: Process, mut stdout: pipe::Receiver, mut stderr: pipe::Receiver) {
        let mut stray = Vec::new();
        let reason = tokio::select! {
            reason = self.read(&mut stdout) => reason,
            never = collect(&mut stderr, &mut stray) => match never {},
            () = self.stop.cancelled() => None,
        };
        // Its last words are in the pipe by the time that its output is closed.
        let _ = tokio::time::timeout(LAST_WORDS, collect(&mut stderr, &mut stray)).await;
        let exit = if reason.is_some() || self.stop.is_cancelled() {
            process.signal(Signal::SIGKILL);
            None
        } else {
            process.ended().await.ok()
        };
        self.state.close(exit, reason.as_deref(), &stray);
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
