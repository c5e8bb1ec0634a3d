//! Tables as processes read them, kept on disk after they were stored or read: a step that takes one of them need not have it fetched
//! and made plain again. What a step returns is most often taken by the next one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::errno::Errno as LastError;
use nix::fcntl::OFlag;
use nix::libc;
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
    file: NamedTempFile,
    bytes: u64,
}

impl AtHand {
    /// A copy of the `bytes` bytes of a file, where the disk has `room` bytes more than it takes: whoever can still write to that file
    /// changes nothing here.
    pub(super) fn copy_of(source: &File, bytes: u64, folder: &Path, room: u64) -> io::Result<Self> {
        let file = NamedTempFile::with_prefix_in(PREFIX, folder)?;
        check_room(file.as_file(), bytes.saturating_add(room))?;
        copy(source, file.as_file(), bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(READ_ONLY))?;
        Ok(Self { file, bytes })
    }

    /// The file itself, which is found at `path` and to which nobody writes any more, where the disk has `room`; a copy of it, where it
    /// cannot be had.
    pub(super) fn taken(source: &File, bytes: u64, path: &Path, folder: &Path, room: u64) -> io::Result<Self> {
        match made_ours(source, path, folder) {
            Ok(file) => {
                check_room(file.as_file(), room)?;
                Ok(Self { file, bytes })
            }
            Err(_) => Self::copy_of(source, bytes, folder, room),
        }
    }

    /// The same for a file that somebody else may still write to; then it is an error.
    pub(super) fn sealed(source: &File, bytes: u64, path: &Path, folder: &Path, room: u64) -> io::Result<Self> {
        let file = made_ours(source, path, folder)?;
        if is_written_to(file.as_file())? {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        check_room(file.as_file(), room)?;
        Ok(Self { file, bytes })
    }

    /// Writes it into a file of its own.
    pub(super) fn copy_to(&self, target: &Path) -> io::Result<()> {
        make_way(target)?;
        copy(self.file.as_file(), &File::create_new(target)?, self.bytes)
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
        let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(name);
        opened.inspect_err(|_| drop(std::fs::remove_file(name)))
    })?;
    own(looked_at, file.as_file())?;
    Ok(file)
}

/// Whether somebody has a file open to write to it, or has it in memory as such. The kernel tells by whether it gives a lease to read it.
fn is_written_to(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and all that is passed are numbers.
    let lease = |kind: libc::c_int| LastError::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) });
    match lease(libc::F_RDLCK) {
        Ok(_) => lease(libc::F_UNLCK).map(|_| false).map_err(io::Error::from),
        Err(LastError::EAGAIN) => Ok(true),
        Err(error) => Err(error.into()),
    }
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

/// Copies the first `bytes` bytes, wherever others are in the source.
fn copy(source: &File, target: &File, bytes: u64) -> io::Result<()> {
    let mut copied = 0;
    while copied < bytes {
        let (mut from, mut to) = (copied, copied);
        let rest = usize::try_from(bytes - copied).unwrap_or(usize::MAX);
        copied += match copy_file_range(source, Some(&mut from), target, Some(&mut to), rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count as u64,
            Err(Errno::INTR) => 0,
            // Not between these file systems, or not with this kernel.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(source, target, copied, bytes);
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

    use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

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
    fn a_file_that_somebody_can_still_write_to_is_not_taken() {
        let (folder, kept_in) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("value.arrow");
        std::fs::write(&path, "a table").unwrap();
        let source = File::open(&path).unwrap();
        let sealed = || AtHand::sealed(&source, 7, &path, kept_in.path(), 1);
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(sealed().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(writer);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let writer = OpenOptions::new().read(true).append(true).open(&path).unwrap();
        let (length, protection) = (std::num::NonZeroUsize::MIN, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
        // SAFETY: nobody looks at this memory, which goes before the end.
        let memory = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &writer, 0) }.unwrap();
        drop(writer);
        assert_eq!(sealed().unwrap_err().kind(), io::ErrorKind::ResourceBusy, "it is written to through memory");
        // SAFETY: as above.
        unsafe { munmap(memory, length.get()) }.unwrap();
        let taken = sealed().unwrap();
        assert_eq!(taken.file().unwrap().metadata().unwrap().ino(), source.metadata().unwrap().ino());
        assert_eq!(taken.file().unwrap().metadata().unwrap().mode() & 0o777, READ_ONLY);
        // Readers are no harm, and see to it again.
        assert!(sealed().is_ok());
    }

    #[test]
    fn without_the_kernels_help_it_is_the_same_from_any_place_on() {
        let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all(&content).unwrap();
        let bytes = content.len() as u64;
        copy(&source, &target, 1_000).unwrap();
        copy_by_hand(&source, &target, 1_000, bytes).unwrap();
        let mut copied = vec![0; content.len()];
        target.read_exact_at(&mut copied, 0).unwrap();
        assert_eq!(copied, content);
    }

    #[test]
    fn a_source_that_is_shorter_than_was_said_is_an_error() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all_at(b"short", 0).unwrap();
        assert_eq!(copy(&source, &target, 100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(copy_by_hand(&source, &target, 0, 100).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
