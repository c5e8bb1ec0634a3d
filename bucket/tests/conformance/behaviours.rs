//! What every bucket does.

use std::fs::File;

use bue_bucket::{BucketError, Stored};
use bytes::Bytes;
use futures::future::join_all;
use protocol::Digest;

use crate::fixture::Fixture;

const BYTES_MAX: u64 = 1 << 30;

pub async fn a_bucket_that_is_there_passes_its_check(f: &Fixture) {
    f.bucket.check().await.unwrap();
}

pub async fn what_is_put_is_got_back(f: &Fixture) {
    for content in [&b""[..], b"x", b"{\"a\": [1, 2]}\n", &[0, 255, 13, 10]] {
        let key = f.key("object");
        let stored = f.bucket.put(&key, Bytes::copy_from_slice(content)).await.unwrap();
        assert_eq!(stored, Stored { bytes: content.len() as u64, sha256: Digest::of(content) });
        assert_eq!(f.bucket.get(&key, BYTES_MAX).await.unwrap(), content);
        assert_eq!(f.bucket.get_verified(&key, stored).await.unwrap(), content);
    }
}

pub async fn a_second_put_replaces_the_first(f: &Fixture) {
    let key = f.key("object");
    f.bucket.put(&key, Bytes::from_static(b"the first, longer one")).await.unwrap();
    f.bucket.put(&key, Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(f.bucket.get(&key, BYTES_MAX).await.unwrap(), "second");
}

pub async fn an_object_that_is_not_there_is_not_found(f: &Fixture) {
    let key = f.key("nowhere");
    let error = f.bucket.get(&key, BYTES_MAX).await.unwrap_err();
    assert!(matches!(&error, BucketError::NotFound { key: named } if *named == key), "{error:?}");
    assert!(!error.is_transient());
}

pub async fn an_object_over_the_limit_is_not_read(f: &Fixture) {
    let key = f.key("object");
    f.bucket.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
    let error = f.bucket.get(&key, 9).await.unwrap_err();
    assert!(matches!(error, BucketError::TooLarge { bytes: 10, bytes_max: 9, .. }), "{error:?}");
    f.bucket.get(&key, 10).await.unwrap();
}

pub async fn of_sixteen_creators_exactly_one_wins(f: &Fixture) {
    for round in 0..4 {
        let key = f.key(&format!("prize-{round}"));
        let creators = (0..16).map(|creator| {
            let (bucket, key) = (f.bucket.clone(), key.clone());
            tokio::spawn(async move { (creator, bucket.create(&key, Bytes::from(format!("by {creator}"))).await) })
        });
        let mut winners = Vec::new();
        for outcome in join_all(creators).await {
            match outcome.unwrap() {
                (creator, Ok(_)) => winners.push(creator),
                (_, Err(error)) => assert!(matches!(error, BucketError::Exists { .. }), "{error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(f.bucket.get(&key, BYTES_MAX).await.unwrap(), format!("by {}", winners[0]));
    }
}

pub async fn a_listing_has_the_keys_below_a_folder_in_order(f: &Fixture) {
    for name in ["list/b", "list/a/2", "list/a/1", "list/a-", "listing/other"] {
        f.bucket.put(&f.key(name), Bytes::from_static(b"12345")).await.unwrap();
    }
    let entries = f.bucket.list(&f.key("list")).await.unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["list/a-", "list/a/1", "list/a/2", "list/b"].map(|name| f.key(name)));
    assert!(entries.iter().all(|entry| entry.bytes == 5 && entry.modified_ms > 1_600_000_000_000), "{entries:?}");
    assert_eq!(f.bucket.list(&f.key("nothing")).await.unwrap(), []);
}

pub async fn deleting_twice_is_no_error(f: &Fixture) {
    let key = f.key("object");
    f.bucket.put(&key, Bytes::from_static(b"x")).await.unwrap();
    f.bucket.delete(&key).await.unwrap();
    f.bucket.delete(&key).await.unwrap();
    assert!(matches!(f.bucket.get(&key, BYTES_MAX).await, Err(BucketError::NotFound { .. })));
}

pub async fn deleting_a_folder_spares_its_neighbours(f: &Fixture) {
    for name in ["run/1/a", "run/1/b/c", "run/10/a", "run/2"] {
        f.bucket.put(&f.key(name), Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(f.bucket.delete_prefix(&f.key("run/1")).await.unwrap(), 2);
    let left = f.bucket.list(&f.key("run")).await.unwrap();
    let keys: Vec<_> = left.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["run/10/a", "run/2"].map(|name| f.key(name)));
    assert_eq!(f.bucket.delete_prefix(&f.key("run/1")).await.unwrap(), 0);
}

pub async fn everything_is_never_deleted(f: &Fixture) {
    f.bucket.put(&f.key("kept"), Bytes::from_static(b"x")).await.unwrap();
    for prefix in ["", "/"] {
        assert!(matches!(f.bucket.delete_prefix(prefix).await, Err(BucketError::Invalid { .. })));
    }
    f.bucket.get(&f.key("kept"), 1).await.unwrap();
}

pub async fn keys_that_leave_the_bucket_are_refused(f: &Fixture) {
    for name in ["../outside", "a/../../outside", "./here", "a//b"] {
        let key = f.key(name);
        let error = f.bucket.put(&key, Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(error, BucketError::Invalid { .. }), "{key}: {error:?}");
    }
}

pub async fn unusual_keys_are_kept_apart(f: &Fixture) {
    let names =
        ["with blank", "Größe", "日本", "a+b", "a%20b", "a b", "q?x=1&y=2", "semi;colon", "dot.", "~tilde", "A", "a"];
    for name in names {
        f.bucket.put(&f.key(name), Bytes::from(name)).await.unwrap();
    }
    for name in names {
        assert_eq!(f.bucket.get(&f.key(name), BYTES_MAX).await.unwrap(), name);
    }
    let listed = f.bucket.list(&f.place).await.unwrap();
    let mut expected = names.map(|name| f.key(name));
    expected.sort();
    assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), expected);
}

pub async fn files_of_every_size_come_back_whole(f: &Fixture) {
    const PART: usize = 8 * 1024 * 1024;
    for bytes in [0, 1, PART - 1, PART, PART + 1, 2 * PART + 12_345] {
        let content: Vec<u8> = (0..bytes).map(|place| (place * 31 % 251) as u8).collect();
        let (source, target) = (f.scratch.path().join("source"), f.scratch.path().join("target"));
        std::fs::write(&source, &content).unwrap();

        let key = f.key(&format!("file-{bytes}"));
        let stored = f.bucket.put_file(&key, File::open(&source).unwrap(), BYTES_MAX).await.unwrap();
        assert_eq!(stored, Stored { bytes: bytes as u64, sha256: Digest::of(&content) });
        f.bucket.get_to_file(&key, &target, stored).await.unwrap();
        assert!(std::fs::read(&target).unwrap() == content, "{bytes} bytes");
    }
}

pub async fn a_file_over_the_limit_is_not_sent(f: &Fixture) {
    let source = f.scratch.path().join("source");
    std::fs::write(&source, b"0123456789").unwrap();
    let error = f.bucket.put_file(&f.key("large"), File::open(&source).unwrap(), 9).await.unwrap_err();
    assert!(matches!(error, BucketError::TooLarge { bytes: 10, bytes_max: 9, .. }), "{error:?}");
    assert_eq!(f.bucket.list(&f.place).await.unwrap(), []);
}

pub async fn a_changed_object_is_corrupt(f: &Fixture) {
    let key = f.key("object");
    let written = f.bucket.put(&key, Bytes::from_static(b"what was written")).await.unwrap();
    for changed in [&b"what was Written"[..], b"what was", b"what was written, and more"] {
        f.bucket.put(&key, Bytes::copy_from_slice(changed)).await.unwrap();
        let target = f.scratch.path().join("target");
        for outcome in
            [f.bucket.get_verified(&key, written).await.map(|_| ()), f.bucket.get_to_file(&key, &target, written).await]
        {
            let error = outcome.unwrap_err();
            assert!(matches!(error, BucketError::Corrupt { .. }), "{error:?}");
        }
        assert!(!target.exists());
    }
}

pub async fn many_objects_are_written_and_listed_at_once(f: &Fixture) {
    // More than one page of a listing.
    const OBJECTS: usize = 1_100;
    for group in (0..OBJECTS).collect::<Vec<_>>().chunks(100) {
        let puts = group.iter().map(|number| {
            let (bucket, key) = (f.bucket.clone(), f.key(&format!("many/{}/{number:05}", number % 7)));
            tokio::spawn(async move { bucket.put(&key, Bytes::from(number_text(&key))).await })
        });
        for put in join_all(puts).await {
            put.unwrap().unwrap();
        }
    }
    let entries = f.bucket.list(&f.key("many")).await.unwrap();
    assert_eq!(entries.len(), OBJECTS);
    assert!(entries.is_sorted_by(|one, other| one.key < other.key));
    assert_eq!(f.bucket.delete_prefix(&f.key("many")).await.unwrap(), OBJECTS as u64);
    assert_eq!(f.bucket.list(&f.key("many")).await.unwrap(), []);
}

fn number_text(key: &str) -> String {
    format!("content of {key}")
}
