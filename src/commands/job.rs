//! `bue logs` and `bue value`: what one job printed and returned.

use crate::cli::JobArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Prints what the job printed in its last attempt.
pub fn logs(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let text = block_on(async { Ok(client.log(arguments.job).await?) })?;
    if text.is_empty() {
        output::note(&format!("job {} has printed nothing so far", arguments.job));
        return Ok(());
    }
    output::print(&text)
}

/// Prints what the job returned.
pub fn value(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let text = block_on(async { Ok(client.value(arguments.job).await?) })?;
    output::print(&text)
}
