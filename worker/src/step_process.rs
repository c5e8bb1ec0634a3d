//! One conversation with the process of a step: the start frame in, its log and its end frame out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::signal::Signal;
use protocol::frame::{DraftFrame, EndFrame, OutputPlace};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::attempt::End;
use crate::config::Limits;
use crate::log::Log;
use crate::process::{Exit, Pipes, Process};
use crate::quota::Excess;
use crate::warm::KeptCell;

/// What every pipe takes at once.
const ATOMIC_BYTES: usize = nix::libc::PIPE_BUF;
/// Bytes for which there is room where a line begins.
const LINE_BYTES: usize = 4 * 1_024;
/// Most bytes of a log that are read at once.
const CHUNK_BYTES: usize = 16 * 1_024;

/// How a conversation ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The process answered.
    Answer(EndFrame),
    /// It answered something that is no frame.
    Garbage(String),
    /// Its answer was longer than the limit.
    TooLong { bytes_max: usize },
    /// It ended before it answered.
    Exit(Exit),
    /// The kernel ended it for lack of memory.
    OutOfMemory,
    /// It gave up for lack of memory, which its log names.
    LacksMemory,
    /// It gave up at an error of its own, which its log names.
    Aborted,
    /// Its time was over.
    Timeout,
    /// It filled more of the disk than it may.
    Full(Excess),
    /// It was stopped from outside: revoked, or handed back.
    Stopped,
    /// It could not be started, or the system failed underneath.
    Fault(io::Error),
}

impl Ending {
    /// Whether it is an answer to which nothing is added: no file belongs to it, or one with a table, which is copied at once.
    fn is_whole(&self) -> bool {
        let Self::Answer(EndFrame::Result(result)) = self else { return false };
        let is_whole = |place: &OutputPlace| matches!(place, OutputPlace::Json(_) | OutputPlace::ArrowFile(_));
        result.value.as_ref().is_none_or(|value| is_whole(&value.place))
    }
}

/// What came of the process, and what it printed.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) ending: Ending,
    pub(crate) log: Log,
    pub(crate) rest: Rest,
}

/// What is left of the process.
#[derive(Debug)]
pub(crate) enum Rest {
    /// Nothing but its cell, where that can be used again.
    Cell(Option<Arc<KeptCell>>),
    /// It has answered, which is the last thing it does, and is about to end.
    Process(Process),
}

impl Rest {
    /// Waits for the end of what is left, or makes it end after `grace`.
    pub(crate) async fn cleared(self, grace: Duration) -> Option<Arc<KeptCell>> {
        match self {
            Self::Cell(cell) => cell,
            Self::Process(process) => {
                if tokio::time::timeout(grace, process.ended()).await.is_err() {
                    tracing::warn!("the process of a step did not end after its answer and is killed");
                }
                process.finish().await
            }
        }
    }
}

/// What a conversation is held to.
pub(crate) struct Terms<'w> {
    pub(crate) timeout: Duration,
    /// Whether what the process leaves behind must be gone before its outcome counts.
    pub(crate) is_lasting: bool,
    pub(crate) limits: &'w Limits,
    /// Called whenever the process says how far it has written the table that it will return.
    pub(crate) written: &'w (dyn Fn(&DraftFrame) + Sync),
}

/// Gives a process that has just been started its input, and waits for its answer and its end: not for its end where it has
/// said all and can leave nothing behind.
pub(crate) async fn run(
    started: io::Result<(Process, Pipes)>,
    input: Vec<u8>,
    terms: Terms<'_>,
    end: &End,
    mut log: Log,
    filled: impl Future<Output = Excess>,
) -> Conversation {
    let Terms { timeout, is_lasting, limits, written } = terms;
    let (process, pipes) = match started {
        Ok(started) => started,
        Err(error) => return Conversation { ending: Ending::Fault(error), log, rest: Rest::Cell(None) },
    };
    let Pipes { stdin, mut stdout, stderr } = pipes;
    let feeding = feed(stdin, input);
    let mut printed = Printed { pipe: stderr, chunk: Vec::new() };
    let ending = tokio::select! {
        ending = converse(&process, &mut stdout, limits, written) => ending,
        never = printed.collect(&mut log) => match never {},
        () = tokio::time::sleep(timeout) => Ending::Timeout,
        () = end.wait() => Ending::Stopped,
        excess = filled => Ending::Full(excess),
    };
    if !is_lasting && ending.is_whole() {
        // What it printed came before its answer.
        printed.collect_rest(&mut log);
        return Conversation { ending, log, rest: Rest::Process(process) };
    }
    if let Some(note) = settle_down(&process, &ending, &mut printed, &mut log, limits).await {
        log.note(note, OffsetDateTime::now_utc());
    }
    let cell = process.finish().await;
    if let Some(feeding) = feeding {
        feeding.abort();
    }
    printed.collect_rest(&mut log);
    Conversation { ending, log, rest: Rest::Cell(cell) }
}

/// Writes the input: at once where the pipe, which is empty, surely takes it, as with most. A process that does not read it is noticed
/// by its end, not here.
fn feed(stdin: OwnedFd, input: Vec<u8>) -> Option<JoinHandle<()>> {
    if input.len() <= ATOMIC_BYTES {
        let _ = nix::unistd::write(&stdin, &input);
        return None;
    }
    Some(tokio::spawn(async move {
        if let Ok(mut stdin) = pipe::Sender::from_owned_fd(stdin) {
            let _ = stdin.write_all(&input).await;
        }
    }))
}

