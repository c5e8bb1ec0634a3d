//! `bue cancel`: cancels what is left of a run.

use protocol::RunState;

use crate::cli::CancelArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::{output, show};

/// Cancels, and says what was left.
pub fn run(context: &Context, arguments: &CancelArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let run = block_on(async { Ok(client.cancel(&arguments.run).await?) })?;
    if run.state == RunState::Cancelled {
        output::note(&format!(
            "run {} is cancelled: {} will not run",
            run.id,
            output::plural(run.counts.cancelled, "job", "jobs")
        ));
    } else {
        output::note(&format!("run {} had ended before: it {}", run.id, show::run_word(run.state)));
    }
    Ok(())
}
