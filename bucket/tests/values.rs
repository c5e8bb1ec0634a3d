//! Values from a process to the bucket, and from the bucket to a process.

use std::path::PathBuf;

use bue_bucket::value::{Accepted, ValueError, ValueLimits, Values};
use bue_bucket::{Bucket, BucketError, table};
use bytes::Bytes;
use futures::future::join_all;
use protocol::frame::{Input, Output, OutputPlace};
use protocol::{Digest, Place, ValueKind, ValueRef};
use tempfile::TempDir;

const KEY: &str = "runs/r/1/1";
const BYTES_MAX: u64 = 1 << 20;

struct Fixture {
    values: Values,
    folder: PathBuf,
    _scratch: TempDir,
}

fn fixture() -> Fixture {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("values");
    std::fs::create_dir(&folder).unwrap();
    let bucket = Bucket::open(&format!("file://{}/bucket", scratch.path().display()).parse().unwrap(), None).unwrap();
    Fixture { values: Values::new(bucket, scratch.path(), limits(1 << 20)), folder, _scratch: scratch }
}

fn limits(tables_bytes_max: u64) -> ValueLimits {
    ValueLimits { inline_bytes_max: 64, value_bytes_max: 100_000, lists_bytes_max: 1 << 20, tables_bytes_max }
}

impl Fixture {
    async fn store(&self, place: OutputPlace) -> Result<ValueRef, ValueError> {
        // What a process claims is not to be believed.
        let output = Output { kind: ValueKind::Null, length: Some(77), place };
        self.values.store(KEY, &output, &self.folder).await
    }

    /// Values of another worker in the same bucket.
    fn another(&self, tables_bytes_max: u64) -> Values {
        Values::new(self.values.bucket().clone(), &self.folder, limits(tables_bytes_max))
    }

    async fn store_text(&self, text: &str) -> ValueRef {
        self.store(OutputPlace::Json(text.to_owned())).await.unwrap()
    }

    async fn store_file(&self, content: &[u8]) -> Result<ValueRef, ValueError> {
        std::fs::write(self.folder.join("value.json"), content).unwrap();
        self.store(OutputPlace::JsonFile("value.json".to_owned())).await
    }

    async fn store_table(&self, records: &str) -> ValueRef {
        let batch = table::from_records(records).unwrap().batch;
        let mut stream = Vec::new();
        table::write_stream(&mut stream, &batch.schema(), [&batch]).unwrap();
        std::fs::write(self.folder.join("value.arrow"), stream).unwrap();
        self.store(OutputPlace::ArrowFile("value.arrow".to_owned())).await.unwrap()
    }

    async fn read(&self, value: &ValueRef) -> String {
        self.values.read(value, BYTES_MAX).await.unwrap().get().to_owned()
    }

