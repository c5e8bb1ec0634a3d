//! What a folder looked like when it was filled: whoever changes anything in it changes that.
//!
//! The kernel notes for each file and folder when its content, names, owner, rights or attributes last changed, and no
//! program can set that time. So a folder whose times are what they were holds what it held. Not every file system notes what is
//! written through memory that a file is mapped to (a tmpfs does not): whether this one does is tried.

use std::fs::{self, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::time::{ClockId, clock_gettime};

/// Files and folders that are looked at; where there are more, copying them anew is as good.
const ENTRIES_MAX: usize = 512;
/// Length of a file that is written to find out what the file system notes.
const PROBE_BYTES: usize = 4_096;
/// Between two looks at the clock by which the kernel notes changes. It moves some hundred times a second.
const CLOCK_PAUSE: Duration = Duration::from_millis(1);

/// The looks of all that is in some folders.
#[derive(Debug)]
pub(super) struct Print {
    all: Vec<(PathBuf, Stamp)>,
    above: (PathBuf, Rights),
}

/// Who may do what with a folder.
#[derive(Debug, PartialEq, Eq)]
struct Rights {
    inode: u64,
    mode: u32,
    user: u32,
    group: u32,
}

impl Rights {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), mode: metadata.mode(), user: metadata.uid(), group: metadata.gid() }
    }
}

/// What tells a file or folder from a changed one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

impl Print {
    /// The looks of these folders, which are in `above`; of that only the rights, for files come and go there. `None` where there
    /// is too much in them.
    pub(super) fn of(above: &Path, folders: &[PathBuf]) -> io::Result<Option<Self>> {
        let mut seen = Vec::new();
        let mut open = folders.to_vec();
        while let Some(folder) = open.pop() {
            seen.push((folder.clone(), Stamp::of(&fs::symlink_metadata(&folder)?)));
            for entry in fs::read_dir(&folder)? {
                let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
                if metadata.is_dir() {
                    open.push(path);
                } else {
                    seen.push((path, Stamp::of(&metadata)));
                }
                if seen.len() + open.len() > ENTRIES_MAX {
                    return Ok(None);
                }
            }
        }
        let rights = Rights::of(&fs::symlink_metadata(above)?);
        Ok(Some(Self { all: seen, above: (above.to_owned(), rights) }))
    }

    /// Waits until the kernel's clock has moved on: what is changed from then on is told from what was changed before.
    pub(super) async fn settle(&self) -> io::Result<()> {
        let newest = self.all.iter().map(|(_, stamp)| stamp.changed).max().unwrap_or_default();
        while now()? <= newest {
            tokio::time::sleep(CLOCK_PAUSE).await;
        }
        Ok(())
    }

    /// Whether all is as it was.
    pub(super) fn holds(&self) -> bool {
        let is_same = |path: &Path, stamp: &Stamp| {
            fs::symlink_metadata(path).is_ok_and(|metadata| Stamp::of(&metadata) == *stamp)
        };
        let (above, rights) = &self.above;
        fs::symlink_metadata(above).is_ok_and(|metadata| Rights::of(&metadata) == *rights)
            && self.all.iter().all(|(path, stamp)| is_same(path, stamp))
    }
}

/// Whether the file system of a folder notes all changes, also those made through memory.
pub(super) fn tells_all(folder: &Path) -> io::Result<bool> {
    for reads_first in [false, true] {
        let file = tempfile::NamedTempFile::new_in(folder)?;
        file.as_file().set_len(PROBE_BYTES as u64)?;
        let before = Stamp::of(&file.as_file().metadata()?);
        while now()? <= before.changed {
            std::thread::sleep(CLOCK_PAUSE);
        }
        write_through_memory(file.as_file(), reads_first)?;
        if Stamp::of(&file.as_file().metadata()?) == before {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Changes a file by writing to memory that it is mapped to; a page that was read before may be written without the kernel's help.
fn write_through_memory(file: &fs::File, reads_first: bool) -> io::Result<()> {
    let length = NonZeroUsize::new(PROBE_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at a place that the kernel chooses, of a file that is as long as the mapping and that nobody else has:
    // it is not cut while it is mapped. All access is by this pointer and within the length, and ends before the mapping does.
    unsafe {
        let memory = mmap(None, length, rights, MapFlags::MAP_SHARED, file, 0)?;
        let first = memory.cast::<u8>().as_ptr();
        let value = if reads_first { first.read_volatile() } else { 0 };
        first.write_volatile(value + 1);
        munmap(memory, PROBE_BYTES)?;
    }
    Ok(())
}

/// The clock by which the kernel notes changes.
fn now() -> io::Result<(i64, i64)> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
    Ok((now.tv_sec(), now.tv_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn whatever_is_changed_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let changes: [(&str, &dyn Fn()); 8] = [
            ("other rights above", &|| {
                fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o701)).unwrap();
            }),
            ("a new file", &|| fs::write(at("sub/new"), "").unwrap()),
            ("a file that is gone", &|| fs::remove_file(at("sub/file")).unwrap()),
            ("another content of the same length", &|| fs::write(at("sub/file"), "eno").unwrap()),
            ("another content with the old times", &|| {
                let modified = fs::metadata(at("sub/file")).unwrap().modified().unwrap();
                fs::write(at("sub/file"), "eno").unwrap();
                fs::File::options().write(true).open(at("sub/file")).unwrap().set_modified(modified).unwrap();
            }),
            ("other rights", &|| fs::set_permissions(at("sub"), fs::Permissions::from_mode(0o700)).unwrap()),
            ("a folder in place of another", &|| {
                fs::remove_dir_all(at("sub")).unwrap();
                fs::create_dir(at("sub")).unwrap();
                fs::write(at("sub/file"), "one").unwrap();
            }),
            ("a link to the file", &|| fs::hard_link(at("sub/file"), folder.path().with_extension("link")).unwrap()),
        ];
        for (what, change) in changes {
            let _ = fs::remove_dir_all(at("sub"));
            fs::create_dir(at("sub")).unwrap();
            fs::write(at("sub/file"), "one").unwrap();
            fs::write(at("beside"), "").unwrap();
            let print = Print::of(folder.path(), &[at("sub")]).unwrap().unwrap();
            print.settle().await.unwrap();
            fs::remove_file(at("beside")).unwrap();
            assert!(print.holds(), "before {what}");
            change();
            assert!(!print.holds(), "after {what}");
        }
        fs::remove_file(folder.path().with_extension("link")).unwrap();
    }

    #[test]
    fn a_file_system_in_memory_does_not_tell_all_changes() {
        let folder = Path::new("/dev/shm");
        let kind = nix::sys::statfs::statfs(folder).unwrap().filesystem_type();
        assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC, "this test is about /dev/shm as a tmpfs");
        assert!(!tells_all(folder).unwrap());
    }

    #[test]
    fn a_file_system_on_disk_tells_all_changes() {
        // The folder of the build: that for temporary files may be in memory.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let kind = nix::sys::statfs::statfs(folder).unwrap().filesystem_type();
        assert!(kind == nix::sys::statfs::TMPFS_MAGIC || tells_all(folder).unwrap());
    }

    #[test]
    fn a_folder_with_too_much_in_it_has_none() {
        let folder = tempfile::tempdir().unwrap();
        (0..ENTRIES_MAX).for_each(|number| fs::write(folder.path().join(number.to_string()), "").unwrap());
        assert!(Print::of(folder.path(), &[folder.path().to_owned()]).unwrap().is_none());
    }
}
