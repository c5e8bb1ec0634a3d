//! Large lists and tables lie in pages: one element is read without the rest, and each page is verified.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use bue_bucket::value::{Accepted, ValueError, ValueLimits, Values};
use bue_bucket::{Bucket, BucketError, table};
use protocol::frame::{Input, Output, OutputPlace};
use protocol::{Place, ValueKind, ValueRef};
use tempfile::TempDir;

const KEY: &str = "runs/r/1/1";
const ROWS: i64 = 100_000;

struct Fixture {
    values: Values,
    folder: PathBuf,
    scratch: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("values");
        std::fs::create_dir(&folder).unwrap();
        let url = format!("file://{}/bucket", scratch.path().display()).parse().unwrap();
        let bucket = Bucket::open(&url, None).unwrap();
        Self { values: Values::new(bucket, scratch.path(), ValueLimits::default()), folder, scratch }
    }

    async fn store(&self, place: OutputPlace) -> Result<ValueRef, ValueError> {
        self.values.store(KEY, &Output { kind: ValueKind::Null, length: None, place }, &self.folder).await
    }

    async fn store_list(&self) -> ValueRef {
        let elements: Vec<String> = (0..ROWS).map(list_element).collect();
        std::fs::write(self.folder.join("list"), format!("[{}]", elements.join(", "))).unwrap();
        self.store(OutputPlace::JsonFile("list".to_owned())).await.unwrap()
    }

    async fn store_table(&self, batch: &RecordBatch, options: IpcWriteOptions) -> Result<ValueRef, ValueError> {
        let file = std::fs::File::create(self.folder.join("table")).unwrap();
        let mut writer = StreamWriter::try_new_with_options(file, &batch.schema(), options).unwrap();
        writer.write(batch).and_then(|()| writer.finish()).unwrap();
        self.store(OutputPlace::ArrowFile("table".to_owned())).await
    }

    async fn element(&self, list: &ValueRef, index: i64) -> Result<String, ValueError> {
        let place = Place::Element { list: Box::new(list.place.clone()), index: index as u64 };
        let value = ValueRef { kind: ValueKind::Dict, length: None, place };
        match self.values.materialize(&value, &self.folder, 7, Accepted::Plain).await? {
            Input::Json(text) => Ok(text.get().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// The same bucket, seen by a worker that has read nothing of it.
    fn elsewhere(&self) -> Values {
        Values::new(self.values.bucket().clone(), self.scratch.path(), ValueLimits::default())
    }

    fn object(&self, key: &str) -> PathBuf {
        self.scratch.path().join("bucket").join(key)
    }
}

fn list_element(index: i64) -> String {
    format!("{{\"id\": {index}, \"text\": \"a, ] and a }} of {index}\"}}")
}

fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|index| format!("name {index}"))));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

fn row(index: i64) -> String {
    format!("{{\"id\":{index},\"name\":\"name {index}\"}}")
}

fn plain() -> IpcWriteOptions {
    IpcWriteOptions::default()
}

fn is_paged(value: &ValueRef) -> bool {
    matches!(&value.place, Place::Object { pages: Some(_), .. })
}

