//! `bue again`: makes a new run of the script and files of another one.

use super::upload;
use crate::cli::AgainArguments;
use crate::context::{Context, block_on};
use crate::error::Result;
use crate::output;
use crate::secrets;
use crate::service::log;

/// Makes the run, and waits for its end where that is wanted.
pub fn run(context: &Context, arguments: &AgainArguments) -> Result {
    log::start_quietly(&context.sources)?;
    let client = context.client(&arguments.hub)?;
    block_on(async {
        // With a key, a request whose answer was lost can be repeated.
        let run = client.run_again(&arguments.run, &secrets::random_hex::<16>()?).await?;
        output::note(&format!("{} of run {} is run {}", run.script, arguments.run, run.id));
        upload::follow(client, run, arguments.wait).await
    })
}
