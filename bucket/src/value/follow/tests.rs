use std::io::Write;
use std::time::Instant;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use protocol::ValueKind;
use protocol::frame::{Input, Output, OutputPlace};

use super::*;
use crate::value::compact::{Content, compact};
use crate::value::{Effort, ValueLimits};
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
async fn a_table_of_users_code_is_read_as_far_as_that_says_and_taken_once_it_cannot_write_to_it() {
    let rig = Rig::new(64 << 20);
    let values = rig.values.clone().lending(true);
    let (folder, whole) = (rig.folder.path(), stream(6));
    let follow = || values.follow(folder, "draft.arrow", Writer::Unknown).unwrap();
    let place = OutputPlace::ArrowFile("draft.arrow".to_owned());
    let output = Output { kind: ValueKind::Table, length: None, place };
    let copied = async |following| values.copied(&output, folder, Writer::Unknown, Some(following)).await;
    let write = |first: usize| {
        let file = File::create(rig.path()).unwrap();
        let following = follow();
        file.write_all_at(&whole[..first], 0).unwrap();
        // What is beyond what it says is not there yet.
        file.write_all_at(&vec![7; whole.len() - first], first as u64).unwrap();
        following.told(first as u64);
        std::thread::sleep(PAUSE_MIN * 3);
        file.write_all_at(&whole[first..], first as u64).unwrap();
        (file, following)
    };
    for first in [0, 10, 1_200_000, whole.len()] {
        std::fs::remove_file(rig.path()).ok();
        let (file, following) = write(first);
        let inode = file.metadata().unwrap().ino();
        drop(file);
        let copy = copied(following).await.unwrap();
        let Input::ArrowFile(taken) = copy.materialize(folder, 0).await.unwrap() else { panic!() };
        assert_eq!(std::fs::metadata(taken).unwrap().ino(), inode);
        let (following, file) = (copy.following().unwrap(), File::open(rig.path()).unwrap());
        let stored = following.finish(&file, whole.len() as u64).await.unwrap();
        assert!(parts(stored) == rig.stored(&whole), "{first}");
    }

    // As long as it can write to it, what was read may be another table than what is copied.
    std::fs::remove_file(rig.path()).unwrap();
    let (file, following) = write(1_200_000);
    let copy = copied(following).await.unwrap();
    assert!(copy.following().is_none());
    file.set_len(10).unwrap();
    let Input::ArrowFile(taken) = copy.materialize(folder, 0).await.unwrap() else { panic!() };
    assert!(std::fs::read(taken).unwrap() == whole);

    std::fs::remove_file(rig.path()).unwrap();
    let (_, following) = write(1_200_000);
    std::fs::remove_file(rig.path()).unwrap();
    std::fs::write(rig.path(), &whole).unwrap();
    assert!(copied(following).await.unwrap().following().is_none(), "another file");
    assert!(values.clone().lending(false).follow(folder, "draft.arrow", Writer::Unknown).is_none());
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
    progress.set(Known::Growing(whole.len() as u64));
    let (reader, writer) = (File::open(rig.path()).unwrap(), File::options().write(true).open(rig.path()).unwrap());
    let mut tail = Tail::new(reader, Writer::Unknown, progress, 1 << 30);
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
