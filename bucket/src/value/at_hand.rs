//! Tables as processes read them, kept on disk after they were stored or read: a step that takes one of them need not have it fetched
//! and made plain again. What a step returns is most often taken by the next one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::unistd::{getegid, geteuid};
use rustix::fs::{copy_file_range, fstatvfs};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::list_cache::Weigh;

/// Bytes that are copied at once where the kernel does not do it.
const CHUNK_BYTES: usize = 256 << 10;

/// What names of tables begin with.
const PREFIX: &str = "table-";
/// For everybody to read, and for nobody to write.
const READ_ONLY: u32 = 0o444;

/// A table in a file of ours, which goes with it: an uncompressed Arrow stream.
#[derive(Debug)]
pub(super) struct AtHand {
    file: Arc<NamedTempFile>,
    bytes: u64,
}

/// A copy of a file that somebody still writes to. What is copied already stays as it is.
#[derive(Debug)]
pub(super) struct Copying {
    source: File,
    file: Arc<NamedTempFile>,
    /// Bytes of the source that are in it.
    copied: Mutex<u64>,
    room: u64,
}

impl Copying {
    /// Begins one in `folder`, whose disk is to have `room` bytes more than it takes.
    pub(super) fn begin(source: File, folder: &Path, room: u64) -> io::Result<Self> {
        let file = Arc::new(NamedTempFile::with_prefix_in(PREFIX, folder)?);
        Ok(Self { source, file, copied: Mutex::default(), room })
    }

    /// Copies what is not there yet of the first `bytes` bytes.
    pub(super) fn copy_up_to(&self, bytes: u64) -> io::Result<()> {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        if *copied < bytes {
            check_room(self.file.as_file(), (bytes - *copied).saturating_add(self.room))?;
            copy(&self.source, self.file.as_file(), *copied, bytes)?;
            *copied = bytes;
        }
        Ok(())
    }

    /// A table of `bytes` bytes; no more may have been copied so far.
    pub(super) fn finish(&self, bytes: u64) -> io::Result<AtHand> {
        self.copy_up_to(bytes)?;
        if *self.copied.lock().unwrap_or_else(PoisonError::into_inner) != bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.file.as_file().set_permissions(Permissions::from_mode(READ_ONLY))?;
        Ok(AtHand { file: Arc::clone(&self.file), bytes })
    }

    /// The copy, to be read at any place.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(self.file.path())
    }
}

impl AtHand {
    /// A copy of the `bytes` bytes of a file, where the disk has `room` bytes more than it takes: whoever can still write to that file
    /// changes nothing here.
    pub(super) fn copy_of(source: &File, bytes: u64, folder: &Path, room: u64) -> io::Result<Self> {
        let file = NamedTempFile::with_prefix_in(PREFIX, folder)?;
        check_room(file.as_file(), bytes.saturating_add(room))?;
        copy(source, file.as_file(), 0, bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(READ_ONLY))?;
        Ok(Self { file: Arc::new(file), bytes })
    }

    /// The file itself, which is found at `path` and to which nobody writes any more, where the disk has `room`; a copy of it, where it
    /// cannot be had.
    pub(super) fn taken(source: &File, bytes: u64, path: &Path, folder: &Path, room: u64) -> io::Result<Self> {
        match made_ours(source, path, folder) {
            Ok(file) => {
                check_room(file.as_file(), room)?;
                Ok(Self { file: Arc::new(file), bytes })
            }
            Err(_) => Self::copy_of(source, bytes, folder, room),
        }
    }

    /// Writes it into a file of its own.
    pub(super) fn copy_to(&self, target: &Path) -> io::Result<()> {
        make_way(target)?;
        copy(self.file.as_file(), &File::create_new(target)?, 0, self.bytes)
    }

    /// Gives the file itself a further name, for somebody who only reads it; a copy of it, where that cannot be.
    pub(super) fn lend_to(&self, target: &Path) -> io::Result<()> {
        make_way(target)?;
        std::fs::hard_link(self.file.path(), target).or_else(|_| self.copy_to(target))
    }

