//! One attempt in a shared interpreter.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bucket::value::{Effort, Writer};
use protocol::api::{Lease, PlanAnswer};
use protocol::frame::{EndFrame, Input};
use protocol::{Digest, ErrorKind, Outcome, Step, StepError};

use super::interpreter::{Begun, Crash, SharedEnding, SharedInterpreter};
use super::{Key, Slot};
use crate::assignment::Assignment;
use crate::attempt::{Attempts, End, SHUTDOWN};
use crate::descriptors::is_shortage;
use crate::done::Done;
use crate::ending;
use crate::held::StepIs;
use crate::hub::Hub;
use crate::launch::own_variables;
use crate::log::Log;
use crate::orphans::Mark;
use crate::process::{Exit, Process};
use crate::step_process::Ending;
use crate::trouble::Trouble;
use crate::variables::Declared;

impl<H: Hub> Attempts<H> {
    /// Carries out a lease in an interpreter that it shares with others.
    pub(crate) async fn run_shared(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        end: &End,
    ) -> Result<Done, Trouble> {
        let declared = self.declared(lease, step, end).await?;
        let slot = self.shared_interpreters.slot(key(lease, step, &declared));
        let interpreter = self.shared_interpreter(&slot, lease, plan, step, &declared, end).await?;
        drop(slot);
        let scratch = &interpreter.scratch;
        let root = self.root_in(scratch);
        let environment = self.environments.own();
        let engines = &self.shared.config.engines;
        let assignment = Assignment::new(lease, (plan, step), (root, scratch), environment, engines);
        let (inputs, files) = self.shared_inputs(&assignment, &interpreter, end).await?;
        let frame = assignment.start_frame(inputs, &self.shared.config)?;
        let log = self.log(self.live_log(lease), &declared);
        let begun = interpreter.take_up(frame, own_variables(lease), log);
        let mut begun = begun.map_err(|error| Trouble::Away(format!("a shared interpreter: {error}")))?;
        self.shared.held.note(lease.token, StepIs::Running);
        let ending = self.wait(&interpreter, &mut begun, (step, lease), end).await;
        self.shared.held.note(lease.token, StepIs::Idle);
        for file in files {
            // What is left goes with the interpreter's folder.
            let _ = std::fs::remove_file(file);
        }
        let log = interpreter.log(begun.number).unwrap_or_else(|| Log::new(0));
        let outcome = match ending {
            Ended::Answer(EndFrame::Result(result)) => {
                let folder = scratch.values();
                let copied = self.copied(&result, &folder, Writer::Unknown, None).await;
                match self.outcome(lease, result, &folder, (copied.as_ref(), Effort::Full), end).await {
                    Ok(outcome) => outcome,
                    Err(Trouble::Step(error)) => Outcome::Error(error),
                    Err(Trouble::Stopped) => stopped(),
                    Err(trouble) => return Err(trouble),
                }
            }
            Ended::Answer(EndFrame::Error(frame)) if frame.kind == ErrorKind::Away => {
                return Err(self.away(step, frame));
            }
            Ended::Answer(EndFrame::Error(frame)) => Outcome::Error(frame.into()),
            Ended::Error(error) => Outcome::Error(error),
            Ended::HandedBack(reason, delay) => Done::release(&reason, delay).outcome,
            Ended::Stopped => stopped(),
        };
        Ok(Done { outcome: declared.hide(outcome), log: self.keep_log(lease, log, end).await, left: None })
    }

    /// The interpreter that takes attempts now, started where there is none.
    async fn shared_interpreter(
        &self,
        slot: &Slot,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        declared: &Declared,
        end: &End,
    ) -> Result<Arc<SharedInterpreter>, Trouble> {
        let mut kept = tokio::select! {
            kept = slot.lock() => kept,
            () = end.wait() => return Err(Trouble::Stopped),
        };
        if let Some(interpreter) = kept.as_ref().filter(|interpreter| interpreter.is_open()) {
            return Ok(Arc::clone(interpreter));
        }
        let interpreter = Arc::new(self.start_shared(lease, plan, step, declared, end).await?);
        *kept = Some(Arc::clone(&interpreter));
        Ok(interpreter)
    }

