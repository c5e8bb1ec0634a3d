use std::io::Write;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use protocol::ValueKind;
use protocol::frame::{Input, Output, OutputPlace};

use super::*;
use crate::value::compact::{Content, compact};
use crate::value::{Copied, Effort, ValueLimits};
use crate::{Bucket, BucketUrl};

fn batch(start: i64, rows: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new((start..start + rows).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new((start..start + rows).map(|n| Some(format!("text {n}"))).collect::<StringArray>());
    RecordBatch::try_from_iter([("n", numbers), ("text", texts)]).unwrap()
}

fn stream(batches: i64) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch(0, 0).schema()).unwrap();
    (0..batches).for_each(|number| writer.write(&batch(number * 20_000, 20_000)).unwrap());
    writer.into_inner().unwrap()
}

struct Rig {
    folder: tempfile::TempDir,
    values: Values,
}

impl Rig {
    fn new(tables_bytes_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("values")).unwrap();
        let bucket = Bucket::open(&BucketUrl::Folder(folder.path().join("bucket")), None).unwrap();
        let limits = ValueLimits { tables_bytes_max, ..ValueLimits::default() };
        Self { values: Values::new(bucket, &folder.path().join("values"), limits), folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("draft.arrow")
    }

    fn follow(&self) -> Option<Following> {
        self.values.follow(self.folder.path(), "draft.arrow", Writer::Done)
    }

    fn stored(&self, stream: &[u8]) -> (Vec<u8>, Option<u64>, Option<String>) {
        let bytes = stream.len() as u64;
        parts(compact(io::Cursor::new(stream), bytes, self.folder.path(), Effort::Full).unwrap())
    }
}

