//! Showing runs to people: progress, results, failures.
//!
//! Progress and failures go to standard error, results to standard output.

pub mod failures;
pub mod json;
pub mod plan;
pub mod progress;
mod record;
pub mod results;
pub mod value;

use protocol::api::RunView;
use protocol::{JobState, RunState};

use crate::error::{Error, Kind, Result};
use crate::output;
use crate::runs::Runs;

/// Follows a run to its end, shows what came of it, and fails when it failed.
pub async fn to_the_end(runs: &impl Runs, run: RunView) -> Result {
    let run = progress::follow(runs, run).await?;
    show_end(runs, &run).await
}

/// Shows what came of a run that has ended.
pub async fn show_end(runs: &impl Runs, run: &RunView) -> Result {
    if let Some(table) = results::table(runs, run).await? {
        output::print(&table)?;
    }
    failures::show(runs, run).await?;
    verdict(run)
}

/// The exit code that a run's end earns.
pub fn verdict(run: &RunView) -> Result {
    match run.state {
        RunState::Running | RunState::Succeeded => Ok(()),
        RunState::Failed => Err(Error::new(
            Kind::Failed,
            format_args!(
                "run {} failed: {} of {} ended in an error",
                run.id,
                output::plural(run.counts.failed, "job", "jobs"),
                output::grouped(run.counts.total())
            ),
        )),
        RunState::Cancelled => Err(Error::new(Kind::Failed, format_args!("run {} was cancelled", run.id))),
    }
}

/// The word for a run's state.
pub fn run_word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

/// The word for a job's state.
pub fn job_word(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Available => "available",
        JobState::Leased => "leased",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}
