//! Buckets to test, each used by one test alone.

use std::time::{Duration, Instant};

use bue_bucket::server::{Limits, ServerConfig, serve};
use bue_bucket::{Bucket, BucketUrl, Credentials};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// URL of an S3 bucket to test instead of our own server, with its key pair in the usual `AWS_*` variables.
const OTHER_S3_VARIABLE: &str = "BUE_TEST_S3_URL";

/// Longest time for a service to be there.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A bucket, the folder in it that the test may use, and what keeps it alive.
pub struct Fixture {
    pub bucket: Bucket,
    pub place: String,
    pub scratch: TempDir,
    _server: Option<DropGuard>,
}

impl Fixture {
    /// A key in the folder of this test.
    pub fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

/// A bucket in a folder of this machine.
pub async fn folder() -> Fixture {
    let scratch = tempfile::tempdir().unwrap();
    let url: BucketUrl = format!("file://{}/bucket", scratch.path().display()).parse().unwrap();
    let bucket = Bucket::open(&url, None).unwrap();
    Fixture { bucket, place: "test".to_owned(), scratch, _server: None }
}

/// A bucket of our own server, or of the service that the environment names.
pub async fn s3() -> Fixture {
    bue_bucket::install_tls();
    let scratch = tempfile::tempdir().unwrap();
    // Other services keep what earlier tests left.
    let place = format!("test-{}", Credentials::random().unwrap().access_key);
    if let Ok(url) = std::env::var(OTHER_S3_VARIABLE) {
        let bucket = Bucket::open(&url.parse().unwrap(), Credentials::from_environment().as_ref()).unwrap();
        return Fixture { bucket, place, scratch, _server: None };
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: BucketUrl = listener.local_addr().unwrap().to_string().parse().unwrap();
    let credentials = Credentials::random().unwrap();
    let bucket = Bucket::open(&url, Some(&credentials)).unwrap();
    let config = ServerConfig { folder: scratch.path().join("served"), credentials, limits: Limits::default() };
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, config, shutdown.clone()));
    Fixture { bucket, place, scratch, _server: Some(shutdown.drop_guard()) }
}

/// A bucket of a service of somebody else, which has just been started at `url`.
pub async fn other_s3(url: &str) -> Bucket {
    bue_bucket::install_tls();
    let bucket = Bucket::open(&url.parse().unwrap(), Some(&Credentials::new("key", "secret"))).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = bucket.put("ready", Bytes::from_static(b"x")).await {
        assert!(Instant::now() < deadline, "waited in vain for {url}: {error}");
        tokio::time::sleep(PAUSE).await;
    }
    bucket
}

/// A place in that bucket.
pub fn in_bucket(bucket: &Bucket, place: &str) -> Fixture {
    Fixture { bucket: bucket.clone(), place: place.to_owned(), scratch: tempfile::tempdir().unwrap(), _server: None }
}