    async fn start_shared(
        &self,
        lease: &Lease,
        plan: &PlanAnswer,
        step: &Step,
        declared: &Declared,
        end: &End,
    ) -> Result<SharedInterpreter, Trouble> {
        let scratch = self.make_scratch()?;
        let root = self.place_files(plan, &scratch, &[], end).await?;
        self.hand_over(&scratch)?;
        let (environment, _) = self.environment(lease, plan, step, &root, end).await?;
        // Marks are unique in this process, and this one is not of the attempt alone.
        let mark = Mark::new(format!("shared-{}", protocol::Digest::of(&lease.token.0)));
        let engines = &self.shared.config.engines;
        let assignment = Assignment::new(lease, (plan, step), (root, &scratch), environment, engines);
        let mut launch = self.launch(&assignment, &mark)?;
        launch.arguments = self.shared_arguments();
        own_variables(lease).keys().for_each(|name| drop(launch.environment.remove(std::ffi::OsStr::new(name))));
        launch.environment.extend(declared.variables.clone());
        let started = Process::start(launch.command()).await;
        let started = started.map_err(|error| match is_shortage(&error) {
            true => self.shortage(&error),
            false => Trouble::Step(ending::error(Ending::Fault(error), step, lease)),
        })?;
        let limits = &self.shared.config.limits;
        let quota = self.enclosure.quota(step, limits);
        Ok(SharedInterpreter::new(started, scratch, mark, quota, limits.frame_bytes_max))
    }

    /// Arguments, and the files among them, which are removed when the attempt is over.
    async fn shared_inputs(
        &self,
        assignment: &Assignment<'_>,
        interpreter: &SharedInterpreter,
        end: &End,
    ) -> Result<(Vec<Input>, Vec<PathBuf>), Trouble> {
        let given = &assignment.lease.inputs;
        let first = usize::try_from(interpreter.numbers(given.len())).unwrap_or(usize::MAX);
        let folder = assignment.scratch.inputs();
        let (mut inputs, mut files) = (Vec::with_capacity(given.len()), Vec::new());
        for (number, value) in given.iter().enumerate() {
            let input = self.input(first + number, value, &folder, end).await?;
            if let Input::JsonFile(path) | Input::ArrowFile(path) = &input {
                files.push(path.clone());
            }
            inputs.push(assignment.seen_input(input));
        }
        Ok((inputs, files))
    }

    /// Waits for the end of an attempt, and brings it about where it is time.
    async fn wait(
        &self,
        interpreter: &SharedInterpreter,
        begun: &mut Begun,
        (step, lease): (&Step, &Lease),
        end: &End,
    ) -> Ended {
        // An interpreter that is busy takes no orders, and its attempts' time passes all the same.
        let (order, number) = (std::mem::take(&mut begun.order), begun.number);
        let run = async {
            interpreter.give(order).await;
            (&mut begun.ending).await
        };
        let cause = tokio::select! {
            ending = run => return self.ended(ending.ok(), step, lease),
            () = its_time_is_over(interpreter, number, Duration::from_millis(step.settings.timeout_ms)) => Cause::Timeout,
            () = end.wait() => Cause::Outside,
        };
        let over = async {
            interpreter.cancel(begun.number).await;
            (&mut begun.ending).await.ok()
        };
        let over = tokio::time::timeout(self.shared.config.limits.stop_grace, over).await;
        let is_stuck = !matches!(over, Ok(Some(SharedEnding::Answer(_) | SharedEnding::Cancelled)));
        if is_stuck {
            // It blocks its interpreter, or does not let itself be cancelled.
            interpreter.end();
        }
        match cause {
            Cause::Outside => Ended::Stopped,
            // Its time passed while it was kept waiting.
            Cause::Timeout if is_stuck && interpreter.is_blocked_by_another(begun.number) => held_up(),
            Cause::Timeout => Ended::Error(timeout(step)),
        }
    }
}

