//! `bue reset`: failed jobs of a run, or one job and what follows it, start over.

use crate::cli::{ResetArguments, RunOrJob};
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Resets, and says how many jobs start over.
pub fn run(context: &Context, arguments: &ResetArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let reset = block_on(async {
        Ok(match &arguments.what {
            RunOrJob::Run(run) => client.reset_failed(run).await?,
            RunOrJob::Job(job) => client.reset_job(client.find(job).await?).await?,
        })
    })?;
    match (reset.jobs, &arguments.what) {
        (0, RunOrJob::Run(run)) => output::note(&format!(
            "run {run} has no failed jobs: nothing was changed; `bue again {run}` makes a new run of its script"
        )),
        (0, RunOrJob::Job(job)) => output::note(&format!("job {job} has not run yet: nothing was changed")),
        (jobs, _) => output::note(&format!("{} over", output::plural(jobs, "job starts", "jobs start"))),
    }
    if reset.loops_kept > 0 {
        output::note(&format!(
            "the passes of {} stay as they are, for items keep their values; `bue again` of the run makes all of it anew",
            output::plural(reset.loops_kept, "loop that has begun", "loops that have begun")
        ));
    }
    Ok(())
}
