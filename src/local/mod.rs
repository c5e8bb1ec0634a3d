//! A whole engine in this process, for `bue run`: a queue in a temporary folder, a worker on it, no server.
//!
//! The queue and the worker are those of a fleet; [`embedded`] joins them without HTTP. Steps run in the script's folder, as the user.

mod embedded;
mod folder;

use std::collections::BTreeMap;
use std::sync::Arc;

use bucket::value::{ValueLimits, Values};
use bucket::{Bucket, BucketUrl};
use protocol::api::{SubmitAnswer, SubmitRequest};
use protocol::secret::SecretText;
use protocol::{Plan, RunId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use embedded::Embedded;

use crate::bundle::Bundle;
use crate::commands::hub::failed as hub_failed;
use crate::data_dir::DataDirError;
use crate::error::{Error, Result};
use folder::RunFolder;

/// A queue in a temporary folder, and a worker on it.
pub struct Engine {
    /// What the worker and who looks at runs share.
    pub embedded: Arc<Embedded>,
    worker: JoinHandle<Result<worker::Summary, worker::WorkerError>>,
    stop: CancellationToken,
    folder: RunFolder,
}

/// What an engine needs to know.
pub struct Options {
    /// Settings of the worker, except for its folder.
    pub worker: worker::Config,
    /// What there is of the secrets that steps declare.
    pub secrets: BTreeMap<String, SecretText>,
    /// Pauses and tolerances of the queue.
    pub policy: hub::Policy,
    /// Bounds of the queue.
    pub limits: hub::Limits,
    /// Lower priorities first.
    pub reverse_priority: bool,
}

impl Engine {
    /// Starts one for the steps of `plan`.
    pub async fn start(options: Options, plan: &Plan) -> Result<Self> {
        let folder = RunFolder::make()?;
        let values_folder = folder.path().join("values");
        let cache_folder = folder.path().join("cache");
        for made in [&values_folder, &cache_folder] {
            std::fs::create_dir(made)
                .map_err(|error| Error::machine(DataDirError::new("make the folder", made, error)))?;
        }
        bucket::install_tls();
        let bucket = Bucket::open(&BucketUrl::Folder(values_folder), None).map_err(Error::machine)?;
        let config = hub::Config {
            data_dir: folder.path().join("hub"),
            token: String::new(),
            // Secrets of a run without a hub are variables of its user.
            keyring: None,
            postgres: None,
            bucket: Some(bucket.clone()),
            policy: options.policy,
            reverse_priority: options.reverse_priority,
            limits: options.limits,
        };
        let queue = hub::Queue::open(&config).await.map_err(hub_failed)?;
        let values = Values::new(bucket.clone(), &cache_folder, ValueLimits::default());
        let embedded = Arc::new(Embedded::new(queue, values, plan.steps.clone(), options.secrets));
        let stop = CancellationToken::new();
        let worker = worker::Config { data_dir: folder.path().join("worker"), ..options.worker };
        let worker = tokio::spawn(worker::run(worker, Arc::clone(&embedded), bucket, stop.clone()));
        Ok(Self { embedded, worker, stop, folder })
    }

    /// Hands a bundle to the queue and asks for a run of it.
    pub async fn submit(&self, bundle: &Bundle) -> Result<SubmitAnswer> {
        for entry in &bundle.manifest.files {
            let content = bundle.read(entry)?;
            self.embedded.queue().put_file(entry.digest, content.into()).await.map_err(Error::internal)?;
        }
        let request =
            SubmitRequest { manifest: bundle.manifest.clone(), script: bundle.listing.script.clone(), key: None };
        self.embedded.queue().submit(request).await.map_err(Error::internal)
    }

    /// Waits until the worker ends by itself, which it only does when it cannot work.
    pub async fn worker_failed(&mut self) -> Error {
        match (&mut self.worker).await {
            Ok(Err(error)) => Error::machine(error),
            Ok(Ok(_)) => Error::internal("the worker ended before the run"),
            Err(panic) => Error::internal(panic),
        }
    }

    /// Cancels a run, so that its steps are stopped.
    pub async fn cancel(&self, run: &RunId) {
        // It may have ended in this moment, which is as good.
        let _ = self.embedded.queue().cancel(run.clone()).await;
    }

    /// Stops the worker and clears away.
    pub async fn stop(self) -> Result {
        self.stop.cancel();
        let ended = self.worker.await.map_err(Error::internal)?;
        ended.map_err(Error::machine)?;
        // What is left there would only be clutter: a failure to remove it is not the run's.
        self.folder.close();
        Ok(())
    }
}
