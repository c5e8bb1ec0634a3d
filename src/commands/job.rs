//! `bue logs` and `bue value`: what one job printed and returned.

use protocol::JobState;

use crate::cli::JobArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Prints what the job printed in its last attempt.
pub fn logs(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let job = arguments.job;
    let (text, view) = block_on(async { Ok((client.log(job).await?, client.explain(job).await?.job)) })?;
    match (view.state, text.is_empty()) {
        (JobState::Leased, true) => {
            output::note(&format!("job {job} is running: its log can be read when its attempt is over"));
        }
        (JobState::Leased, false) => output::note(&format!(
            "job {job} is running attempt {}, whose log can be read when it is over; this is that of an earlier one",
            view.attempts
        )),
        (_, true) => output::note(&format!("job {job} has printed nothing so far")),
        (_, false) => {}
    }
    if text.is_empty() { Ok(()) } else { output::print_content(&text) }
}

/// Prints what the job returned.
pub fn value(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let text = block_on(async { Ok(client.value(arguments.job).await?) })?;
    output::print_content(&text)
}
