//! `bue bucket`: serves values and tables to a fleet, over the S3 interface.

use std::time::Duration;

use ::bucket::server::{self, ServerConfig};

use crate::cli::BucketArguments;
use crate::context::{Context, block_on_all_cores};
use crate::data_dir::Service;
use crate::error::{Error, Result};
use crate::service::{listen, log, stop};
use crate::settings::{limits, places};
use crate::{heap, output, secrets};

/// Folder of the objects, in the bucket's own.
const OBJECTS: &str = "objects";

/// How often memory that is free goes back to the system: what large contents leave is used for the next ones until then.
const GIVEN_BACK_EVERY: Duration = Duration::from_secs(5);

/// Serves until Ctrl-C or SIGTERM.
pub fn run(context: &Context, arguments: &BucketArguments) -> Result {
    // Before there are threads, as in a worker.
    heap::set(heap::Policy::UseAgain);
    log::start(&context.sources)?;
    block_on_all_cores(serve(context, arguments))
}

async fn serve(context: &Context, arguments: &BucketArguments) -> Result {
    let sources = &context.sources;
    let address = places::bucket_listens(arguments.bind.as_ref(), sources)?;
    let limits = limits::bucket_server(sources)?;
    let folder = context.data_dir.create(Service::Bucket)?.join(OBJECTS);
    let credentials = match secrets::keys_of_environment(sources)? {
        Some(keys) => keys,
        None => secrets::create_keys(&context.data_dir)?,
    };
    let stop = stop::on_signal()?;
    let (listener, address) = listen::bind(&address).await?;
    tokio::spawn(async {
        loop {
            tokio::time::sleep(GIVEN_BACK_EVERY).await;
            tokio::task::spawn_blocking(heap::give_back);
        }
    });
    let serving = server::serve(listener, ServerConfig { folder, credentials, limits }, stop);
    let root = address.to_connect().url();
    let served = listen::until_ready(serving, &root, || {
        let note = context.data_dir.note_address(Service::Bucket, &address)?;
        output::note(&format!("bucket listens on {}", address.url()));
        Ok(note)
    });
    served.await?.map_err(|error| {
        Error::machine(error).hint("--data-dir or BUE_DATA_DIR names another folder; two buckets cannot share one")
    })?;
    output::note("bucket stopped");
    Ok(())
}
