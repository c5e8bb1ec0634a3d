//! `bue upload`: sends a script and the files of its folder to the hub, which compiles and runs it.

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::Digest;
use protocol::api::{RunView, SubmitAnswer, SubmitRequest};

use crate::bundle::Bundle;
use crate::cli::UploadArguments;
use crate::client::{Client, ClientError, Patience};
use crate::context::{Context, block_on};
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::secrets;
use crate::service::{log, stop};
use crate::settings::limits::BundleLimits;
use crate::show;

/// Files that travel at once.
const TRANSFERS_MAX: usize = 8;
/// Rounds of sending files: a hub may clear away a file of no run just before the run is asked for.
const ROUNDS_MAX: usize = 3;

/// Uploads, and waits where that is wanted.
pub fn run(context: &Context, arguments: &UploadArguments) -> Result {
    log::start_quietly(&context.sources)?;
    block_on(upload(context, arguments))
}

async fn upload(context: &Context, arguments: &UploadArguments) -> Result {
    let limits = BundleLimits::read(&context.sources)?;
    let bundle = Bundle::collect(&arguments.script.path(), &context.data_dir, &limits)?;
    for note in &bundle.listing.notes {
        output::note(note);
    }
    let client = context.client(&arguments.hub)?;
    let answer = submit(&client, &bundle, arguments.key.clone()).await?;
    let what = if answer.repeated { "was uploaded before: it is run" } else { "is run" };
    output::note(&format!("{} {what} {}", answer.run.script, answer.run.id));
    follow(client, answer.run, arguments.wait).await
}

/// Waits for the end of a run that the hub has accepted, or says how to look at it.
pub async fn follow(client: Client, run: RunView, waiting: bool) -> Result {
    if !waiting {
        output::note(&format!("`bue status {}` shows how it goes", run.id));
        return output::print(&run.id.to_string());
    }
    // The run is safe on the hub: from here on a hub that is away is waited for.
    let client = client.with_patience(Patience::Endless);
    let (stop, id) = (stop::on_signal()?, run.id.clone());
    tokio::select! {
        done = show::to_the_end(&client, run) => done,
        () = stop.cancelled() => Err(Error::new(Kind::Failed, format_args!("no longer waiting: run {id} goes on"))
            .hint(format_args!("`bue status {id}` shows it, `bue cancel {id}` ends it"))),
    }
}

/// Sends what the hub does not have, and asks for the run. Warnings and errors of the script are shown.
pub async fn submit(client: &Client, bundle: &Bundle, key: Option<String>) -> Result<SubmitAnswer> {
    // With a key, a request whose answer was lost can be repeated.
    let key = match key {
        Some(key) => key,
        None => secrets::random_hex::<16>()?,
    };
    let request =
        SubmitRequest { manifest: bundle.manifest.clone(), script: bundle.listing.script.clone(), key: Some(key) };
    let mut missing = client.missing_files(&bundle.manifest).await?;
    for round in 1.. {
        send_files(client, bundle, &missing).await?;
        match client.submit(&request).await {
            Ok(answer) => {
                show_diagnostics(bundle, &answer.warnings, None)?;
                return Ok(answer);
            }
            Err(ClientError::MissingFiles { missing: gone, .. }) if round < ROUNDS_MAX => missing = gone,
            Err(ClientError::Script { diagnostics, rendered }) => {
                show_diagnostics(bundle, &diagnostics, rendered)?;
                return Err(Error::told(Kind::Usage));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::internal("files were sent without end"))
}

async fn send_files(client: &Client, bundle: &Bundle, missing: &[Digest]) -> Result {
    stream::iter(bundle.entries_of(missing))
        .map(|entry| async move {
            client.put_file(entry.digest, bundle.read(entry)?).await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(TRANSFERS_MAX)
        .try_collect()
        .await
}

/// Shows diagnostics with the text of the script as it is here, else as the hub rendered them.
fn show_diagnostics(bundle: &Bundle, diagnostics: &[protocol::Diagnostic], rendered: Option<String>) -> Result {
    if diagnostics.is_empty() {
        if let Some(rendered) = rendered {
            output::note(rendered.trim_end());
        }
        return Ok(());
    }
    let content = bundle.listing.read(&bundle.listing.script)?;
    let text = String::from_utf8_lossy(&content);
    output::note_coloured(language::render(diagnostics, &text, output::colours()).trim_end());
    bundle.listing.explain_missing(diagnostics).iter().for_each(|note| output::note(note));
    Ok(())
}
