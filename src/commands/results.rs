//! `bue results`: what the calls of a run's script came to, all of them.

use protocol::RunId;
use protocol::api::ResultsAnswer;
use serde::Serialize;

use crate::cli::ResultsArguments;
use crate::client::Client;
use crate::context::{Context, block_on};
use crate::error::{Error, Kind, Result};
use crate::output::{self, plural};
use crate::show::json::CallResult;
use crate::show::results;

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    results: Vec<CallResult>,
}

/// Prints a table, or one JSON document with the values.
pub fn run(context: &Context, arguments: &ResultsArguments) -> Result {
    let client = context.client(&arguments.hub)?;
    block_on(show(&client, arguments))
}

async fn show(client: &Client, arguments: &ResultsArguments) -> Result {
    let answer = all(client, &arguments.run).await?;
    let lost = if arguments.json {
        let document = Document { results: CallResult::all(client, &arguments.run, &answer).await? };
        output::print(&serde_json::to_string(&document).map_err(Error::internal)?)?;
        document.results.iter().filter_map(CallResult::lost).collect()
    } else if answer.results.is_empty() {
        output::note(&format!("run {} has no results so far", arguments.run));
        Vec::new()
    } else {
        let drawn = results::drawn_table(client, &answer).await?;
        output::print(&drawn.table.to_string())?;
        if let Some(error) = drawn.away {
            return Err(error);
        }
        drawn.lost
    };
    match lost.first() {
        None => Ok(()),
        Some(first) => {
            Err(Error::new(Kind::Failed, format_args!("{} lost", plural(lost.len() as u64, "value is", "values are")))
                .hint(format_args!("`bue value {first}` says why, and `bue reset {first}` has it made again")))
        }
    }
}

/// As many answers as it takes: a hub gives some thousand results at once.
async fn all(client: &Client, run: &RunId) -> Result<ResultsAnswer> {
    let mut all = client.results(run, 0, usize::MAX).await?;
    while all.truncated {
        let ResultsAnswer { results, truncated } = client.results(run, all.results.len(), usize::MAX).await?;
        // One that gives none at all would be asked for ever.
        all.truncated = truncated && !results.is_empty();
        all.results.extend(results);
    }
    Ok(all)
}