    /// The same file at its begin, to be read by one reader at a time.
    pub(super) fn file(&self) -> io::Result<File> {
        let mut file = self.file.as_file().try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Weigh for AtHand {
    fn weight_bytes(&self) -> u64 {
        self.bytes
    }
}

fn check_room(file: &File, bytes: u64) -> io::Result<()> {
    let disk = fstatvfs(file)?;
    let is_there = disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes;
    if is_there { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
}

/// A name of ours for the file at `path`, which is made ours if it is the one that was looked at.
pub(super) fn made_ours(looked_at: &File, path: &Path, folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(PREFIX).make_in(folder, |name| {
        std::fs::hard_link(path, name)?;
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(name);
        opened.inspect_err(|_| drop(std::fs::remove_file(name)))
    })?;
    own(looked_at, file.as_file())?;
    Ok(file)
}

/// Makes a file ours, if it is the one that was looked at: nobody else can open it to write any more.
fn own(looked_at: &File, file: &File) -> io::Result<()> {
    let (known, found) = (looked_at.metadata()?, file.metadata()?);
    if (known.dev(), known.ino()) != (found.dev(), found.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if found.uid() != user {
        fchown(file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(READ_ONLY))
}

/// Removes what is in the place of a file to be: written over, it would be another's, where it was lent.
pub(super) fn make_way(target: &Path) -> io::Result<()> {
    match std::fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies the bytes from `start` to `end`, wherever others are in the source.
fn copy(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let mut copied = start;
    while copied < end {
        let (mut from, mut to) = (copied, copied);
        let rest = usize::try_from(end - copied).unwrap_or(usize::MAX);
        copied += match copy_file_range(source, Some(&mut from), target, Some(&mut to), rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count as u64,
            Err(Errno::INTR) => 0,
            // Not between these file systems, or not with this kernel.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(source, target, copied, end);
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

fn copy_by_hand(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut place = start;
    while place < end {
        let most = buffer.len().min(usize::try_from(end - place).unwrap_or(usize::MAX));
        match source.read_at(&mut buffer[..most], place)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                target.write_all_at(&buffer[..count], place)?;
                place += count as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_copy_is_whole_and_does_not_change_with_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(&content).unwrap();
        let kept = AtHand::copy_of(&source, content.len() as u64, folder.path(), 1 << 20).unwrap();
        let crowded = AtHand::copy_of(&source, content.len() as u64, folder.path(), u64::MAX / 2);
        assert_eq!(crowded.unwrap_err().kind(), io::ErrorKind::StorageFull);
        source.write_all_at(b"other", 0).unwrap();
        let targets = ["first", "second", "lent", "again"].map(|name| folder.path().join(name));
        let [first, second, lent, again] = &targets;
        kept.copy_to(first).unwrap();
        kept.copy_to(second).unwrap();
        kept.lend_to(lent).unwrap();
        kept.lend_to(again).unwrap();
        assert_eq!(std::fs::metadata(lent).unwrap().ino(), std::fs::metadata(again).unwrap().ino());
        // Who gets a copy in the place of what was lent does not write to that.
        kept.copy_to(again).unwrap();
        std::fs::write(first, "written to").unwrap();
        std::fs::write(again, "written to").unwrap();
        drop(kept);
        for target in [second, lent] {
            assert_eq!(std::fs::read(target).unwrap(), content);
        }
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.len() == targets.len() && targets.iter().all(|target| left.contains(target)), "{left:?}");
    }

    #[test]
    fn a_file_that_nobody_writes_to_any_more_is_taken_as_it_is_and_no_other_in_its_place() {
        let (folder, kept_in) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("value.arrow");
        std::fs::write(&path, "a table").unwrap();
        let source = File::open(&path).unwrap();
        let names = || std::fs::read_dir(kept_in.path()).unwrap().count();
        let taken = AtHand::taken(&source, 7, &path, kept_in.path(), 1).unwrap();
        assert_eq!(taken.file().unwrap().metadata().unwrap().ino(), source.metadata().unwrap().ino());
        std::fs::remove_file(&path).unwrap();
        let target = folder.path().join("lent");
        taken.lend_to(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"a table");
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, READ_ONLY);
        drop(taken);

        // Whatever lies there by now is not what was looked at.
        std::fs::write(folder.path().join("other"), "another").unwrap();
        std::os::unix::fs::symlink(folder.path().join("other"), &path).unwrap();
        let copied = AtHand::taken(&source, 7, &path, kept_in.path(), 1).unwrap();
        copied.copy_to(&folder.path().join("copy")).unwrap();
        assert_eq!(std::fs::read(folder.path().join("copy")).unwrap(), b"a table");
        assert_eq!(names(), 1);
        drop(copied);
        let crowded = AtHand::taken(&source, 7, &path, kept_in.path(), u64::MAX / 2);
        assert_eq!(crowded.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(), 0);
    }

    #[test]
    fn a_copy_grows_with_its_source_and_ends_where_that_does() {
        let (folder, source) = (tempfile::tempdir().unwrap(), tempfile::tempfile().unwrap());
        let copying = |room| Copying::begin(source.try_clone().unwrap(), folder.path(), room);
        let (copy, short) = (copying(1 << 20).unwrap(), copying(1 << 20).unwrap());
        source.write_all_at(b"a table", 0).unwrap();
        copy.copy_up_to(4).unwrap();
        short.copy_up_to(7).unwrap();
        // What was copied stays what it was.
        source.write_all_at(b"no", 0).unwrap();
        copy.copy_up_to(2).unwrap();
        let kept = copy.finish(7).unwrap();
        assert_eq!((std::fs::read(kept.file.path()).unwrap(), kept.bytes()), (b"a table".to_vec(), 7));
        assert_eq!(kept.file.path().metadata().unwrap().mode() & 0o777, READ_ONLY);
        assert_eq!(short.finish(6).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(short.finish(8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(copying(u64::MAX / 2).unwrap().copy_up_to(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop((copy, short, kept));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_the_kernels_help_it_is_the_same_from_any_place_on() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all(&content).unwrap();
        let bytes = content.len() as u64;
        copy(&source, &target, 0, 1_000).unwrap();
        copy_by_hand(&source, &target, 1_000, bytes).unwrap();
        let mut copied = vec![0; content.len()];
        target.read_exact_at(&mut copied, 0).unwrap();
        assert_eq!(copied, content);
    }

    #[test]
    fn a_source_that_is_shorter_than_was_said_is_an_error() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all_at(b"short", 0).unwrap();
        assert_eq!(copy(&source, &target, 0, 100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(copy_by_hand(&source, &target, 0, 100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
