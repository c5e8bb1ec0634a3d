//! From a URL to the store behind it: endpoints, credentials, one connection pool, bounded waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::url::{AddressStyle, DEFAULT_BUCKET_NAME, DEFAULT_REGION, S3Url};
use crate::{BucketError, BucketUrl, Credentials};

/// Longest time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest silence of the service within one request.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// No request is tried again after this time; with the timeouts above, none lasts much longer than 20 s in vain.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);
/// First pause between two tries.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Most tries of one request after the first.
const RETRIES_MAX: usize = 20;
/// Idle connections are closed before the server does it, so that no request meets a closing one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Idle connections that are kept.
const POOL_IDLE_MAX: usize = 64;

/// How patiently a store deals with faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Tries again, within bounds.
    Retry,
    /// Says at once what is wrong: for checks that a person waits for.
    Once,
}

/// The store behind `url` and what all its keys begin with.
pub(super) fn store(
    url: &BucketUrl,
    credentials: Option<&Credentials>,
    patience: Patience,
) -> Result<Arc<dyn ObjectStore>, BucketError> {
    match url {
        BucketUrl::Folder(path) => folder(path),
        BucketUrl::S3(s3_url) => s3(url, s3_url, credentials, patience),
        BucketUrl::Server(address) => {
            let s3_url = S3Url {
                bucket: DEFAULT_BUCKET_NAME.to_owned(),
                prefix: String::new(),
                endpoint: Some(format!("http://{address}")),
                region: None,
                style: AddressStyle::Path,
            };
            s3(url, &s3_url, credentials, patience)
        }
    }
}

fn folder(path: &Path) -> Result<Arc<dyn ObjectStore>, BucketError> {
    let in_folder = |source| BucketError::io(path.display(), source);
    let store = LocalFileSystem::new_with_prefix(path)
        .map_err(|error| in_folder(std::io::Error::other(error.to_string())))?
        .with_automatic_cleanup(true)
        .with_fsync(true);
    Ok(Arc::new(store))
}

fn s3(
    url: &BucketUrl,
    s3_url: &S3Url,
    credentials: Option<&Credentials>,
    patience: Patience,
) -> Result<Arc<dyn ObjectStore>, BucketError> {
    let refused = |reason: String| BucketError::Refused { place: url.to_string(), reason };
    let mut builder = match (credentials, &s3_url.endpoint) {
        (Some(credentials), _) => with_credentials(credentials),
        // On machines of AWS the roles of machine, container or cluster stand in for keys.
        (None, None) => AmazonS3Builder::from_env(),
        (None, Some(_)) => {
            return Err(BucketError::NoKeys { place: url.to_string() });
        }
    };
    // Where no endpoint is given, it is one of AWS.
    let needs_certificates = s3_url.endpoint.as_deref().is_none_or(crate::needs_certificates);
    if let Some(endpoint) = &s3_url.endpoint {
        builder = builder.with_endpoint(endpoint_of(endpoint, s3_url));
    }
    match (&s3_url.region, builder.get_config_value(&AmazonS3ConfigKey::Region)) {
        (Some(region), _) => builder = builder.with_region(region),
        (None, None) => builder = builder.with_region(DEFAULT_REGION),
        (None, Some(_)) => {}
    }
    // Our own server holds a content to this checksum, which is signed and is part of its ETag anyway: SHA-256 on both sides takes
    // longer than all else of a large upload. Other services may not know it.
    if let BucketUrl::Server(_) = url {
        builder = builder.with_unsigned_payload(true).with_checksum_algorithm(Checksum::CRC64NVME);
    }
    let store = builder
        .with_bucket_name(&s3_url.bucket)
        .with_virtual_hosted_style_request(s3_url.style == AddressStyle::VirtualHost)
        .with_client_options(client_options(patience).with_no_system_certificates(!needs_certificates))
        .with_retry(retries(patience))
        .build()
        .map_err(|error| refused(error.to_string()))?;
    Ok(Arc::new(store))
}

/// Where requests go. The store names the bucket in the path or not at all: in the host it is for us to put it.
fn endpoint_of(endpoint: &str, s3_url: &S3Url) -> String {
    match (s3_url.style, endpoint.split_once("://")) {
        (AddressStyle::VirtualHost, Some((scheme, host))) => format!("{scheme}://{}.{host}", s3_url.bucket),
        _ => endpoint.to_owned(),
    }
}

fn with_credentials(credentials: &Credentials) -> AmazonS3Builder {
    let builder = AmazonS3Builder::new()
        .with_access_key_id(&credentials.access_key)
        .with_secret_access_key(&credentials.secret_key);
    match &credentials.session_token {
        Some(token) => builder.with_token(token),
        None => builder,
    }
}

fn client_options(patience: Patience) -> ClientOptions {
    let read_timeout = match patience {
        Patience::Retry => READ_TIMEOUT,
        Patience::Once => CONNECT_TIMEOUT,
    };
    ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(read_timeout)
        // A large object may take its time as long as bytes flow.
        .with_timeout_disabled()
        .with_pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .with_pool_max_idle_per_host(POOL_IDLE_MAX)
}

fn retries(patience: Patience) -> RetryConfig {
    let max_retries = match patience {
        Patience::Retry => RETRIES_MAX,
        Patience::Once => 0,
    };
    RetryConfig {
        backoff: BackoffConfig { init_backoff: BACKOFF_FIRST, max_backoff: BACKOFF_MAX, base: 2.0 },
        max_retries,
        retry_timeout: RETRY_TIMEOUT,
    }
}
