//! A hub or a bucket that goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use protocol::{Digest, Format, Outcome, Place, ValueKind, ValueRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fake_hub::{Fleet, open_bucket, python, until};

#[tokio::test]
async fn a_hub_that_is_away_loses_no_work() {
    let fleet = Fleet::start();
    fleet.hub.outage.store(20, Ordering::SeqCst);
    let lease = fleet.add(python("import time\ndef step():\n    time.sleep(0.3)\n    return 1\n"));
    until("the lease is taken", || fleet.hub.available() == 0).await;
    fleet.hub.outage.store(20, Ordering::SeqCst);
    assert!(matches!(fleet.hub.settlement(lease.job).await.outcome, Outcome::Success { .. }));
    assert_eq!(fleet.stop().await.succeeded, 1);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let fleet = Fleet::start();
    fleet.hub.lost_answers.store(3, Ordering::SeqCst);
    fleet.stored(python("def step():\n    return 1\n")).await;
    until("all answers are lost", || fleet.hub.lost_answers.load(Ordering::SeqCst) == 0).await;
    assert_eq!(fleet.stop().await.succeeded, 1);
}

#[tokio::test]
async fn a_bucket_that_is_away_hands_the_job_back_and_fails_nothing() {
    // Nobody listens on this port while the listener is not accepting: it is closed before it is used.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bucket = open_bucket(&format!("s3://values?endpoint=http://{address}"));
    let fleet = Fleet::over(tempfile::tempdir().unwrap(), bucket, |config| {
        config.limits.patience = Duration::from_millis(10);
        config.limits.release_delay = Duration::from_millis(1_234);
    });
    let place = Place::Object {
        key: "runs/x/j0/1".to_owned(),
        format: Format::Json,
        bytes: 2,
        sha256: Digest::of(b"[]"),
        pages: None,
    };
    let input = ValueRef { kind: ValueKind::List, length: None, place };
    let settlement = fleet.run(python("def step(x):\n    return x\n").value(input)).await;
    let Outcome::Release { reason, delay_ms } = settlement.outcome else { panic!("{settlement:?}") };
    assert!(reason.contains(&address.to_string()), "{reason}");
    assert_eq!(delay_ms, 1_234);
}

/// A server that knows nothing of buckets: all it says is that there is nothing. From a moment on it is one, and empty.
struct Stranger {
    address: std::net::SocketAddr,
    listings: AtomicU32,
    is_bucket: AtomicBool,
}

impl Stranger {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stranger = Self { address, listings: AtomicU32::new(0), is_bucket: AtomicBool::new(false) };
        let stranger = Arc::new(stranger);
        let answering = Arc::clone(&stranger);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&answering).answer(connection));
            }
        });
        stranger
    }

    async fn answer(self: Arc<Self>, mut connection: tokio::net::TcpStream) {
        let mut request = vec![0; 1 << 16];
        let length = connection.read(&mut request).await.unwrap_or(0);
        let is_listing = String::from_utf8_lossy(&request[..length]).contains("list-type=2");
        self.listings.fetch_add(u32::from(is_listing), Ordering::SeqCst);
        let listing = "<ListBucketResult><Name>values</Name><IsTruncated>false</IsTruncated></ListBucketResult>";
        let (status, content) = match is_listing && self.is_bucket.load(Ordering::SeqCst) {
            true => ("200 OK", listing),
            false => ("404 Not Found", ""),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
        let _ = connection.write_all(format!("{head}{content}").as_bytes()).await;
        // What is still being sent is read, so that the answer is not lost to a reset.
        while connection.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

#[tokio::test]
async fn what_is_no_bucket_hands_jobs_back_and_its_worker_takes_no_more_until_it_is_one() {
    let stranger = Stranger::start().await;
    let bucket = open_bucket(&format!("s3://values?endpoint=http://{}", stranger.address));
    let fleet = Fleet::over(tempfile::tempdir().unwrap(), bucket, |config| {
        config.limits.patience = Duration::from_millis(10);
        config.limits.release_delay = Duration::from_millis(1_234);
    });
    let place = Place::Object {
        key: "runs/x/j0/1".to_owned(),
        format: Format::Json,
        bytes: 2,
        sha256: Digest::of(b"[]"),
        pages: None,
    };
    let input = ValueRef { kind: ValueKind::List, length: None, place };
    let writer = fleet.add(python("def step():\n    return 'x' * 1000000\n"));
    let reader = fleet.add(python("def step(x):\n    return x\n").value(input));
    for lease in [writer, reader] {
        let settlement = fleet.hub.settlement(lease.job).await;
        let Outcome::Release { reason, delay_ms } = settlement.outcome else { panic!("{settlement:?}") };
        assert!(reason.contains("is not a bucket"), "{reason}");
        assert_eq!(delay_ms, 1_234);
    }
    let asked = stranger.listings.load(Ordering::SeqCst);
    let third = fleet.add(python("def step():\n    return 1\n"));
    until("the worker asks what it is", || stranger.listings.load(Ordering::SeqCst) > asked).await;
    assert_eq!(fleet.hub.available(), 1, "others may take it meanwhile");
    stranger.is_bucket.store(true, Ordering::SeqCst);
    assert!(matches!(fleet.hub.settlement(third.job).await.outcome, Outcome::Success { .. }));
    fleet.stop().await;
}

#[tokio::test]
async fn an_input_that_is_gone_or_corrupt_is_an_error_of_the_job() {
    let fleet = Fleet::start();
    let object = |key: &str| Place::Object {
        key: key.to_owned(),
        format: Format::Json,
        bytes: 2,
        sha256: Digest::of(b"[]"),
        pages: None,
    };
    let keys = [1, 2].map(|attempt| format!("runs/{}/j0/{attempt}", protocol::RunId::new(1, 0)));
    fleet.bucket.put(&keys[0], bytes::Bytes::from_static(b"{}")).await.unwrap();
    for key in &keys {
        let input = ValueRef { kind: ValueKind::List, length: None, place: object(key) };
        let error = fleet.error(python("def step(x):\n    return x\n").value(input)).await;
        assert_eq!((error.kind, error.lost), (protocol::ErrorKind::Input, Some(protocol::JobId(0))));
        assert!(
            error.message.contains(key)
                && error.message.ends_with("no retry brings it back, `bue reset j0` has it made again"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_file_that_somebody_removed_from_the_cache_is_fetched_again() {
    let fleet = Fleet::start();
    let work = || python("def step():\n    return open('data.txt').read()\n").file("data.txt", "content");
    assert_eq!(fleet.value(work()).await, "\"content\"");
    std::fs::remove_dir_all(fleet.folder.path().join("worker/cache/files")).unwrap();
    assert_eq!(fleet.value(work()).await, "\"content\"");
}
