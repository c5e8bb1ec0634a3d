//! `bue explain`: why a job is, or is not, running, and what came of its attempts so far.

use std::time::Duration;

use protocol::api::{After, AttemptView, Explanation, JobView, Reason};
use protocol::{JobState, StepError};

use super::pause;
use super::status::{ago, since, span, until};
use crate::cli::JobArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output::{self, plural};
use crate::show::job_word;
use crate::show::value::{drawn, shortened};

/// Prints a sentence for the job, one for each reason, and a line for each attempt that is over.
pub fn run(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let explanation = block_on(async { Ok(client.explain(arguments.job).await?) })?;
    output::print(&text(&explanation))
}

fn text(explanation: &Explanation) -> String {
    let mut lines = vec![headline(&explanation.job)];
    lines.extend(explanation.reasons.iter().map(|reason| format!("- {}", sentence(reason))));
    lines.extend(history(&explanation.job.history));
    lines.join("\n")
}

/// The attempts that are over, where there are any.
fn history(attempts: &[AttemptView]) -> Option<String> {
    let mut table = drawn(&["attempt", "begun", "took", "outcome", "error", "sandbox"]);
    for attempt in attempts {
        table.add_row([
            attempt.number.to_string(),
            since(attempt.begun_ms).map(ago).unwrap_or_default(),
            took(attempt),
            attempt.outcome.clone(),
            attempt.error.as_ref().map(error_text).unwrap_or_default(),
            attempt.sandbox.clone().unwrap_or_default(),
        ]);
    }
    (!attempts.is_empty()).then(|| table.to_string())
}

fn took(attempt: &AttemptView) -> String {
    let ms = u64::try_from(attempt.ended_ms - attempt.begun_ms).unwrap_or(0);
    span(Duration::from_millis(ms))
}

/// The kind in the word that stands in the documentation, and the message.
fn error_text(error: &StepError) -> String {
    let kind = serde_json::to_value(error.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or("error");
    shortened(&format!("{kind}: {}", error.message))
}

fn headline(job: &JobView) -> String {
    let name = format!("job {} (`{}`) of run {}", job.id, job.name, job.run);
    match (job.state, &job.worker, &job.error) {
        (JobState::Leased, Some(worker), _) => {
            format!("{name} is running on worker {worker}, attempt {}", job.attempts)
        }
        (JobState::Failed, _, Some(error)) => {
            format!("{name} failed after {}: {}", plural(job.attempts.into(), "attempt", "attempts"), error.message)
        }
        (JobState::Failed | JobState::Succeeded, _, _) => format!("{name} has {}", job_word(job.state)),
        (state, _, _) => format!("{name} is {}", job_word(state)),
    }
}

fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::Parents(parents) => {
            let parents: Vec<String> = parents
                .iter()
                .map(|parent| format!("{} (`{}`, {})", parent.job, parent.name, job_word(parent.state)))
                .collect();
            format!("it waits for {}", parents.join(", "))
        }
        Reason::Paused(what) => format!("{} paused: `bue resume` ends that", pause::describe(what)),
        Reason::ScopeNotServed { scope } => {
            format!("no worker serves its scope: `bue worker -s {scope}` starts one that does")
        }
        Reason::EngineMissing { engine } => {
            format!("no worker that serves its scope can run {engine} steps: docs/data.md says what they need")
        }
        Reason::Behind { jobs, or_more } => {
            let more = if *or_more { "at least " } else { "" };
            format!("{more}{} before it in its scope", plural(*jobs, "job goes", "jobs go"))
        }
        Reason::WorkersFull { workers } => {
            format!("none of the workers that could run it ({workers}) has a free slot: it runs when one has")
        }
        Reason::Until { from_ms, after } => {
            let pause = span(until(*from_ms).unwrap_or(Duration::ZERO));
            let why = match after {
                After::Pending => "it said pending",
                After::Error => "its last attempt failed",
                After::Release => "its worker handed it back, for what it needs is away",
            };
            format!("{why}: it runs again in {pause}")
        }
    }
}
