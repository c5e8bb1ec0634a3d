//! Jobs that failed, with their errors and the way to their logs.

use std::collections::HashMap;

use protocol::JobState;
use protocol::api::{JobView, RunView};

use crate::error::Result;
use crate::output;
use crate::runs::Runs;

/// Failures that are shown, of one job or of several that failed alike.
const FAILURES_MAX: usize = 10;
/// Jobs that are named of those that failed as another one did.
const ALIKE_NAMED_MAX: usize = 8;
/// Lines of a traceback that are shown, its last ones.
const TRACE_LINES_MAX: usize = 40;

/// Shows the first failed jobs of a run.
pub async fn show(runs: &impl Runs, run: &RunView) -> Result {
    if run.counts.failed == 0 {
        return Ok(());
    }
    let failed = runs.jobs(&run.id, None, Some(JobState::Failed)).await?.jobs;
    let mut shown = 0;
    for alike in alike(&failed).into_iter().take(FAILURES_MAX) {
        output::note(&describe(runs, &alike));
        shown += alike.len() as u64;
    }
    let more = run.counts.failed.saturating_sub(shown);
    if more > 0 {
        let way = runs.way_to_failed(&run.id).map(|way| format!(": {way}")).unwrap_or_default();
        output::note(&format!("… and {} more{way}", output::plural(more, "failed job", "failed jobs")));
    }
    Ok(())
}

/// Jobs of one step with one error, together, in the order of the first of each. Numbers in what is said may differ: those of jobs,
/// accounts and pages do.
fn alike(failed: &[JobView]) -> Vec<Vec<&JobView>> {
    let mut groups: Vec<Vec<&JobView>> = Vec::new();
    let mut places = HashMap::new();
    for job in failed {
        let error = job.error.as_ref().map(|error| (error.kind, without_numbers(&error.message)));
        let place = *places.entry((&job.name, error)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

fn without_numbers(text: &str) -> String {
    text.split(|character: char| character.is_ascii_digit()).filter(|part| !part.is_empty()).collect()
}

/// What there is to say of the first of them, and which others there are.
fn describe(runs: &impl Runs, alike: &[&JobView]) -> String {
    let (job, others) = (alike[0], &alike[1..]);
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
    if !others.is_empty() {
        let mut names: Vec<String> = others.iter().take(ALIKE_NAMED_MAX).map(|job| job.id.to_string()).collect();
        names.extend((others.len() > ALIKE_NAMED_MAX).then(|| "…".to_owned()));
        let so = output::plural(others.len() as u64, "other job failed the same way", "other jobs failed the same way");
        text.push_str(&format!("\n  {so}: {}", names.join(", ")));
    }
    text
}
