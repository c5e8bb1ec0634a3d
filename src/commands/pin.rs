//! `bue pin` and `bue unpin`: whether a run is kept whatever the bounds of the hub.

use crate::cli::PinArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;

/// Keeps the run.
pub fn pin(context: &Context, arguments: &PinArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let run = block_on(async { Ok(client.pin(&arguments.run).await?) })?;
    output::note(&format!("run {} is pinned: it is kept with its values until `bue unpin {}`", run.id, run.id));
    Ok(())
}

/// No longer keeps it.
pub fn unpin(context: &Context, arguments: &PinArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    let run = block_on(async { Ok(client.unpin(&arguments.run).await?) })?;
    output::note(&format!("run {} is no longer pinned: it goes when its time has come", run.id));
    Ok(())
}
