//! Buckets to test, each used by one test alone.

use bue_bucket::{Bucket, BucketUrl};
use tempfile::TempDir;

/// A bucket, the folder in it that the test may use, and what keeps it alive.
pub struct Fixture {
    pub bucket: Bucket,
    pub place: String,
    pub scratch: TempDir,
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
    Fixture { bucket, place: "test".to_owned(), scratch }
}