/// The content, its rows and the index of its pages.
fn parts(compact: Compact) -> (Vec<u8>, Option<u64>, Option<String>) {
    let content = match compact.content {
        Content::Memory(content) => content.to_vec(),
        Content::File(mut file) => {
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            content
        }
    };
    (content, compact.shape.length, compact.pages.map(|pages| serde_json::to_string(&pages).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_becomes_what_it_would_become_as_a_whole() {
    let rig = Rig::new(1 << 30);
    let whole = stream(12);
    // Wherever what is there ends for a while.
    for part in [700_000, 999_999, 64 << 10] {
        let mut file = File::create(rig.path()).unwrap();
        assert!(rig.follow().is_none(), "there is nothing of it");
        let (first, rest) = whole.split_at(BYTES_MIN as usize + part);
        file.write_all(first).unwrap();
        let following = rig.follow().unwrap();
        for part in rest.chunks(part) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            file.write_all(part).unwrap();
        }
        std::fs::rename(rig.path(), rig.folder.path().join("value.arrow")).unwrap();
        let file = File::open(rig.folder.path().join("value.arrow")).unwrap();
        let stored = following.finish(&file, whole.len() as u64).await.unwrap();
        assert!(parts(stored) == rig.stored(&whole));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_table_that_users_code_writes_a_copy_is_read() {
    let rig = Rig::new(64 << 20);
    let whole = stream(6);
    let place = OutputPlace::ArrowFile("draft.arrow".to_owned());
    let output = Output { kind: ValueKind::Table, length: None, place };
    let copied = async |following| rig.values.copied(&output, rig.folder.path(), Writer::Unknown, following).await;
    let follow = |file: &mut File, first: usize| {
        file.write_all(&whole[..first]).unwrap();
        let following = rig.values.follow(rig.folder.path(), "draft.arrow", Writer::Unknown).unwrap();
        following.told(first as u64);
        following
    };
    let read = async |copy: &Copied| match copy.materialize(rig.folder.path(), 0).await.unwrap() {
        Input::ArrowFile(path) => std::fs::read(path).unwrap(),
        other => panic!("{other:?}"),
    };
    for first in [0, 10, 1_200_000, whole.len()] {
        let mut file = File::create(rig.path()).unwrap();
        let following = follow(&mut file, first);
        // What is beyond what was told may still change.
        file.write_all(&vec![7; whole.len() - first]).unwrap();
        tokio::time::sleep(PAUSE_MIN * 3).await;
        file.write_all_at(&whole[first..], first as u64).unwrap();
        following.told(whole.len() as u64 - 5_000);
        // What is said of less is nothing new.
        following.told(3);
        let copy = copied(Some(following)).await.unwrap();
        // Whatever the process does from now on.
        file.set_len(100).unwrap();
        assert!(read(&copy).await == whole);
        let following = copy.following().unwrap();
        let stored = following.finish(&file, whole.len() as u64).await.unwrap();
        assert!(parts(stored) == rig.stored(&whole), "{first}");
    }

    // What it wrote over of what it had told of is as it was told: what is stored is what is at hand.
    let mut file = File::create(rig.path()).unwrap();
    let following = follow(&mut file, whole.len());
    let deadline = Instant::now() + Duration::from_secs(30);
    while following.copy.as_ref().unwrap().open().unwrap().metadata().unwrap().len() < whole.len() as u64 {
        assert!(Instant::now() < deadline, "it is not copied");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = stream(5);
    file.write_all_at(&other[..other.len() - 8], 0).unwrap();
    let copy = copied(Some(following)).await.unwrap();
    assert!(read(&copy).await == whole);
    let stored = copy.following().unwrap().finish(&file, whole.len() as u64).await.unwrap();
    assert!(parts(stored) == rig.stored(&whole));

    // What was read of a file that became shorter, or of another one, is not what is handed over.
    let mut file = File::create(rig.path()).unwrap();
    let following = follow(&mut file, 1_200_000);
    while following.copy.as_ref().unwrap().open().unwrap().metadata().unwrap().len() < 1_200_000 {
        assert!(Instant::now() < deadline, "it is not copied");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let shorter = stream(1);
    std::fs::write(rig.path(), &shorter).unwrap();
    let copy = copied(Some(following)).await.unwrap();
    assert!(copy.following().is_none() && read(&copy).await == shorter);
    let following = follow(&mut File::create(rig.path()).unwrap(), 1_200_000);
    std::fs::remove_file(rig.path()).unwrap();
    std::fs::write(rig.path(), &whole).unwrap();
    assert!(copied(Some(following)).await.unwrap().following().is_none());
    let small = Rig::new(1 << 20);
    std::fs::write(small.path(), &whole).unwrap();
    let following = small.values.follow(small.folder.path(), "draft.arrow", Writer::Unknown);
    assert!(small.values.copied(&output, small.folder.path(), Writer::Unknown, following).await.is_none());
    // That one is read once, from the file that it may still be written to.
    let once = encode_once(File::open(small.path()).unwrap(), whole.len() as u64, small.folder.path(), 2).unwrap();
    assert!(parts(once) == rig.stored(&whole));
    let end = whole.len() as u64 - 5_000;
    assert!(encode_once(File::open(small.path()).unwrap(), end, small.folder.path(), 0).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_can_be_read_while_a_program_of_ours_writes_it() {
    let rig = Rig::new(64 << 20);
    let values = rig.values.clone().lending(true);
    let (folder, whole) = (rig.folder.path(), stream(6));
    let mut file = File::create(rig.path()).unwrap();
    file.write_all(&whole[..1_200_000]).unwrap();
    let following = rig.follow().unwrap();
    assert!(rig.values.growing(folder, "draft.arrow", &following).is_none(), "whoever reads it could write to it");
    let growing = values.growing(folder, "draft.arrow", &following).unwrap();
    let Input::ArrowFile(lent) = growing.materialize(folder, 3).await.unwrap() else { panic!() };
    assert_eq!(std::fs::read(&lent).unwrap(), whole[..1_200_000]);
    assert_eq!(std::fs::metadata(&lent).unwrap().mode() & 0o222, 0);
    file.write_all(&whole[1_200_000..]).unwrap();
    drop(file);
    std::fs::rename(rig.path(), folder.join("value.arrow")).unwrap();
    let place = OutputPlace::ArrowFile("value.arrow".to_owned());
    let output = Output { kind: ValueKind::Table, length: None, place };
    let copy = values.copied(&output, folder, Writer::Done, Some(following)).await.unwrap();
    assert!(copy.is(&growing) && std::fs::read(&lent).unwrap() == whole);
    let following = copy.following().unwrap();
    let stored = following.finish(&File::open(&lent).unwrap(), whole.len() as u64).await.unwrap();
    assert!(parts(stored) == rig.stored(&whole));

    // One that was written anew is another one.
    std::fs::write(rig.path(), &whole).unwrap();
    let other = rig.follow().unwrap();
    assert!(!copy.is(&values.growing(folder, "draft.arrow", &other).unwrap()));
    std::fs::remove_file(rig.path()).unwrap();
    std::fs::write(rig.path(), &whole).unwrap();
    assert!(values.growing(folder, "draft.arrow", &other).is_none());
}

#[test]
fn the_head_of_a_message_is_what_it_was_when_it_was_looked_at() {
    let rig = Rig::new(1 << 30);
    let whole = stream(2);
    std::fs::write(rig.path(), &whole).unwrap();
    let progress = Arc::new(Progress::default());
    progress.set(Known::Ended(whole.len() as u64));
    let (reader, writer) = (File::open(rig.path()).unwrap(), File::options().write(true).open(rig.path()).unwrap());
    let mut tail = Tail::new(reader, None, progress, 1 << 30).unwrap();
    let mut read = vec![0; whole.len()];
    let mut position = 0;
    while position < whole.len() {
        assert!(tail.grow().unwrap());
        writer.write_all_at(&[7; 8], tail.position).unwrap();
        while position < tail.readable as usize {
            let most = 5_000.min(whole.len() - position);
            position += tail.read(&mut read[position..position + most]).unwrap();
        }
    }
    assert!(read == whole);
    assert!(std::fs::read(rig.path()).unwrap() != whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_or_another_file_is_not_taken_for_it() {
    let rig = Rig::new(64 << 20);
    let whole = stream(6);
    let finish = async |content: &[u8], bytes: usize| {
        std::fs::write(rig.path(), content).unwrap();
        let following = rig.follow().unwrap();
        following.finish(&File::open(rig.path()).unwrap(), bytes as u64).await.is_some()
    };
    assert!(finish(&whole, whole.len()).await);
    assert!(!finish(&whole[..whole.len() - 5_000], whole.len() - 5_000).await, "cut off");
    let large = [&whole[..], &[7; 64 << 20]].concat();
    assert!(!finish(&large, large.len()).await, "beyond the limit");
    let mut garbage = whole.clone();
    garbage[1_000_000..].fill(0x55);
    assert!(!finish(&garbage, garbage.len()).await);

    std::fs::write(rig.path(), &whole).unwrap();
    let following = rig.follow().unwrap();
    std::fs::write(rig.folder.path().join("other"), &whole).unwrap();
    let other = File::open(rig.folder.path().join("other")).unwrap();
    assert!(following.finish(&other, whole.len() as u64).await.is_none());
    std::os::unix::fs::symlink(rig.path(), rig.folder.path().join("link")).unwrap();
    assert!(rig.values.follow(rig.folder.path(), "link", Writer::Done).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_goes_on_with_what_is_given_up() {
    let rig = Rig::new(1 << 30);
    std::fs::write(rig.path(), &stream(6)[..1_200_000]).unwrap();
    let following = rig.follow().unwrap();
    let progress = Arc::clone(&following.progress);
    drop(following);
    let deadline = Instant::now() + Duration::from_secs(30);
    while Arc::strong_count(&progress) > 1 {
        assert!(Instant::now() < deadline, "it is still followed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
