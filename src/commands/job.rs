//! `bue value`: what one job returned.

use crate::cli::JobArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Prints what the job returned.
pub fn value(context: &Context, arguments: &JobArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let text = block_on(async { Ok(client.value(arguments.job).await?) })?;
    output::print_content(&text)
}
