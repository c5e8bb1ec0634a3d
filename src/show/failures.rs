//! Jobs that failed, with their errors and the way to their logs.

use protocol::JobState;
use protocol::api::{JobView, RunView};

use crate::error::Result;
use crate::output;
use crate::runs::Runs;

/// Failed jobs that are shown.
const FAILURES_MAX: usize = 10;
/// Lines of a traceback that are shown, its last ones.
const TRACE_LINES_MAX: usize = 40;

/// Shows the first failed jobs of a run.
pub async fn show(runs: &impl Runs, run: &RunView) -> Result {
    if run.counts.failed == 0 {
        return Ok(());
    }
    let failed = runs.jobs(&run.id, None, Some(JobState::Failed)).await?.jobs;
    for job in failed.iter().take(FAILURES_MAX) {
        output::note(&describe(runs, job));
    }
    let more = run.counts.failed.saturating_sub(FAILURES_MAX as u64);
    if more > 0 {
        output::note(&format!("… and {} more", output::plural(more, "failed job", "failed jobs")));
    }
    Ok(())
}

fn describe(runs: &impl Runs, job: &JobView) -> String {
    let attempts = output::plural(u64::from(job.attempts), "attempt", "attempts");
    let mut text = format!("job {} (`{}`) failed after {attempts}", job.id, job.name);
    if let Some(error) = &job.error {
        text.push_str(&format!(": {}", error.message));
        if let Some(trace) = &error.trace {
            let lines: Vec<&str> = trace.lines().collect();
            for line in &lines[lines.len().saturating_sub(TRACE_LINES_MAX)..] {
                text.push_str(&format!("\n    {line}"));
            }
        }
    }
    if let Some(way) = runs.way_to_log(job.id) {
        text.push_str(&format!("\n  what it printed: {way}"));
    }
    text
}