/// Makes the first half of an object something else.
fn spoil(path: &PathBuf) {
    let mut content = std::fs::read(path).unwrap();
    let half = content.len() / 2;
    content[..half].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn an_element_is_read_without_the_rest_and_its_page_is_verified() {
    let f = Fixture::new();
    let list = f.store_list().await;
    assert!(is_paged(&list));
    assert_eq!(list.length, Some(ROWS as u64));
    for index in [0, 1, 12_345, 50_000, ROWS - 1] {
        assert_eq!(f.element(&list, index).await.unwrap(), list_element(index));
    }
    assert!(matches!(f.element(&list, ROWS).await, Err(ValueError::NoElement { length: 100_000, .. })));
    spoil(&f.object(KEY));
    let f = Fixture { values: f.elsewhere(), ..f };
    assert_eq!(f.element(&list, ROWS - 1).await.unwrap(), list_element(ROWS - 1));
    let error = f.element(&list, 0).await.unwrap_err();
    assert!(matches!(error, ValueError::Bucket(BucketError::Corrupt { .. })), "{error:?}");
}

#[tokio::test]
async fn a_list_that_was_cut_off_is_corrupt() {
    let f = Fixture::new();
    let list = f.store_list().await;
    std::fs::File::options().write(true).open(f.object(KEY)).unwrap().set_len(10).unwrap();
    let error = f.element(&list, ROWS - 1).await.unwrap_err();
    assert!(matches!(error, ValueError::Bucket(BucketError::Corrupt { .. })), "{error:?}");
    assert!(!error.is_transient() && !error.is_misconfigured());
}

#[tokio::test]
async fn a_row_is_read_without_the_rest_and_its_page_is_verified() {
    let f = Fixture::new();
    let table = f.store_table(&rows(), plain()).await.unwrap();
    assert!(is_paged(&table));
    assert_eq!((table.kind, table.length), (ValueKind::Table, Some(ROWS as u64)));
    for index in [0, 1, 16_383, 16_384, 50_000, ROWS - 1] {
        assert_eq!(f.element(&table, index).await.unwrap(), row(index));
    }
    spoil(&f.object(KEY));
    let f = Fixture { values: f.elsewhere(), ..f };
    assert_eq!(f.element(&table, ROWS - 1).await.unwrap(), row(ROWS - 1));
    let error = f.element(&table, 0).await.unwrap_err();
    assert!(matches!(error, ValueError::Bucket(BucketError::Corrupt { .. })), "{error:?}");
}

#[tokio::test]
async fn pages_of_a_wide_table_are_as_large_as_those_of_a_narrow_one() {
    let f = Fixture::new();
    let column = |number: usize| -> (String, ArrayRef) {
        (format!("c{number}"), Arc::new(Int64Array::from_iter_values(0..5_000)))
    };
    // 8 MB in 200 columns.
    let table = f.store_table(&RecordBatch::try_from_iter((0..200).map(column)).unwrap(), plain()).await.unwrap();
    assert!(is_paged(&table));
    let index = std::fs::read(f.object(&format!("{KEY}.pages"))).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let pages = index["pages"].as_array().unwrap().len();
    assert!((7..=9).contains(&pages), "{pages} pages of 1 MiB");
}

#[tokio::test]
async fn the_first_elements_are_read_without_the_rest() {
    let f = Fixture::new();
    let table = f.store_table(&rows(), plain()).await.unwrap();
    let mut content = std::fs::read(f.object(KEY)).unwrap();
    let half = content.len() / 2;
    content[half..].fill(0);
    std::fs::write(f.object(KEY), content).unwrap();
    let head = f.values.head(&table, 2, 1_000).await.unwrap();
    assert_eq!(head.get(), format!("[{},{}]", row(0), row(1)));
    assert!(matches!(f.values.head(&table, 100, 1_000).await, Err(ValueError::TooLarge { bytes_max: 1_000 })));
    let few = f.store(OutputPlace::Json("[1, 2]".to_owned())).await.unwrap();
    assert_eq!(f.values.head(&few, 9, 1_000).await.unwrap().get(), "[1,2]");
    let other = f.store(OutputPlace::Json("{\"a\": 1}".to_owned())).await.unwrap();
    assert_eq!(f.values.head(&other, 1, 1_000).await.unwrap().get(), "{\"a\": 1}");
}

#[tokio::test]
async fn pages_of_equal_bytes_and_other_columns_are_not_mixed_up() {
    let f = Fixture::new();
    let first = f.store_table(&rows(), plain()).await.unwrap();
    assert_eq!(f.element(&first, 7).await.unwrap(), row(7));
    let renamed = RecordBatch::try_from_iter(["no", "who"].into_iter().zip(rows().columns().to_vec())).unwrap();
    let second = f.store_table(&renamed, plain()).await.unwrap();
    assert_eq!(f.element(&second, 7).await.unwrap(), "{\"no\":7,\"who\":\"name 7\"}");
}

#[tokio::test]
async fn tables_lie_compressed_and_come_to_processes_as_they_can_read_them() {
    let f = Fixture::new();
    let table = f.store_table(&rows(), plain()).await.unwrap();
    let written = std::fs::metadata(f.folder.join("table")).unwrap().len();
    let Place::Object { bytes, .. } = table.place else { panic!("{table:?}") };
    assert!(bytes * 2 < written, "{bytes} of {written}");
    for accepted in [Accepted::Plain, Accepted::Compressed] {
        let Input::ArrowFile(path) = f.elsewhere().materialize(&table, &f.folder, 1, accepted).await.unwrap() else {
            panic!("a table comes as a file")
        };
        let size = std::fs::metadata(&path).unwrap().len();
        assert_eq!(size > written / 2, accepted == Accepted::Plain, "{size} of {written}");
        let stream = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let batches: Vec<RecordBatch> = table::read_stream(stream).unwrap().map(Result::unwrap).collect();
        assert!(batches.iter().all(|batch| batch.num_rows() <= 16_384));
        assert_eq!(arrow_select::concat::concat_batches(&rows().schema(), &batches).unwrap(), rows());
    }
}

#[tokio::test]
async fn a_table_with_a_dictionary_is_read_as_a_whole() {
    let f = Fixture::new();
    let colours: DictionaryArray<Int32Type> = (0..ROWS).map(|index| ["red", "green"][index as usize % 2]).collect();
    let colours: ArrayRef = Arc::new(colours);
    let table = f.store_table(&RecordBatch::try_from_iter([("colour", colours)]).unwrap(), plain()).await.unwrap();
    assert!(!is_paged(&table));
    assert_eq!(f.element(&table, ROWS - 1).await.unwrap(), "{\"colour\":\"green\"}");
}

#[tokio::test]
async fn what_a_process_compressed_itself_is_refused() {
    let f = Fixture::new();
    let options = plain().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    let error = f.store_table(&rows(), options).await.unwrap_err();
    assert!(error.to_string().contains("write it uncompressed"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn an_element_is_read_out_of_the_whole_where_the_index_changed_or_went() {
    let f = Fixture::new();
    let list = f.store_list().await;
    let index = f.object(&format!("{KEY}.pages"));
    for harm in [spoil, |path: &PathBuf| std::fs::remove_file(path).unwrap()] {
        harm(&index);
        let other = Fixture { values: f.elsewhere(), ..Fixture::new() };
        for place in [0, ROWS - 1] {
            assert_eq!(other.element(&list, place).await.unwrap(), list_element(place));
        }
    }
    std::fs::remove_file(f.object(KEY)).unwrap();
    let f = Fixture { values: f.elsewhere(), ..f };
    let error = f.element(&list, 0).await.unwrap_err();
    assert!(matches!(&error, ValueError::Bucket(BucketError::NotFound { key }) if key == KEY), "{error:?}");
}
