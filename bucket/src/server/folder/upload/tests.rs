//! Multipart uploads, in whatever order their parts come and their requests end.

use std::os::unix::fs::MetadataExt;

use super::super::tests::{BYTES_MAX, OF, folder, put};
use super::*;

/// An upload of parts, each of which is told by a byte and its length.
struct Parts<'f> {
    folder: &'f Folder,
    id: String,
    named: Vec<PartName>,
}

const PART_BYTES: usize = 5 << 20;

impl<'f> Parts<'f> {
    fn begin(folder: &'f Folder) -> Self {
        Self { folder, id: folder.begin_upload(OF, Attributes::default(), false).unwrap(), named: Vec::new() }
    }

    fn draft(&self, number: u32, bytes: usize) -> Draft {
        self.folder.part_draft(&self.id, OF, number, (Some(bytes as u64), BYTES_MAX)).unwrap()
    }

    fn add(&mut self, number: u32, byte: u8, bytes: usize) {
        let mut draft = self.draft(number, bytes);
        for piece in vec![byte; bytes].chunks(1 << 20) {
            draft.write(piece).unwrap();
        }
        let etag = draft.take_sum().etag(1);
        self.folder.add_part(&self.id, OF, number, draft, etag.clone()).unwrap();
        self.named.retain(|part| part.number != number);
        self.named.push(PartName { number, etag: Some(etag) });
        self.named.sort_by_key(|part| part.number);
    }

    fn complete_if(&self, condition: Condition) -> Result<ObjectInfo, FolderError> {
        self.folder.complete_upload(&self.id, OF, &self.named, condition, (None, BYTES_MAX))
    }

    /// Completes it; says whether the object is the file that parts were written to.
    fn complete(&self, parts: &[(u8, usize)]) -> bool {
        let places = std::fs::metadata(self.folder.uploads().join(&self.id).join("places"));
        let etag = self.complete_if(Condition::None).unwrap().etag;
        assert!(etag.ends_with(&format!("-{}", self.named.len())), "{etag}");
        let object = self.folder.read("bue", "k").unwrap();
        assert_eq!(object.info.etag, etag);
        let content = object.read_range(0, object.bytes as usize).unwrap();
        let expected: Vec<u8> = parts.iter().flat_map(|(byte, bytes)| vec![*byte; *bytes]).collect();
        assert!(content == expected, "{} bytes instead of {}", content.len(), expected.len());
        assert_eq!(self.complete_if(Condition::IfAbsent).unwrap(), object.info, "the answer may have been lost");
        places.is_ok_and(|places| places.ino() == object.file.metadata().unwrap().ino())
    }
}

#[test]
fn parts_of_one_size_are_not_copied_in_whatever_order_they_come() {
    let (folder, _root) = folder();
    for orders in [[1, 2, 3], [2, 3, 1]] {
        let mut parts = Parts::begin(&folder);
        for number in orders {
            parts.add(number, number as u8, if number == 3 { 70_000 } else { PART_BYTES });
        }
        let listed = folder.list_parts(&parts.id, OF).unwrap();
        assert_eq!(listed.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(listed[2].bytes, 70_000);
        assert!(parts.complete(&[(1, PART_BYTES), (2, PART_BYTES), (3, 70_000)]));
    }
    let mut single = Parts::begin(&folder);
    single.add(1, 9, PART_BYTES);
    assert!(single.complete(&[(9, PART_BYTES)]));
    assert_eq!(std::fs::read_dir(folder.uploads()).unwrap().count(), 0);
}

#[test]
fn parts_that_are_not_one_after_the_other_are_copied() {
    let (folder, _root) = folder();
    let begin = |numbers: &[u32]| {
        let mut parts = Parts::begin(&folder);
        numbers.iter().for_each(|number| parts.add(*number, *number as u8, PART_BYTES));
        parts
    };
    let mut again = begin(&[1, 2]);
    again.add(1, 7, PART_BYTES);
    assert!(!again.complete(&[(7, PART_BYTES), (2, PART_BYTES)]), "a part came again");

    assert!(!begin(&[1, 3]).complete(&[(1, PART_BYTES), (3, PART_BYTES)]), "a number is left out");

    let mut unnamed = begin(&[1, 2, 3]);
    unnamed.named.pop();
    assert!(!unnamed.complete(&[(1, PART_BYTES), (2, PART_BYTES)]), "a part is not named");

    let mut sizes = begin(&[1]);
    sizes.add(2, 8, PART_BYTES + 5);
    sizes.add(3, 9, PART_BYTES);
    assert!(!sizes.complete(&[(1, PART_BYTES), (8, PART_BYTES + 5), (9, PART_BYTES)]), "one is larger");

    let mut small_first = Parts::begin(&folder);
    small_first.add(2, 2, 3);
    small_first.add(1, 1, PART_BYTES);
    assert!(!small_first.complete(&[(1, PART_BYTES), (2, 3)]), "the end came first");

    let mut shorter = begin(&[1]);
    shorter.add(2, 2, PART_BYTES - 1);
    shorter.add(3, 3, 4);
    assert!(matches!(shorter.complete_if(Condition::None), Err(FolderError::PartTooSmall { number: 2, .. })));
}

#[test]
fn an_upload_is_complete_for_as_long_as_its_object_is_there() {
    let (folder, _root) = folder();
    let begin = || {
        let mut parts = Parts::begin(&folder);
        parts.add(1, 1, 70_000);
        parts
    };
    let (first, second) = (begin(), begin());
    let of_first = first.complete_if(Condition::None).unwrap();
    assert_eq!(first.complete_if(Condition::None).unwrap(), of_first);
    assert!(matches!(second.complete_if(Condition::IfAbsent), Err(FolderError::ConditionFailed)));
    second.complete_if(Condition::None).unwrap();
    assert!(matches!(first.complete_if(Condition::None), Err(FolderError::NoSuchUpload)), "another stands there now");
    folder.delete("bue", "k", &Condition::None).unwrap();
    assert!(matches!(second.complete_if(Condition::None), Err(FolderError::NoSuchUpload)));
    let of_other_parts = begin();
    let mut changed = of_other_parts.named.clone();
    of_other_parts.complete_if(Condition::None).unwrap();
    changed[0].etag = Some("other".to_owned());
    let completed = folder.complete_upload(&of_other_parts.id, OF, &changed, Condition::None, (None, BYTES_MAX));
    assert!(matches!(completed, Err(FolderError::NoSuchUpload)), "it was not made of these");
    let none = Parts::begin(&folder);
    assert!(matches!(none.complete_if(Condition::None), Err(FolderError::NoParts)));
}

#[test]
fn those_who_complete_an_upload_at_once_hear_of_one_object() {
    let (folder, _root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    // A part that comes again has all of them copied, which takes its time.
    parts.add(1, 2, PART_BYTES);
    parts.add(2, 3, PART_BYTES);
    let infos: Vec<ObjectInfo> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| parts.complete_if(Condition::IfAbsent).unwrap())).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(infos.iter().all(|info| *info == folder.read("bue", "k").unwrap().info), "{infos:?}");
    assert_eq!(std::fs::read_dir(folder.uploads()).unwrap().count(), 0);
}

