//! `bue explain`: why a job is, or is not, running, and what came of its attempts so far; or why a run is, or is not, getting on.

use std::time::Duration;

use protocol::api::{After, AttemptView, Explanation, JobView, Reason};
use protocol::{JobState, StepError};
use serde::Serialize;

use super::status::{ago, since, span, until};
use super::{explain_run, pause};
use crate::cli::{ExplainArguments, RunOrJob};
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::output::{self, plural};
use crate::show::job_word;
use crate::show::value::{drawn, wrapped};

/// Of a job prints a sentence, one for each reason, and a line for each attempt that is over; of a run one for all jobs that have the
/// same in their way.
pub fn run(context: &Context, arguments: &ExplainArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let json = arguments.json;
    let text = block_on(async {
        match &arguments.what {
            RunOrJob::Job(job) => {
                let explanation = client.explain(client.find(job).await?).await?;
                if json { as_json(&explanation) } else { Ok(text(&explanation)) }
            }
            RunOrJob::Run(run) => {
                let explanation = client.explain_run(run).await?;
                if json { as_json(&explanation) } else { Ok(explain_run::text(&explanation)) }
            }
        }
    })?;
    output::print(&text)
}

fn as_json(explanation: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(explanation).map_err(Error::internal)
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
    wrapped(&format!("{kind}: {}", error.message))
}

fn headline(job: &JobView) -> String {
    let name = format!("job {} (`{}`) of run {}", job.id, job.name, job.run);
    match (job.state, &job.worker, &job.error) {
        (JobState::Leased, Some(worker), _) => {
            let time = job.since_ms.and_then(since).map(|time| format!(", for {}", span(time))).unwrap_or_default();
            format!("{name} is running on worker {worker}, attempt {}{time}", job.attempts)
        }
        (JobState::Failed, _, Some(error)) => {
            format!("{name} failed after {}: {}", plural(job.attempts.into(), "attempt", "attempts"), error.message)
        }
        (JobState::Failed | JobState::Succeeded, _, _) => format!("{name} has {}", job_word(job.state)),
        (state, _, _) => format!("{name} is {}", job_word(state)),
    }
}

/// What a reason comes to for one job, or for jobs that are alike.
pub fn sentence(reason: &Reason) -> String {
    match reason {
        Reason::Parents(parents) => {
            let parents: Vec<String> = parents
                .iter()
                .map(|parent| format!("{} (`{}`, {})", parent.job, parent.name, job_word(parent.state)))
                .collect();
            format!("it waits for {}", parents.join(", "))
        }
        Reason::Paused(what) => pause::sentence(what),
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
        Reason::WorkersWait { workers, trouble } => {
            format!(
                "{}: {trouble}",
                plural(*workers, "worker waits for what it needs", "workers wait for what they need")
            )
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
