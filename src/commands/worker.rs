//! `bue worker`: takes jobs from a hub and runs them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::WorkerArguments;
use crate::client::{Client, Patience};
use crate::context::{Context, block_on_all_cores};
use crate::data_dir::Service;
use crate::error::{Error, Result};
use crate::heap;
use crate::output;
use crate::secrets;
use crate::service::{keys, log, sandbox, stop, token};
use crate::settings::value::{self, Scopes, Value};
use crate::settings::{engines, limits, places, table};

/// Works until Ctrl-C or SIGTERM.
pub fn run(context: &Context, arguments: &WorkerArguments) -> Result {
    if arguments.check {
        let data_dir = context.data_dir.create(Service::Worker)?;
        let limits = limits::worker(&context.sources)?;
        return sandbox::check(context, arguments.sandbox, &data_dir, &limits);
    }
    // Before there are threads: each has a heap of its own from the first block that it takes.
    heap::set(heap::Policy::UseAgain);
    log::start(&context.sources)?;
    block_on_all_cores(work(context, arguments))
}

async fn work(context: &Context, arguments: &WorkerArguments) -> Result {
    let sources = &context.sources;
    let hub_address = places::hub_of_worker(arguments.hub.hub.as_ref(), sources, &context.data_dir)?;
    let named = arguments.bucket.as_deref();
    let url = places::bucket_of_client(named, sources, &context.data_dir)?;
    let config = config(context, arguments)?;
    let stop = stop::on_signal()?;
    let Some(bucket) = keys::open(context, named, &url, keys::Missing::Wait, &stop).await? else {
        return Ok(());
    };
    tokio::select! {
        looked = keys::first_look(&bucket) => looked?,
        () = stop.cancelled() => return Ok(()),
    }
    let token = || secrets::token_of_client(sources, &context.data_dir);
    let client = Client::new(hub_address.clone(), token()?, Patience::For(Duration::ZERO))?;
    let hub = ::worker::HttpHub::new(&hub_address.to_string(), token()?).map_err(Error::machine)?;
    output::note(&format!(
        "worker with {} takes jobs from {} and keeps values in {url}; Python {} at {}; sandbox: {}{}",
        output::plural(config.slots as u64, "slot", "slots"),
        hub_address.url(),
        config.python.version,
        config.python.path.display(),
        config.sandbox.level.summary(),
        steps_together(&config),
    ));
    let mut working = pin!(::worker::run(config, Arc::new(hub), bucket.clone(), stop.clone()));
    let refused = tokio::select! {
        ended = &mut working => {
            ended.map_err(Error::machine)?;
            output::note("worker stopped");
            return Ok(());
        }
        refused = keys::refusal(&bucket) => refused,
        refused = token::refusal(&client) => refused,
    };
    // No step could keep its value, or there is nobody to hand it in to: what was leased is handed back.
    stop.cancel();
    working.await.map_err(Error::machine)?;
    Err(refused)
}

/// What steps have together.
fn steps_together(config: &::worker::Config) -> String {
    match &config.groups {
        Some(groups) => format!("; steps together: {}", groups.summary()),
        None => "; steps together: no bound (`bue worker --check` says why)".to_owned(),
    }
}

fn config(context: &Context, arguments: &WorkerArguments) -> Result<::worker::Config> {
    let sources = &context.sources;
    let python = context.python(arguments.python.as_ref())?;
    let data_dir = context.data_dir.create(Service::Worker)?;
    let sandbox = sandbox::open(context, arguments.sandbox, &arguments.writable, &data_dir)?;
    let mut config = ::worker::Config::new(data_dir, python).map_err(Error::machine)?;
    config.after_large = heap::give_back;
    config.sandbox = sandbox;
    config.limits = limits::worker(sources)?;
    config.groups = ::worker::Groups::make(&config.limits).ok().map(Arc::new);
    config.engines = engines::read(sources)?;
    config.packages_from_source = sources.read(&table::BUE_PACKAGES_FROM_SOURCE)?.unwrap_or(false);
    if let Some(scopes) = scopes(context, arguments)? {
        config.scopes = scopes.0;
    }
    let slots = match arguments.slots {
        Some(slots) => Some(slots),
        None => sources.read::<value::Slots>(&table::N_WORKER_PROCESSES)?.map(|slots| slots.0),
    };
    if let Some(slots) = slots {
        config.slots = slots as usize;
    }
    Ok(config)
}

fn scopes(context: &Context, arguments: &WorkerArguments) -> Result<Option<Scopes>> {
    match &arguments.scopes {
        None => Ok(context.sources.read(&table::PIPE_WORKER_SCOPES)?),
        Some(text) => match Scopes::parse(text) {
            Some(scopes) => Ok(Some(scopes)),
            None => Err(Error::usage(format_args!("-s is `{text}`, expected {}", Scopes::EXPECTED))),
        },
    }
}
