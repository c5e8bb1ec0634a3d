//! The folder against a model of it, and what it leaves behind.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

pub(super) const BYTES_MAX: u64 = 100 << 20;
/// What uploads here are for.
pub(super) const OF: Upload<'static> = Upload { bucket: "bue", key: "k" };

pub(super) fn folder() -> (Folder, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::open(root.path()).unwrap();
    folder.create_bucket("bue").unwrap();
    (folder, root)
}

fn target(key: &str, condition: Condition) -> Target {
    Target { bucket: "bue".to_owned(), key: key.to_owned(), attributes: Attributes::default(), condition, upload: None }
}

pub(super) fn put(folder: &Folder, key: &str, content: &[u8]) -> ObjectInfo {
    let mut draft = folder.draft(BYTES_MAX).unwrap();
    draft.write(content).unwrap();
    let etag = draft.take_sum().etag(1);
    folder.publish(draft, &target(key, Condition::None), etag).unwrap()
}

/// All pages of a listing, as keys and prefixes.
fn list(folder: &Folder, prefix: &str, delimiter: Option<&str>, length_max: usize, first: Start) -> Vec<String> {
    let mut names = Vec::new();
    let mut start = first;
    loop {
        let query = ListQuery { prefix: prefix.to_owned(), delimiter: delimiter.map(str::to_owned), start, length_max };
        let page = folder.list("bue", &query).unwrap();
        assert!(page.entries.len() <= length_max);
        for entry in &page.entries {
            names.push(match entry {
                Listed::Object { key, .. } => key.clone(),
                Listed::Prefix(prefix) => prefix.clone(),
            });
        }
        start = match page.entries.last() {
            Some(Listed::Object { key, .. }) if page.truncated => Start::AfterKey(key.clone()),
            Some(Listed::Prefix(prefix)) if page.truncated => Start::AfterPrefix(prefix.clone()),
            _ => return names,
        };
    }
}

/// What a listing has by its definition.
fn expected(keys: &BTreeSet<String>, prefix: &str, delimiter: Option<&str>, after: &str) -> Vec<String> {
    let names = keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after).map(|key| {
        let end = delimiter.and_then(|delimiter| Some(key[prefix.len()..].find(delimiter)? + delimiter.len()));
        end.map_or_else(|| key.clone(), |end| key[..prefix.len() + end].to_owned())
    });
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn listings_of_every_page_length_agree_with_their_definition() {
    let (folder, _root) = folder();
    // All texts of up to four of these: slashes at every place, and bytes on both sides of a slash.
    let mut keys = BTreeSet::new();
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        let longer = texts.iter().flat_map(|text| ["/", "a", "-"].map(|end| format!("{text}{end}")));
        texts = longer.collect();
        keys.extend(texts.iter().cloned());
    }
    keys.extend(["a.object", "a.object/x", "é/日本", "%"].map(str::to_owned));
    for key in &keys {
        put(&folder, key, b"");
    }
    for prefix in ["", "a", "a/", "/", "-a/-", "é", "nothing", "a."] {
        for delimiter in [None, Some("/"), Some("a"), Some("/-")] {
            let whole = expected(&keys, prefix, delimiter, "");
            for length_max in [1, 2, 3, 7, 1_000] {
                let listed = list(&folder, prefix, delimiter, length_max, Start::Beginning);
                assert_eq!(listed, whole, "{prefix} {delimiter:?} {length_max}");
            }
            for after in ["a", "a/", "a/-", "-/zzz", "zzz", "/"] {
                let listed = list(&folder, prefix, delimiter, 4, Start::AfterKey(after.to_owned()));
                assert_eq!(listed, expected(&keys, prefix, delimiter, after), "{prefix} {delimiter:?} {after}");
            }
        }
    }
}

#[test]
fn a_deletion_takes_empty_folders_with_it() {
    let (folder, root) = folder();
    put(&folder, "a/b/c", b"x");
    put(&folder, "a/d", b"x");
    folder.delete("bue", "a/b/c", &Condition::None).unwrap();
    assert!(!root.path().join("buckets/bue/a/b").exists());
    folder.delete("bue", "a/d", &Condition::None).unwrap();
    assert!(root.path().join("buckets/bue").exists() && !root.path().join("buckets/bue/a").exists());
    folder.delete_bucket("bue").unwrap();
}

#[test]
fn writers_and_deleters_of_one_folder_do_not_disturb_each_other() {
    let (folder, _root) = folder();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                for number in 0..50 {
                    let key = format!("shared/deep/{worker}");
                    let content = format!("{worker}-{number}");
                    put(folder, &key, content.as_bytes());
                    let object = folder.read("bue", &key).unwrap();
                    assert_eq!(object.read_range(0, object.bytes as usize).unwrap(), content.as_bytes());
                    folder.delete("bue", &key, &Condition::None).unwrap();
                }
            });
        }
    });
    assert_eq!(list(&folder, "", None, 10, Start::Beginning), [""; 0]);
}