/// Reads the answer; where there is none, the process's end is the answer.
async fn converse(
    process: &Process,
    stdout: &mut pipe::Receiver,
    limits: &Limits,
    written: &(dyn Fn(&DraftFrame) + Sync),
) -> Ending {
    let mut lines = Lines { pipe: stdout, came: BytesMut::with_capacity(LINE_BYTES) };
    let mut line = lines.next(limits.frame_bytes_max).await;
    while let Ok(Line::Whole(said)) = &line
        && let Ok(draft) = serde_json::from_slice(said)
    {
        written(&draft);
        // Many of them may be there at once.
        tokio::task::consume_budget().await;
        line = lines.next(limits.frame_bytes_max).await;
    }
    match line {
        Ok(Line::Whole(line)) => match serde_json::from_slice(&line) {
            Ok(frame) => Ending::Answer(frame),
            Err(_) => Ending::Garbage(excerpt(&line)),
        },
        Ok(Line::TooLong) => Ending::TooLong { bytes_max: limits.frame_bytes_max },
        Ok(Line::Broken(rest)) => match process.ended().await {
            Ok(Exit::Code(0)) if !rest.is_empty() => Ending::Garbage(excerpt(&rest)),
            Ok(exit) => Ending::Exit(exit),
            Err(error) => Ending::Fault(error),
        },
        Err(error) => Ending::Fault(error),
    }
}

/// After the ending is known: lets the process end by itself or makes it; returns a word for the log.
async fn settle_down(
    process: &Process,
    ending: &Ending,
    printed: &mut Printed,
    log: &mut Log,
    limits: &Limits,
) -> Option<&'static str> {
    let ended = async {
        match ending {
            Ending::Answer(_) => match tokio::time::timeout(limits.exit_grace, process.ended()).await {
                Ok(_) => None,
                Err(_) => Some("the process did not end after its answer and was killed"),
            },
            Ending::Exit(_) | Ending::OutOfMemory | Ending::LacksMemory | Ending::Aborted | Ending::Fault(_) => None,
            Ending::Timeout | Ending::Stopped => {
                let _ = process.stop(limits.stop_grace).await;
                None
            }
            Ending::Garbage(_) | Ending::TooLong { .. } | Ending::Full(_) => {
                process.signal(Signal::SIGKILL);
                None
            }
        }
    };
    tokio::select! {
        note = ended => note,
        never = printed.collect(log) => match never {},
    }
}

enum Line {
    Whole(BytesMut),
    /// The stream ended within a line.
    Broken(BytesMut),
    TooLong,
}

/// What a process writes, line by line.
struct Lines<'p> {
    pipe: &'p mut pipe::Receiver,
    /// What came and is not taken yet.
    came: BytesMut,
}

impl Lines<'_> {
    async fn next(&mut self, bytes_max: usize) -> io::Result<Line> {
        let mut looked_at = 0;
        loop {
            if let Some(place) = self.came[looked_at..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.came.split_to(looked_at + place + 1);
                line.truncate(looked_at + place);
                return Ok(if line.len() > bytes_max { Line::TooLong } else { Line::Whole(line) });
            }
            if self.came.len() > bytes_max {
                return Ok(Line::TooLong);
            }
            looked_at = self.came.len();
            self.came.reserve(LINE_BYTES.max(if self.came.capacity() == looked_at { looked_at } else { 0 }));
            if self.pipe.read_buf(&mut self.came).await? == 0 {
                return Ok(Line::Broken(std::mem::take(&mut self.came)));
            }
        }
    }
}

/// What a step prints. Most steps print nothing, and cost no memory for it.
struct Printed {
    pipe: pipe::Receiver,
    chunk: Vec<u8>,
}

impl Printed {
    /// Moves it into the log, for as long as it is polled.
    async fn collect(&mut self, log: &mut Log) -> std::convert::Infallible {
        while self.pipe.readable().await.is_ok() {
            match self.take(log) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                Ok(0) => break,
                _ => {}
            }
        }
        // No more will come; the end of the process is another's matter.
        std::future::pending().await
    }

    /// What is in the pipe when the process is gone. It never waits: a stray process may hold the other end.
    fn collect_rest(&mut self, log: &mut Log) {
        // The pipe holds 64 KiB at most, unless somebody still writes.
        for _ in 0..16 {
            if !matches!(self.take(log), Ok(count) if count > 0) {
                return;
            }
        }
    }

    /// Takes one chunk of what is there; answers with its length.
    fn take(&mut self, log: &mut Log) -> io::Result<usize> {
        self.chunk.clear();
        self.chunk.reserve(CHUNK_BYTES);
        let count = self.pipe.try_read_buf(&mut self.chunk)?;
        if count > 0 {
            log.push(&self.chunk, OffsetDateTime::now_utc());
        }
        Ok(count)
    }
}

/// The beginning of what came, fit to be shown.
fn excerpt(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes).chars().take(120).collect();
    text.escape_debug().to_string()
}
