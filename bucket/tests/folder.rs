//! A bucket in a folder, and the folder that is away for a while, as a share is that is not mounted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bue_bucket::server::{Limits, ServerConfig, serve};
use bue_bucket::{Bucket, BucketError, BucketUrl, Credentials};
use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const BYTES_MAX: u64 = 1 << 30;
/// More than goes in one piece.
const LARGE_BYTES: usize = 20 << 20;

fn open(folder: &Path) -> Bucket {
    Bucket::open(&BucketUrl::Folder(folder.to_owned()), None).unwrap()
}

fn file_of(scratch: &TempDir, bytes: usize) -> fs::File {
    let path = scratch.path().join("file");
    fs::write(&path, vec![b'x'; bytes]).unwrap();
    fs::File::open(path).unwrap()
}

/// What comes of everything that can be asked of a bucket.
async fn ask_all(bucket: &Bucket, scratch: &TempDir) -> Vec<Result<(), BucketError>> {
    let content = || Bytes::from_static(b"content");
    let stored = bue_bucket::Stored { bytes: 7, sha256: protocol::Digest::of(b"content") };
    vec![
        bucket.check().await,
        bucket.put("runs/new", content()).await.map(|_| ()),
        bucket.create("runs/created", content()).await.map(|_| ()),
        bucket.put_file("runs/file", file_of(scratch, 9), BYTES_MAX).await.map(|_| ()),
        bucket.put_file("runs/large", file_of(scratch, LARGE_BYTES), BYTES_MAX).await.map(|_| ()),
        bucket.get("runs/old", BYTES_MAX).await.map(|_| ()),
        bucket.get_range("runs/old", 0..7, stored.sha256).await.map(|_| ()),
        bucket.get_to_file("runs/old", &scratch.path().join("target"), stored).await,
        bucket.list("runs").await.map(|_| ()),
        bucket.delete("runs/created").await,
        bucket.delete_prefix("runs/none").await.map(|_| ()),
    ]
}

fn expect_away(outcomes: Vec<Result<(), BucketError>>, words: &str) {
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let error = outcome.expect_err(&format!("request {number}"));
        assert!(error.is_transient() && error.to_string().contains(words), "request {number}: {error}");
    }
}

/// An open bucket with one object, its place, and where its folder was moved to since.
async fn moved_away(scratch: &TempDir, name: &str) -> (Bucket, PathBuf, PathBuf) {
    let (place, away) = (scratch.path().join(name), scratch.path().join("away"));
    let bucket = open(&place);
    bucket.put("runs/old", Bytes::from_static(b"content")).await.unwrap();
    fs::rename(&place, &away).unwrap();
    (bucket, place, away)
}

#[tokio::test]
async fn nothing_is_lost_while_the_folder_is_away() {
    let scratch = tempfile::tempdir().unwrap();
    let (bucket, place, away) = moved_away(&scratch, "share/bucket").await;
    expect_away(ask_all(&bucket, &scratch).await, "lacks the file .bue-bucket");
    assert!(!place.exists(), "who waits for a folder makes none in its place");
    // The empty place of a share.
    fs::create_dir(&place).unwrap();
    expect_away(ask_all(&bucket, &scratch).await, "not mounted");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    fs::remove_dir(&place).unwrap();
    fs::rename(&away, &place).unwrap();
    for outcome in ask_all(&bucket, &scratch).await {
        outcome.unwrap();
    }
    assert!(matches!(bucket.get("runs/none", BYTES_MAX).await, Err(BucketError::NotFound { .. })));
}

#[test]
fn a_folder_that_this_user_may_not_write_to_is_refused_at_the_first_look() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("bucket");
    let others = place.join("runs");
    drop(open(&place));
    fs::create_dir(&others).unwrap();
    let access = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    access(scratch.path(), 0o755);
    // What is asked by a thread that is nobody, whoever runs the tests.
    let check = |open: fn(&BucketUrl, Option<&Credentials>) -> Result<Bucket, BucketError>| {
        let url = BucketUrl::Folder(place.clone());
        let nobody = std::thread::spawn(move || {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { open(&url, None)?.check().await })
        });
        nobody.join().unwrap()
    };
    access(&place, 0o777);
    access(&others, 0o777);
    check(Bucket::open).unwrap();
    for (closed, mode) in [(&others, 0o555), (&place, 0o555)] {
        access(closed, mode);
        let error = check(Bucket::open).unwrap_err();
        let words = format!("nothing can be written in {}: permission denied", closed.display());
        assert!(error.is_misconfigured() && error.to_string().contains(&words), "{error}");
        check(Bucket::open_to_read).unwrap();
        access(closed, 0o777);
    }
    assert_eq!(fs::read_dir(&place).unwrap().count(), 2, "nothing is left of the look");
}

#[tokio::test]
async fn another_bucket_in_its_place_is_told_from_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (bucket, place, _) = moved_away(&scratch, "bucket").await;
    let other = open(&place);
    expect_away(ask_all(&bucket, &scratch).await, "another bucket than before");
    assert_eq!(other.list("").await.unwrap(), []);
    // Two that open one folder are in one bucket.
    let same = open(&place);
    same.put("k", Bytes::from_static(b"content")).await.unwrap();
    assert_eq!(other.get("k", BYTES_MAX).await.unwrap(), "content");
}

#[tokio::test]
async fn who_only_reads_makes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (place, copy) = (scratch.path().join("bucket"), scratch.path().join("copy"));
    open(&place).put("k", Bytes::from_static(b"content")).await.unwrap();
    fs::create_dir(&copy).unwrap();
    fs::copy(place.join("k"), copy.join("k")).unwrap();
    // A copy of the objects alone can be read.
    let reader = Bucket::open_to_read(&BucketUrl::Folder(copy.clone()), None).unwrap();
    assert_eq!(reader.get("k", BYTES_MAX).await.unwrap(), "content");
    expect_away(vec![reader.get("other", BYTES_MAX).await.map(|_| ())], "lacks the file .bue-bucket");
    assert_eq!(fs::read_dir(&copy).unwrap().count(), 1);
}

#[tokio::test]
async fn the_folder_of_a_server_that_is_away_is_no_missing_bucket() {
    bue_bucket::install_tls();
    let (scratch, credentials) = (tempfile::tempdir().unwrap(), Credentials::random().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string().parse().unwrap();
    let folder = scratch.path().to_owned();
    let config = ServerConfig { folder, credentials: credentials.clone(), limits: Limits::default() };
    let _server = tokio::spawn(serve(listener, config, CancellationToken::new()));
    let bucket = Bucket::open(&url, Some(&credentials)).unwrap();
    bucket.put("k", Bytes::from("content")).await.unwrap();
    let (place, away) = (scratch.path().join("buckets"), scratch.path().join("away"));
    fs::rename(&place, &away).unwrap();
    let error = bucket.check().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("503 Service Unavailable"), "{error}");
    fs::rename(&away, &place).unwrap();
    bucket.check().await.unwrap();
    assert_eq!(bucket.get("k", BYTES_MAX).await.unwrap(), "content");
}
