//! Opening the bucket with its keys, which the bucket server may make later than hub or worker start.

use std::time::Duration;

use bucket::{Bucket, BucketError, BucketUrl, Credentials};
use tokio_util::sync::CancellationToken;

use crate::address::PartialAddress;
use crate::context::Context;
use crate::data_dir::Service;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::secrets;
use crate::settings::places;

/// Pause before the data folder is looked at again.
const PAUSE: Duration = Duration::from_millis(250);

/// Pause before a bucket that is away is asked again whether it accepts the keys.
const CHECK_PAUSE: Duration = Duration::from_secs(5);

/// The way out where a folder is closed to this user.
const FOLDER_HINT: &str = "who looks at values must be able to read the folder, hub and workers to write in it and in what others of them \
     make there, see docs/operations.md; -k, or BUE_BUCKET, names another bucket";

/// The way out where a bucket is closed to who asks.
const KEYS_HINT: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY name the keys; those of a `bue bucket` are in bucket/credentials of \
     its data folder; -k, or BUE_BUCKET, names another bucket";

/// What to do about keys that nobody has made yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make them, where the bucket server is on this machine and so will find them; else wait.
    MakeForThisMachine,
    /// Wait for them.
    Wait,
}

/// Opens the bucket at `url`, which the flag or the settings name; `None` when told to stop before there are keys.
pub async fn open(
    context: &Context,
    flag: Option<&str>,
    url: &BucketUrl,
    missing: Missing,
    stop: &CancellationToken,
) -> Result<Option<Bucket>> {
    let keys = match url {
        BucketUrl::Folder(_) => None,
        BucketUrl::S3(_) => {
            // Without keys of its own the request may still be allowed: that is for the service to say.
            secrets::keys_of_environment(&context.sources)?
        }
        BucketUrl::Server(address) => match keys_of_server(context, address, missing, stop).await? {
            Some(keys) => Some(keys),
            None => return Ok(None),
        },
    };
    bucket::install_tls();
    let bucket = Bucket::open(url, keys.as_ref()).map_err(|error| unopened(&error, flag, context));
    bucket.map(Some)
}

/// The error of a bucket that cannot be opened as it is named.
fn unopened(error: &BucketError, flag: Option<&str>, context: &Context) -> Error {
    let kind = if is_refused_folder(error) { Kind::Refused } else { Kind::Usage };
    let Some(name) = places::name_of_bucket(flag, &context.sources) else { return Error::new(kind, error) };
    let told = Error::new(kind, format_args!("cannot open the bucket that {name} names: {error}"));
    match error {
        _ if kind == Kind::Refused => told.hint(FOLDER_HINT),
        BucketError::NoKeys { .. } => told.hint(KEYS_HINT),
        BucketError::Io { .. } => told.hint(
            "name a folder that is there, or that can be made, and that you may write to; `s3://bucket/prefix` and \
             `host:port` name a bucket elsewhere",
        ),
        _ => told,
    }
}

async fn keys_of_server(
    context: &Context,
    address: &str,
    missing: Missing,
    stop: &CancellationToken,
) -> Result<Option<Credentials>> {
    if let Some(keys) = secrets::keys_of_environment(&context.sources)? {
        return Ok(Some(keys));
    }
    if let Some(keys) = secrets::read_keys(&context.data_dir)? {
        return Ok(Some(keys));
    }
    if missing == Missing::MakeForThisMachine && is_this_machine(address) {
        return secrets::create_keys(&context.data_dir).map(Some);
    }
    output::note(&format!(
        "no keys for the bucket at {address} yet: waiting for `bue bucket` to make them in {}; \
         for a bucket on another machine set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        context.data_dir.of(Service::Bucket).display()
    ));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Some(keys) = secrets::read_keys(&context.data_dir)? {
            return Ok(Some(keys));
        }
    }
}

/// Asks the bucket once whether it accepts us. One that is away is told of and no error: jobs that need it wait for it.
pub async fn first_look(bucket: &Bucket) -> Result {
    match bucket.check().await {
        Ok(()) => Ok(()),
        Err(error) if error.is_misconfigured() => Err(explain(error)),
        Err(error) => {
            output::note(&format!("{error}; trying again until it answers"));
            Ok(())
        }
    }
}

/// Comes back only when the bucket answers that it does not accept the keys, or is none. One that is away is not asked
/// to explain itself here: jobs that need it wait for it.
pub async fn refusal(bucket: &Bucket) -> Error {
    loop {
        match bucket.check().await {
            Ok(()) => return std::future::pending().await,
            Err(error) if error.is_misconfigured() => return explain(error),
            Err(_) => tokio::time::sleep(CHECK_PAUSE).await,
        }
    }
}

/// What a bucket that does not let us in, or is none, means for the user.
pub fn explain(error: BucketError) -> Error {
    match error {
        BucketError::NoBucket { .. } => Error::new(Kind::Unreachable, error).hint(
            "are port and name right? -k, BUE_BUCKET, or BUCKET_CLIENT_HOST and BUCKET_CLIENT_PORT name the bucket",
        ),
        error if is_refused_folder(&error) => Error::new(Kind::Refused, error).hint(FOLDER_HINT),
        BucketError::Io { .. } => Error::machine(error).hint("-k, or BUE_BUCKET, names another bucket"),
        refused => Error::new(Kind::Refused, refused).hint(KEYS_HINT),
    }
}

/// Whether it is the system that refuses a folder.
fn is_refused_folder(error: &BucketError) -> bool {
    matches!(error, BucketError::Refused { place, .. } if place.starts_with("file://"))
}

fn is_this_machine(address: &str) -> bool {
    address.parse::<PartialAddress>().is_ok_and(|address| address.with_default_port(0).is_loopback())
}
