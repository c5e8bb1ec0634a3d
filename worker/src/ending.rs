//! The error of an attempt whose process did not answer as it should, in a sentence that names the step.

use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::api::Lease;
use protocol::frame::EndFrame;
use protocol::{ErrorKind, Language, Step, StepError};
use sandbox::Bounds;

use crate::log::Log;
use crate::process::Exit;
use crate::quota::Excess;
use crate::step_process::Ending;

/// What programs and libraries print that give up for lack of memory, instead of telling who called them.
const LACKS_MEMORY: [&str; 3] = ["Memory allocation still failed", "std::bad_alloc", "memory allocation of "];
/// What bounds the disk space of a step.
const SCRATCH_SETTING: &str = "BUE_STEP_SCRATCH_BYTES_MAX";

/// The same ending, told as what it is where the kernel killed a process that had been on a processor for too long, and that
/// did not heed the polite signal about it.
pub(crate) fn by_bound(ending: Ending, bounds: Bounds) -> Ending {
    match (ending, bounds.cpu_ms.map(Duration::from_millis)) {
        (Ending::Exit(Exit::Killed { cpu }), Some(most)) if cpu >= most => {
            Ending::Exit(Exit::Signal(Signal::SIGXCPU as i32))
        }
        (other, _) => other,
    }
}

/// The same ending, told as what it is where the program gave up, and printed why: for lack of memory, as most do, or not.
pub(crate) fn by_log(ending: Ending, log: &Log) -> Ending {
    match ending {
        Ending::Exit(Exit::Code(1..)) if LACKS_MEMORY.iter().any(|words| log.says(words)) => Ending::LacksMemory,
        Ending::Exit(Exit::Signal(number))
            if number == Signal::SIGABRT as i32 && log.says("terminate called") && !log.says("bad_alloc") =>
        {
            Ending::Aborted
        }
        other => other,
    }
}

/// The error of an attempt whose sandbox could not be built.
pub(crate) fn not_started(step: &Step, lease: &Lease) -> StepError {
    let message = format!(
        "step `{}` ({}, attempt {}) could not be started in its sandbox; its log says why",
        step.name, lease.job, lease.attempt
    );
    StepError::new(ErrorKind::Start, message)
}

/// The error for every ending but a result.
pub(crate) fn error(ending: Ending, step: &Step, lease: &Lease) -> StepError {
    let who = format!("step `{}` ({}, attempt {})", step.name, lease.job, lease.attempt);
    let (kind, message) = match ending {
        Ending::Answer(EndFrame::Error(frame)) => return frame.into(),
        Ending::Answer(EndFrame::Result(_)) | Ending::Stopped => (ErrorKind::Protocol, format!("{who} was stopped")),
        Ending::Garbage(excerpt) => {
            (ErrorKind::Protocol, format!("{who} answered something that is no frame: \"{excerpt}\""))
        }
        Ending::TooLong { bytes_max } => {
            (ErrorKind::Protocol, format!("{who} answered with a line over the limit of {bytes_max} bytes"))
        }
        Ending::Exit(Exit::Code(code)) => {
            (ErrorKind::Exit, format!("{who} ended with exit code {code} before it returned"))
        }
        Ending::Exit(Exit::Signal(number)) if number == Signal::SIGXCPU as i32 => {
            let message = format!("{who} used more time on a processor than it may; `!cpu` sets how much");
            (ErrorKind::Cpu, message)
        }
        Ending::Exit(Exit::Signal(number)) if number == Signal::SIGXFSZ as i32 => {
            let message = format!("{who} wrote a larger file than it may; {SCRATCH_SETTING} sets how much");
            (ErrorKind::Disk, message)
        }
        Ending::Full(Excess(what)) => {
            let message = format!(
                "{who} has {what} in its scratch folder; {SCRATCH_SETTING} and BUE_STEP_SCRATCH_FILES_MAX set how much it may have"
            );
            (ErrorKind::Disk, message)
        }
        Ending::Exit(Exit::Killed { .. }) => {
            (ErrorKind::Signal, format!("{who} was ended by {}", signal_name(Signal::SIGKILL as i32)))
        }
        Ending::OutOfMemory => {
            let message = format!(
                "{who} was ended by the kernel, which had no memory left: `!memory` sets how much each process of a step may use, \
                 BUE_WORKER_STEPS_MEMORY_BYTES_MAX how much all steps of a worker may"
            );
            (ErrorKind::Memory, message)
        }
        Ending::LacksMemory => {
            let message =
                format!("{who} gave up for lack of memory, as its log says; `!memory` sets how much it may use");
            (ErrorKind::Memory, message)
        }
        Ending::Aborted => {
            (ErrorKind::Signal, format!("{who} was ended by its own program, at an error that its log names"))
        }
        // The programs of databases give up so, and are not able to say more.
        Ending::Exit(Exit::Signal(number)) if number == Signal::SIGABRT as i32 && step.language != Language::Python => {
            let message = format!(
                "{who} was ended by {}, as happens where no memory is left for it; `!memory` sets how much it may use",
                signal_name(number)
            );
            (ErrorKind::Memory, message)
        }
        Ending::Exit(Exit::Signal(number)) => {
            (ErrorKind::Signal, format!("{who} was ended by {}", signal_name(number)))
        }
        Ending::Exit(Exit::Lost) => (ErrorKind::Start, format!("{who} ended with the interpreter it was forked from")),
        Ending::Timeout => {
            let seconds = step.settings.timeout_ms as f64 / 1_000.0;
            (ErrorKind::Timeout, format!("{who} took longer than its timeout of {seconds} s"))
        }
        Ending::Fault(error) => (ErrorKind::Start, format!("{who} could not be started: {error}")),
    };
    StepError::new(kind, message)
}

fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("signal {number} ({signal})"),
        Err(_) => format!("signal {number}"),
    }
}