impl<H: Hub> Attempts<H> {
    fn ended(&self, ending: Option<SharedEnding>, step: &Step, lease: &Lease) -> Ended {
        match ending {
            Some(SharedEnding::Answer(frame)) => Ended::Answer(*frame),
            // Nobody asked for it: the step cancelled itself.
            Some(SharedEnding::Cancelled) => {
                let message = format!("CancelledError: step `{}` was cancelled by its own code", step.name);
                Ended::Error(StepError::new(ErrorKind::Exception, message))
            }
            // It never began.
            Some(SharedEnding::Crash { cause: Crash::Exit(Some(Exit::Signal(number))), .. })
                if self.enclosure.means_shortage(number) =>
            {
                let reason = "the worker has too little to start an interpreter";
                Ended::HandedBack(reason.to_owned(), self.shared.config.limits.release_delay)
            }
            Some(SharedEnding::Crash { cause, attempts }) => Ended::Error(self.crash(step, lease, cause, attempts)),
            Some(SharedEnding::Stopped) => held_up(),
            None => Ended::HandedBack("the shared interpreter has ended".to_owned(), Duration::ZERO),
        }
    }

    fn crash(&self, step: &Step, lease: &Lease, cause: Crash, attempts: usize) -> StepError {
        let of_interpreter = |reason: &str| {
            StepError::new(ErrorKind::Protocol, format!("the interpreter of step `{}`: {reason}", step.name))
        };
        let error = match cause {
            Crash::Exit(Some(exit)) => {
                let bounds = self.enclosure.bounds(step, &self.shared.config.limits);
                ending::error(self.seen_closer(ending::by_bound(Ending::Exit(exit), bounds)), step, lease)
            }
            Crash::Exit(None) => of_interpreter("it has ended"),
            Crash::Protocol(reason) => of_interpreter(&reason),
            Crash::Full(excess) => ending::error(Ending::Full(excess), step, lease),
        };
        let others = match attempts.saturating_sub(1) {
            0 => return error,
            1 => "1 other attempt".to_owned(),
            others => format!("{others} other attempts"),
        };
        let message = format!("{}; {others} shared its interpreter and ended with it", error.message);
        StepError { message, ..error }
    }
}

/// Waits until an attempt has had its time, not counting that for which others kept it from going on.
async fn its_time_is_over(interpreter: &SharedInterpreter, number: u64, time: Duration) {
    let begun = tokio::time::Instant::now();
    let mut held_up = Duration::ZERO;
    loop {
        tokio::time::sleep_until(begun + time + held_up).await;
        let meanwhile = interpreter.held_up(number);
        if meanwhile <= held_up {
            return;
        }
        held_up = meanwhile;
    }
}

/// Why an attempt is ended before it ends by itself.
enum Cause {
    Timeout,
    Outside,
}

/// How it ended, as the hub is to hear it.
enum Ended {
    Answer(EndFrame),
    Error(StepError),
    HandedBack(String, Duration),
    /// From outside: revoked, or handed back.
    Stopped,
}

/// What it comes to where it is handed back; nobody takes it where it was revoked.
fn stopped() -> Outcome {
    Done::release(SHUTDOWN, Duration::ZERO).outcome
}

/// Not its own doing: it costs nothing.
fn held_up() -> Ended {
    let reason = "another attempt in the same interpreter did not end in time, and the interpreter was ended";
    Ended::HandedBack(reason.to_owned(), Duration::ZERO)
}

fn timeout(step: &Step) -> StepError {
    let seconds = step.settings.timeout_ms as f64 / 1_000.0;
    let message = format!("step `{}` took longer than its timeout of {seconds} s and was cancelled", step.name);
    StepError::new(ErrorKind::Timeout, message)
}

fn key(lease: &Lease, step: &Step, declared: &Declared) -> Key {
    let mut all = Vec::new();
    for (name, value) in &declared.variables {
        for part in [name, value] {
            all.extend_from_slice(&part.len().to_le_bytes());
            all.extend_from_slice(part.as_encoded_bytes());
        }
    }
    Key { plan: lease.plan, source: step.source, runtime: step.settings.runtime.clone(), variables: Digest::of(&all) }
}
