//! `bue hub`: serves the queue.

use std::path::Path;

use crate::cli::{HubArguments, HubCommand};
use crate::context::{Context, block_on_all_cores};
use crate::data_dir::Service;
use crate::error::{Error, Result};
use crate::output;
use crate::secrets;
use crate::service::{keys, listen, log, stop, text};
use crate::settings::{engines, limits, places, table};

/// Serves until Ctrl-C or SIGTERM.
pub fn run(context: &Context, arguments: &HubArguments) -> Result {
    match &arguments.command {
        Some(HubCommand::Backup(copy)) => {
            check_is_a_file(context, arguments, "pg_dump --schema=bue")?;
            backup(context, &copy.file)
        }
        Some(HubCommand::Restore(copy)) => {
            check_is_a_file(context, arguments, "pg_restore or psql")?;
            restore(context, &copy.file)
        }
        None => {
            log::start(&context.sources)?;
            block_on_all_cores(serve(context, arguments))
        }
    }
}

/// A queue in PostgreSQL is none of this machine's files; one that lies there is of another time.
fn check_is_a_file(context: &Context, arguments: &HubArguments, instead: &str) -> Result {
    match engines::database_of_hub(arguments.postgres.as_deref(), &context.sources)? {
        None => Ok(()),
        Some(_) => Err(Error::usage("the queue is in PostgreSQL, which has its own tools for copies").hint(format!(
            "use {instead}; without -p and BUE_POSTGRES this command is about the queue's file in the data folder"
        ))),
    }
}

fn backup(context: &Context, file: &Path) -> Result {
    ::hub::backup(&context.data_dir.of(Service::Hub), file).map_err(failed)?;
    output::note(&format!("the queue is copied to {}", file.display()));
    Ok(())
}

fn restore(context: &Context, file: &Path) -> Result {
    let folder = context.data_dir.create(Service::Hub)?;
    ::hub::restore(&folder, file).map_err(|error| match error {
        ::hub::HubError::InUse { .. } => Error::machine(&error).hint("end the hub first; `bue status` shows it"),
        error => failed(error),
    })?;
    output::note(&format!("the queue is that of {}; start the hub", file.display()));
    Ok(())
}

async fn serve(context: &Context, arguments: &HubArguments) -> Result {
    let sources = &context.sources;
    let address = places::hub_listens(arguments.bind.as_ref(), sources)?;
    let named = arguments.bucket.as_deref();
    let url = places::bucket_of_client(named, sources, &context.data_dir)?;
    let (limits, policy) = (limits::hub(sources)?, limits::policy(sources)?);
    let reverse_priority = sources.read(&table::REVERSE_PRIORITY)?.unwrap_or(false);
    let postgres = engines::database_of_hub(arguments.postgres.as_deref(), sources)?;
    postgres.as_deref().map_or(Ok(()), ::hub::check_address).map_err(failed)?;
    let data_dir = context.data_dir.create(Service::Hub)?;
    let stop = stop::on_signal()?;
    let token = secrets::token_of_hub(sources, &context.data_dir)?;
    let keyring = Some(secrets::keyring_of_hub(sources, &context.data_dir)?);
    let Some(bucket) = keys::open(context, named, &url, keys::Missing::MakeForThisMachine, &stop).await? else {
        return Ok(());
    };
    let (listener, address) = listen::bind(&address).await?;
    let checked = bucket.clone();
    // Without it the hub still serves the queue; only values cannot be shown.
    tokio::spawn(async move { output::note(&keys::refusal(&checked).await.to_string()) });
    let bucket = Some(bucket);
    let config = ::hub::Config { data_dir, token, keyring, postgres, bucket, policy, reverse_priority, limits };
    let health = format!("{}/v1/health", address.to_connect().url());
    let served = listen::until_ready(::hub::serve(listener, config, stop), &health, || {
        let note = context.data_dir.note_address(Service::Hub, &address)?;
        output::note(&format!("hub listens on {}", address.url()));
        text::give_back();
        tokio::spawn(text::give_back_in_a_while());
        Ok(note)
    });
    served.await?.map_err(failed)?;
    output::note("hub stopped");
    Ok(())
}

/// What a hub's own error means for who started it.
pub fn failed(error: ::hub::HubError) -> Error {
    use ::hub::HubError;
    match &error {
        HubError::Open { path, .. } if path.starts_with("postgres://") => Error::machine(&error)
            .hint("look at the address, the user's rights and the server; -p or BUE_POSTGRES names another one"),
        HubError::Address { .. } => Error::usage(&error)
            .hint("-p, or BUE_POSTGRES, must be of the form postgres://user:password@host:port/database"),
        HubError::DataDir { .. } | HubError::Open { .. } => Error::machine(&error).hint(
            "choose a folder that you may write to with --data-dir or BUE_DATA_DIR, and look at the disk's space",
        ),
        HubError::InUse { .. } => {
            Error::machine(&error).hint("`bue status` shows it; --data-dir starts another one beside it")
        }
        HubError::Newer { .. } => {
            Error::machine(&error).hint("start it with the version of bue that made it, or a newer one")
        }
        HubError::Writer => {
            Error::machine(&error).hint("the log above has more; start the hub again: nothing that it answered is lost")
        }
        HubError::NoQueue { .. } => Error::machine(&error)
            .hint("--data-dir names the folder of a hub that has one; a queue in PostgreSQL is copied with pg_dump"),
        HubError::OtherOrder { .. } => {
            Error::machine(&error).hint("start this one with theirs, or end them first: then this one's counts")
        }
        HubError::Copy { .. } | HubError::Serve(_) => Error::machine(&error),
    }
}
