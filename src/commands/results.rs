//! `bue results`: what the calls of a run's script came to, all of them.

use serde::Serialize;

use crate::cli::ResultsArguments;
use crate::client::Client;
use crate::context::{Context, block_on};
use crate::error::{Error, Result};
use crate::output;
use crate::show::json::CallResult;
use crate::show::results;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    results: Vec<CallResult>,
    /// Whether the hub gives no more at once.
    truncated: bool,
}

/// Prints a table, or one JSON document with the values.
pub fn run(context: &Context, arguments: &ResultsArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    block_on(show(&client, arguments))
}

async fn show(client: &Client, arguments: &ResultsArguments) -> Result {
    let answer = client.results(&arguments.run, usize::MAX).await?;
    if arguments.json {
        let document =
            Document { results: CallResult::all(client, &arguments.run, &answer).await?, truncated: answer.truncated };
        output::print(&serde_json::to_string(&document).map_err(Error::internal)?)?;
    } else if answer.results.is_empty() {
        output::note(&format!("run {} has no results so far", arguments.run));
    } else {
        output::print(&results::drawn_table(client, &answer).await?.to_string())?;
    }
    if answer.truncated {
        let shown = output::grouped(answer.results.len() as u64);
        output::note(&format!(
            "… and more: the hub gives at most {shown}; BUE_RESULTS_MAX of the hub changes that, and \
             `bue status {} --json` has all jobs, with those of their values that are small",
            arguments.run
        ));
    }
    Ok(())
}