#[test]
fn a_reader_keeps_the_object_that_it_opened() {
    let (folder, _root) = folder();
    put(&folder, "k", b"old");
    let object = folder.read("bue", "k").unwrap();
    put(&folder, "k", b"new and longer");
    folder.delete("bue", "k", &Condition::None).unwrap();
    assert_eq!(object.read_range(0, object.bytes as usize).unwrap(), b"old");
}

#[test]
fn what_was_left_half_written_is_removed_at_the_next_start() {
    let (folder, root) = folder();
    let mut draft = folder.draft(BYTES_MAX).unwrap();
    draft.write(b"half").unwrap();
    // As a process that is killed: nothing is cleaned up.
    std::mem::forget(draft);
    let drafts = || std::fs::read_dir(root.path().join("drafts")).unwrap().count();
    assert_eq!(drafts(), 1);
    drop(folder);
    Folder::open(root.path()).unwrap();
    assert_eq!(drafts(), 0);
}

#[test]
fn a_file_that_is_cut_off_is_corrupt_and_not_an_object() {
    let (folder, root) = folder();
    put(&folder, "k", b"content");
    let path = root.path().join("buckets/bue/k.object");
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(folder.read("bue", "k"), Err(FolderError::Corrupt { .. })), "{length}");
    }
}

#[test]
fn uploads_that_nobody_completes_are_swept_by_age() {
    let (folder, _root) = folder();
    let id = folder.begin_upload(OF, Attributes::default(), false).unwrap();
    assert_eq!(folder.sweep_uploads(Duration::from_secs(3_600)).unwrap(), 0);
    assert_eq!(folder.list_uploads("bue").unwrap().len(), 1);
    assert_eq!(folder.sweep_uploads(Duration::ZERO).unwrap(), 1);
    assert!(matches!(folder.list_parts(&id, OF), Err(FolderError::NoSuchUpload)));
}

#[test]
fn an_upload_is_known_by_id_bucket_and_key_together() {
    let (folder, _root) = folder();
    let id = folder.begin_upload(OF, Attributes::default(), false).unwrap();
    folder.list_parts(&id, OF).unwrap();
    for (id, key) in [(id.as_str(), "other"), ("../uploads", "k"), ("", "k"), (".", "k"), (&"0".repeat(32), "k")] {
        let outcome = folder.list_parts(id, Upload { bucket: "bue", key });
        assert!(matches!(outcome, Err(FolderError::NoSuchUpload)), "{id} {key}");
    }
}

#[test]
fn a_damaged_file_is_listed_so_that_it_can_be_deleted_and_named_where_it_is_read() {
    let (folder, root) = folder();
    put(&folder, "a/one", b"1");
    put(&folder, "a/two", b"2");
    let files: Vec<PathBuf> =
        fs::read_dir(root.path().join("buckets/bue/a")).unwrap().map(|it| it.unwrap().path()).collect();
    let damaged = files.iter().find(|file| file.to_string_lossy().contains("one")).unwrap();
    fs::write(damaged, b"no object").unwrap();
    assert_eq!(list(&folder, "", None, 10, Start::Beginning), ["a/one", "a/two"]);
    assert!(matches!(folder.read("bue", "a/one"), Err(FolderError::Corrupt { .. })));
    folder.delete("bue", "a/one", &Condition::None).unwrap();
    assert_eq!(list(&folder, "", None, 10, Start::Beginning), ["a/two"]);
}

#[test]
fn a_bucket_is_removed_with_its_empty_folders_and_never_with_an_object() {
    let (folder, root) = folder();
    fs::create_dir_all(root.path().join("buckets/bue/a/b")).unwrap();
    put(&folder, "c/d/object", b"1");
    assert!(matches!(folder.delete_bucket("bue"), Err(FolderError::BucketNotEmpty { .. })));
    assert_eq!(folder.read("bue", "c/d/object").unwrap().bytes, 1);
    folder.delete("bue", "c/d/object", &Condition::None).unwrap();
    folder.delete_bucket("bue").unwrap();
    assert!(matches!(folder.delete_bucket("bue"), Err(FolderError::NoSuchBucket { .. })));
}

#[test]
fn parts_are_opened_one_after_the_other() {
    let (folder, _root) = folder();
    let id = folder.begin_upload(OF, Attributes::default(), false).unwrap();
    let part = |number: u32, content: &[u8]| {
        let mut draft = folder.draft(BYTES_MAX).unwrap();
        draft.write(content).unwrap();
        let etag = draft.take_sum().etag(1);
        folder.add_part(&id, OF, number, draft, etag.clone()).unwrap();
        PartName { number, etag: Some(etag) }
    };
    let large = vec![7; 5 << 20];
    let parts = [part(1, &large), part(2, b"small"), part(3, b"end")];
    let complete = |parts: &[PartName]| folder.complete_upload(&id, OF, parts, Condition::None, (None, BYTES_MAX));
    assert!(matches!(complete(&parts), Err(FolderError::PartTooSmall { number: 2, .. })));
    let missing = PartName { number: 4, etag: None };
    assert!(matches!(complete(&[parts[0].clone(), missing]), Err(FolderError::InvalidPart { number: 4 })));
    complete(&[parts[0].clone(), parts[2].clone()]).unwrap();
    assert_eq!(folder.read("bue", "k").unwrap().bytes, (5 << 20) + 3);
}
