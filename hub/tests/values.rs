//! Values in the bucket: they go with their runs, and where all together are over a bound.

mod rig;

use std::time::Duration;

use bucket::Bucket;
use bytes::Bytes;
use protocol::{Digest, Format, Outcome, Place, RunId, ValueKind, ValueRef};
use rig::{On, Rig, script};

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A hub over a bucket in a folder of its own.
async fn hub(on: On, change: impl FnOnce(&mut bue_hub::Config)) -> (Rig, Bucket, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::open(&format!("file://{}", folder.path().display()).parse().unwrap(), None).unwrap();
    let kept = bucket.clone();
    let rig = Rig::with(on, |config| {
        config.bucket = Some(kept);
        config.limits.kept.look = Duration::from_millis(20);
        change(config);
    })
    .await;
    (rig, bucket, folder)
}

/// A run whose only job has this many bytes as its value.
async fn ended_run(rig: &Rig, bucket: &Bucket, bytes: usize) -> RunId {
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let key = format!("runs/{run}/{}/1", lease.job);
    let content = Bytes::from(vec![b' '; bytes]);
    bucket.put(&key, content.clone()).await.unwrap();
    let sha256 = Digest::of(&content);
    let place = Place::Object { key, format: Format::Json, bytes: bytes as u64, sha256, pages: None };
    let value = ValueRef { kind: ValueKind::Null, length: None, place };
    rig.settle(&lease, Outcome::Success { value, priority: None }).await;
    run
}

async fn keys(bucket: &Bucket) -> Vec<String> {
    bucket.list("runs").await.unwrap().into_iter().map(|entry| entry.key).collect()
}

fn of<'keys>(keys: &'keys [String], run: &RunId) -> Vec<&'keys String> {
    keys.iter().filter(|key| key.starts_with(&format!("runs/{run}/"))).collect()
}

async fn values_go_with_their_runs_and_those_of_others_stay(on: On) {
    let (rig, bucket, _folder) = hub(on, |config| config.limits.kept.succeeded_runs_max = 1).await;
    let stranger = "runs/r0000000000zz/j1/1";
    bucket.put(stranger, Bytes::from_static(b"1")).await.unwrap();
    let first = ended_run(&rig, &bucket, 10).await;
    bucket.put(&format!("runs/{first}/j1/1.log"), Bytes::from_static(b"x")).await.unwrap();
    let second = ended_run(&rig, &bucket, 10).await;
    until("the values of the first run are gone", async || of(&keys(&bucket).await, &first).is_empty()).await;
    until("and the run itself", async || rig.queue.run(first.clone(), None, Duration::ZERO).await.is_err()).await;
    let left = keys(&bucket).await;
    assert_eq!(of(&left, &second).len(), 1);
    assert!(left.iter().any(|key| key == stranger), "{left:?}");
}

async fn values_over_the_bound_go_those_of_the_oldest_run_first_and_runs_stay(on: On) {
    let (rig, bucket, _folder) = hub(on, |config| config.limits.kept.look = Duration::from_secs(3_600)).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(ended_run(&rig, &bucket, 1_000).await);
    }
    let mut rig = rig;
    rig.config.limits.kept.values_bytes_max = 2_500;
    let rig = rig.restart().await;
    until("the oldest values are gone", async || of(&keys(&bucket).await, &runs[0]).is_empty()).await;
    let left = keys(&bucket).await;
    assert_eq!((of(&left, &runs[1]).len(), of(&left, &runs[2]).len()), (1, 1));
    assert_eq!(rig.run(&runs[0]).await.counts.succeeded, 1);
}

async fn a_pinned_run_stays_with_its_values_whatever_the_bounds(on: On) {
    let (rig, bucket, _folder) = hub(on, |config| config.limits.kept.look = Duration::from_secs(3_600)).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(ended_run(&rig, &bucket, 1_000).await);
    }
    assert!(!rig.run(&runs[0]).await.pinned);
    assert!(rig.queue.pin(runs[0].clone()).await.unwrap().pinned);
    assert!(rig.queue.unpin(runs[1].clone()).await.unwrap_err().to_string().contains("is not pinned"));
    let mut rig = rig;
    rig.config.limits.kept.look = Duration::from_millis(20);
    rig.config.limits.kept.values_bytes_max = 500;
    rig.config.limits.kept.succeeded_runs_max = 1;
    rig.config.limits.kept.succeeded_for = Duration::ZERO;
    let rig = rig.restart().await;
    until("the others are gone", async || keys(&bucket).await.len() == 1).await;
    assert_eq!(of(&keys(&bucket).await, &runs[0]).len(), 1);
    until("with their rows", async || rig.queue.runs(10).await.unwrap().len() == 1).await;
    assert!(rig.run(&runs[0]).await.pinned);
    rig.queue.unpin(runs[0].clone()).await.unwrap();
    until("all is gone", async || keys(&bucket).await.is_empty()).await;
}

async fn what_lost_attempts_left_is_removed_after_the_end_of_their_run_and_values_and_logs_stay(on: On) {
    let (rig, bucket, _folder) = hub(on, |config| config.limits.kept.orphans_for = Duration::from_millis(50)).await;
    let run = rig.submit(&script(&["a"], "p = | a\np()\n")).await;
    let lease = rig.next_of("a").await;
    let folder = format!("runs/{run}/{}", lease.job);
    for name in ["1", "1.pages", "1.log", "2", "2.log"] {
        bucket.put(&format!("{folder}/{name}"), Bytes::from_static(b"1")).await.unwrap();
    }
    let place = Place::Object {
        key: format!("{folder}/2"),
        format: Format::Json,
        bytes: 1,
        sha256: Digest::of(b"1"),
        pages: None,
    };
    // Newer runs do not hide an older one that ends after them.
    for _ in 0..3 {
        ended_run(&rig, &bucket, 10).await;
    }
    let value = ValueRef { kind: ValueKind::Number, length: None, place };
    rig.settle(&lease, Outcome::Success { value, priority: None }).await;
    let left = || async { of(&keys(&bucket).await, &run).into_iter().cloned().collect::<Vec<String>>() };
    let expected: Vec<String> = ["1.log", "2", "2.log"].iter().map(|name| format!("{folder}/{name}")).collect();
    until("what the first attempt left is gone", async || left().await == expected).await;
}

on_both_stores! {
    a_pinned_run_stays_with_its_values_whatever_the_bounds,
    what_lost_attempts_left_is_removed_after_the_end_of_their_run_and_values_and_logs_stay,
    values_go_with_their_runs_and_those_of_others_stay,
    values_over_the_bound_go_those_of_the_oldest_run_first_and_runs_stay,
}
