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

on_both_stores! {
    values_go_with_their_runs_and_those_of_others_stay,
    values_over_the_bound_go_those_of_the_oldest_run_first_and_runs_stay,
}