#[test]
fn an_upload_that_could_not_be_forgotten_is_complete_all_the_same() {
    let (folder, _root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    let info = parts.complete_if(Condition::None).unwrap();
    // As if the process had ended before.
    let left = folder.uploads().join(&parts.id);
    let (bucket, key, attributes) = (OF.bucket.into(), OF.key.into(), Attributes::default());
    let told = UploadInfo { bucket, key, attributes, has_whole_checksum: false, initiated_ms: 0 };
    write_upload(&left, &told).unwrap();
    assert_eq!(parts.complete_if(Condition::IfAbsent).unwrap(), info);
    assert!(!left.exists());

    let path = folder.object_path("bue", "k").unwrap();
    let mut over_broken = Parts::begin(&folder);
    over_broken.add(1, 4, 70_000);
    std::fs::write(&path, "no object").unwrap();
    // What is broken is replaced.
    over_broken.complete(&[(4, 70_000)]);
}

#[test]
fn who_still_writes_a_part_that_nobody_names_writes_into_no_object() {
    let (folder, _root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    let mut late = parts.draft(2, PART_BYTES);
    late.write(&vec![2; 1 << 20]).unwrap();
    assert!(!parts.complete(&[(1, PART_BYTES)]));
    late.write(&vec![2; 1 << 20]).unwrap();
    let object = folder.read("bue", "k").unwrap();
    assert_eq!((object.bytes, object.read_range(PART_BYTES as u64 - 1, 1).unwrap()), (PART_BYTES as u64, vec![1]));
    assert!(matches!(folder.add_part(&parts.id, OF, 2, late, String::new()), Err(FolderError::NoSuchUpload)));
}

#[test]
fn a_part_does_not_grow_into_the_next_and_comes_again_as_a_whole() {
    let (folder, _root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(2, 2, PART_BYTES);
    let mut first = parts.draft(1, PART_BYTES);
    first.write(&vec![1; PART_BYTES]).unwrap();
    assert!(first.write(&[1]).is_err());
    drop(first);
    assert_eq!(folder.list_parts(&parts.id, OF).unwrap().len(), 1, "it was not finished");
    parts.add(1, 7, PART_BYTES);
    assert!(!parts.complete(&[(7, PART_BYTES), (2, PART_BYTES)]));
}

#[test]
fn an_upload_that_could_not_be_completed_goes_on() {
    let (folder, _root) = folder();
    put(&folder, "k", b"there");
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    for _ in 0..2 {
        assert!(matches!(parts.complete_if(Condition::IfAbsent), Err(FolderError::ConditionFailed)));
        assert_eq!(folder.read("bue", "k").unwrap().bytes, 5);
    }
    parts.add(2, 2, PART_BYTES);
    assert!(parts.complete(&[(1, PART_BYTES), (2, PART_BYTES)]));
}

#[test]
fn an_upload_whose_completion_was_cut_off_is_completed_once_more() {
    let (folder, _root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    parts.add(2, 2, 10);
    let upload = folder.uploads().join(&parts.id);
    // The server ended after it had published the object, or just before.
    std::fs::rename(upload.join("places"), upload.join("places.done")).unwrap();
    let mut tail = std::fs::File::options().append(true).open(upload.join("places.done")).unwrap();
    std::io::Write::write_all(&mut tail, b"what is known of it").unwrap();
    parts.add(3, 3, 20);
    assert!(matches!(parts.complete_if(Condition::None), Err(FolderError::PartTooSmall { number: 2, .. })));
    parts.named.pop();
    assert!(!parts.complete(&[(1, PART_BYTES), (2, 10)]));
}

#[test]
fn an_upload_goes_as_one_and_what_a_crash_leaves_of_it_goes_at_the_next_start() {
    let (folder, root) = folder();
    let mut parts = Parts::begin(&folder);
    parts.add(1, 1, PART_BYTES);
    // The server ended while it removed one.
    std::fs::rename(folder.uploads().join(&parts.id), folder.drafts().join("0.upload")).unwrap();
    assert!(matches!(parts.complete_if(Condition::None), Err(FolderError::NoSuchUpload)));
    assert!(folder.list_uploads("bue").unwrap().is_empty());
    drop(folder);
    let folder = Folder::open(root.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.drafts()).unwrap().count(), 0);
}