    async fn element(&self, list: &ValueRef, index: u64) -> Result<String, ValueError> {
        let place = Place::Element { list: Box::new(list.place.clone()), index };
        let value = ValueRef { kind: ValueKind::Dict, length: None, place };
        match self.values.materialize(&value, &self.folder, 7, Accepted::Plain).await? {
            Input::Json(text) => Ok(text.get().to_owned()),
            Input::JsonFile(path) => Ok(std::fs::read_to_string(path).unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

/// Rows of the table that an input is.
fn rows_of(input: &Input) -> usize {
    let Input::ArrowFile(path) = input else { panic!("{input:?}") };
    let file = std::fs::File::open(path).unwrap();
    table::read_stream(file).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
}

fn is_object(value: &ValueRef) -> bool {
    matches!(value.place, Place::Object { .. })
}

fn large_list() -> String {
    let elements: Vec<_> = (0..200).map(|number| format!("{{\"z\": {number}.50, \"a\": [{number}]}}")).collect();
    format!("[{}]", elements.join(" ,\n"))
}

#[tokio::test]
async fn a_small_value_travels_inside_and_a_large_one_in_the_bucket() {
    let f = fixture();
    let large = format!("\"{}\"", "x".repeat(100));
    for (text, kind, length, object) in [
        ("null", ValueKind::Null, None, false),
        ("{\"b\": 1.50, \"a\": 123456789012345678901234567890}", ValueKind::Dict, Some(2), false),
        ("[1, 2, 3]", ValueKind::List, Some(3), false),
        (large.as_str(), ValueKind::String, Some(100), true),
    ] {
        let value = f.store_text(text).await;
        assert_eq!((value.kind, value.length, is_object(&value)), (kind, length, object), "{text}");
        assert_eq!(f.read(&value).await, text);
        let from_file = f.store_file(text.as_bytes()).await.unwrap();
        assert_eq!((from_file.kind, from_file.length, is_object(&from_file)), (kind, length, object), "{text}");
        assert_eq!(f.read(&from_file).await, text);
    }
}

#[tokio::test]
async fn tables_small_and_large_are_read_as_records() {
    let f = fixture();
    let rows: Vec<_> = (0..500).map(|row| format!("{{\"id\":{row},\"name\":\"n{row}\"}}")).collect();
    let records = format!("[{}]", rows.join(","));
    let large = f.store_table(&records).await;
    assert_eq!((large.kind, large.length, is_object(&large)), (ValueKind::Table, Some(500), true));
    assert_eq!(f.read(&large).await, records);

    let limits = ValueLimits { inline_bytes_max: 4_096, ..ValueLimits::default() };
    let f = Fixture { values: Values::new(f.values.bucket().clone(), &f.folder, limits), ..f };
    let small = f.store_table(&format!("[{}]", rows[0])).await;
    assert_eq!((small.kind, small.length), (ValueKind::Table, Some(1)));
    assert!(matches!(small.place, Place::Arrow(_)));
    assert_eq!(f.read(&small).await, format!("[{}]", rows[0]));
    assert_eq!(f.element(&small, 0).await.unwrap(), rows[0]);
    assert!(matches!(f.element(&small, 1).await, Err(ValueError::NoElement { index: 1, length: 1 })));
    assert_eq!(f.element(&large, 499).await.unwrap(), rows[499]);
}

#[tokio::test]
async fn inputs_are_in_the_frame_or_files() {
    let f = fixture();
    let small = f.store_text("[1.0, 2]").await;
    let input = f.values.materialize(&small, &f.folder, 0, Accepted::Plain).await.unwrap();
    assert!(matches!(input, Input::Json(text) if text.get() == "[1.0, 2]"));

    let large = f.store_text(&large_list()).await;
    match f.values.materialize(&large, &f.folder, 1, Accepted::Plain).await.unwrap() {
        Input::JsonFile(path) => assert_eq!(std::fs::read_to_string(path).unwrap(), large_list()),
        other => panic!("{other:?}"),
    }

    let table = f.store_table("[{\"a\": 1}]").await;
    assert_eq!(rows_of(&f.values.materialize(&table, &f.folder, 2, Accepted::Plain).await.unwrap()), 1);
}

#[tokio::test]
async fn a_table_that_was_stored_or_read_here_is_not_fetched_again() {
    let f = fixture();
    let rows: Vec<_> = (0..500).map(|row| format!("{{\"id\":{row}}}")).collect();
    let table = f.store_table(&format!("[{}]", rows.join(","))).await;
    let written = std::fs::read(f.folder.join("value.arrow")).unwrap();
    std::fs::write(f.folder.join("value.arrow"), "the process goes on writing").unwrap();
    let (other, none) = (f.another(1 << 20), f.another(0));
    for values in [&other, &none] {
        let input = values.materialize(&table, &f.folder, 0, Accepted::Plain).await.unwrap();
        assert_eq!(rows_of(&input), 500);
    }

    f.values.bucket().delete(KEY).await.unwrap();
    for values in [&f.values, &other] {
        for accepted in [Accepted::Plain, Accepted::Compressed] {
            let input = values.materialize(&table, &f.folder, 1, accepted).await.unwrap();
            assert_eq!(rows_of(&input), 500);
        }
    }
    let Input::ArrowFile(path) = f.values.materialize(&table, &f.folder, 2, Accepted::Plain).await.unwrap() else {
        panic!("a table is a file")
    };
    assert_eq!(std::fs::read(path).unwrap(), written, "as the process wrote it");
    for accepted in [Accepted::Plain, Accepted::Compressed] {
        let error = none.materialize(&table, &f.folder, 3, accepted).await.unwrap_err();
        assert!(matches!(error, ValueError::Bucket(BucketError::NotFound { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn elements_of_a_large_list_are_cut_out_as_they_were_written() {
    let f = fixture();
    let list = f.store_text(&large_list()).await;
    assert!(is_object(&list));
    let elements = join_all((0..200).map(|index| f.element(&list, index))).await;
    for (index, element) in elements.into_iter().enumerate() {
        assert_eq!(element.unwrap(), format!("{{\"z\": {index}.50, \"a\": [{index}]}}"));
    }
    assert!(matches!(f.element(&list, 200).await, Err(ValueError::NoElement { index: 200, length: 200 })));
}

#[tokio::test]
async fn a_list_is_fetched_once_for_all_its_elements() {
    let f = fixture();
    let list = f.store_text(&large_list()).await;
    f.element(&list, 0).await.unwrap();
    f.values.bucket().delete(KEY).await.unwrap();
    assert_eq!(f.element(&list, 150).await.unwrap(), "{\"z\": 150.50, \"a\": [150]}");
}

#[tokio::test]
async fn an_element_of_an_element_is_found() {
    let f = fixture();
    let list = f.store_text("[[10, 20], [30]]").await;
    let inner = Place::Element { list: Box::new(list.place.clone()), index: 0 };
    let inner = ValueRef { kind: ValueKind::List, length: Some(2), place: inner };
    assert_eq!(f.element(&inner, 1).await.unwrap(), "20");
    assert_eq!(f.read(&inner).await, "[10, 20]");
}

#[tokio::test]
async fn what_is_no_list_has_no_elements() {
    let f = fixture();
    let large_dict = format!("{{\"k\": \"{}\"}}", "x".repeat(100));
    for (text, kind) in [("{\"a\": 1}", "a dict"), ("12", "a number"), (large_dict.as_str(), "a dict")] {
        let value = f.store_text(text).await;
        let error = f.element(&value, 0).await.unwrap_err().to_string();
        assert_eq!(error, format!("there is no element [0] in {kind}"));
    }
}

#[tokio::test]
async fn what_is_not_json_is_an_error_of_the_value() {
    let f = fixture();
    let long = format!("[\"{}\", NaN]", "x".repeat(100));
    for text in ["", "NaN", "{\"a\": }", "[1] [2]", long.as_str()] {
        let error = f.store_file(text.as_bytes()).await.unwrap_err();
        assert!(matches!(error, ValueError::NotJson(_)) && !error.is_transient(), "{text}: {error:?}");
        let error = f.store(OutputPlace::Json(text.to_owned())).await.unwrap_err();
        assert!(matches!(error, ValueError::NotJson(_)), "{text}: {error:?}");
    }
    assert!(matches!(f.store_file(b"\"\xff\xfe\"").await, Err(ValueError::NotJson(_))));
}

#[tokio::test]
async fn a_broken_table_is_an_error_of_the_value() {
    let f = fixture();
    let mut declared_huge = Vec::from([0xff_u8; 4]);
    declared_huge.extend(u32::MAX.to_le_bytes());
    declared_huge.extend([0; 100]);
    for content in [&b"no arrow at all"[..], b"", &declared_huge, &[0xff; 200]] {
        std::fs::write(f.folder.join("t"), content).unwrap();
        let error = f.store(OutputPlace::ArrowFile("t".to_owned())).await.unwrap_err();
        assert!(matches!(error, ValueError::Table(_)) && !error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn a_table_with_a_changed_byte_never_panics_a_reader() {
    let f = fixture();
    let rows: Vec<_> = (0..20).map(|row| format!("{{\"id\":{row},\"name\":\"n{row}\"}}")).collect();
    let value = f.store_table(&format!("[{}]", rows.join(","))).await;
    assert!(is_object(&value));
    let whole = std::fs::read(f.folder.join("value.arrow")).unwrap();
    for place in 0..whole.len() {
        let mut content = whole.clone();
        content[place] ^= 0xa5;
        std::fs::write(f.folder.join("value.arrow"), content).unwrap();
        if let Ok(value) = f.store(OutputPlace::ArrowFile("value.arrow".to_owned())).await {
            // What was accepted can be read, whatever it says now.
            let outcome = f.values.read(&value, BYTES_MAX).await;
            assert!(
                matches!(outcome, Ok(_) | Err(ValueError::Table(_) | ValueError::NotJson(_))),
                "{place}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused() {
    let f = fixture();
    let text = format!("\"{}\"", "x".repeat(100_000));
    for outcome in [f.store(OutputPlace::Json(text.clone())).await, f.store_file(text.as_bytes()).await] {
        assert!(matches!(outcome, Err(ValueError::TooLarge { bytes_max: 100_000 })), "{outcome:?}");
    }
    let list = f.store_text(&large_list()).await;
    assert!(matches!(f.values.read(&list, 100).await, Err(ValueError::TooLarge { bytes_max: 100 })));
    let table = f.store_table("[{\"a\": 1}, {\"a\": 2}]").await;
    assert!(matches!(f.values.read(&table, 10).await, Err(ValueError::TooLarge { bytes_max: 10 })));
}

#[tokio::test]
async fn a_process_can_name_only_regular_files_of_its_folder() {
    let f = fixture();
    std::fs::write(f.folder.parent().unwrap().join("secret"), "\"secret\"").unwrap();
    std::os::unix::fs::symlink("../secret", f.folder.join("link")).unwrap();
    std::fs::create_dir(f.folder.join("folder")).unwrap();
    nix::unistd::mkfifo(&f.folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["../secret", "/etc/hostname", "link", "folder", "pipe", "missing", "", ".", "..", "folder/../link"] {
        let error = f.store(OutputPlace::JsonFile(name.to_owned())).await.unwrap_err();
        assert!(matches!(error, ValueError::Output { .. }), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn an_object_that_changed_or_went_is_named() {
    let f = fixture();
    let value = f.store_text(&large_list()).await;
    f.values.bucket().put(KEY, Bytes::from(large_list().replace("0.50", "0.51"))).await.unwrap();
    let error = f.values.read(&value, BYTES_MAX).await.unwrap_err();
    assert!(matches!(error, ValueError::Bucket(BucketError::Corrupt { .. })) && !error.is_transient(), "{error:?}");
    f.values.bucket().delete(KEY).await.unwrap();
    let error = f.values.materialize(&value, &f.folder, 0, Accepted::Plain).await.unwrap_err();
    assert!(matches!(error, ValueError::Bucket(BucketError::NotFound { .. })), "{error:?}");
}

#[tokio::test]
async fn a_reference_names_size_and_checksum_of_its_object() {
    let f = fixture();
    let value = f.store_text(&large_list()).await;
    let Place::Object { key, bytes, sha256, .. } = &value.place else { panic!("{value:?}") };
    assert_eq!((key.as_str(), *bytes), (KEY, large_list().len() as u64));
    assert_eq!(*sha256, Digest::of(large_list().as_bytes()));
}
