//! Folders that are made and removed, and files that come to their names, so that a crash at any point leaves nothing half done.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;
use nix::sys::statfs;

/// What has a file and its new name survive a loss of power, both or neither: it depends on the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// Files and names are in one journal, which keeps their order (XFS, and ext4 with a journal): once the content is on the disk, one
    /// commit after the renaming has both.
    Journal,
    /// Nothing is known: the file is committed, renamed, and then its folder committed. Takes twice as long.
    Unknown,
}

impl Naming {
    /// That of the file system of `folder`.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let kind = statfs::statfs(folder)?.filesystem_type();
        let is_journal = match kind {
            statfs::XFS_SUPER_MAGIC => true,
            // The same number as ext2.
            statfs::EXT4_SUPER_MAGIC => has_journal(fs::metadata(folder)?.dev()),
            _ => false,
        };
        Ok(if is_journal { Self::Journal } else { Self::Unknown })
    }

    /// Makes a whole file ready for its name.
    pub(super) fn before(self, file: &File) -> io::Result<()> {
        match self {
            Self::Journal => match write_out(file) {
                // Filtered where this runs: a commit does the same, and more.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => file.sync_all(),
                outcome => outcome,
            },
            Self::Unknown => file.sync_all(),
        }
    }

    /// Has the file and the name it came to in `folder` survive a loss of power.
    pub(super) fn after(self, file: &File, folder: &Path) -> io::Result<()> {
        match self {
            Self::Journal => file.sync_all(),
            Self::Unknown => match sync_folder(folder) {
                // It was deleted again, and its folder with it.
                Err(error) if is_absent(&error) => Ok(()),
                outcome => outcome,
            },
        }
    }
}

/// Whether the ext4 on this device keeps a journal; not known is no.
fn has_journal(device: u64) -> bool {
    let numbers = format!("{}:{}", libc::major(device), libc::minor(device));
    let Ok(link) = fs::read_link(Path::new("/sys/dev/block").join(numbers)) else { return false };
    link.file_name().is_some_and(|name| Path::new("/sys/fs/ext4").join(name).join("journal_task").exists())
}

/// Has the disk take what was written to a file, without a commit of the file system's journal.
fn write_out(file: &File) -> io::Result<()> {
    let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes numbers alone, and the descriptor is open as long as `file` is borrowed. No crate offers it safely.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a folder and those above it; when this returns they survive a loss of power.
pub(super) fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_folders(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        outcome => outcome?,
    }
    sync_folder(parent.unwrap_or(Path::new(".")))
}

/// Makes changes of a folder's entries survive a loss of power.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes the folders above `path` that are empty now, below `top`. What cannot be removed is needed by somebody.
pub(super) fn prune(path: &Path, top: &Path) {
    let below = path.ancestors().skip(1).take_while(|folder| *folder != top && folder.starts_with(top));
    for folder in below {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// Removes a folder in which there are folders and nothing else. Fails as [`fs::remove_dir`] does where there is a file, also where it
/// came a moment ago: nothing that somebody wrote is ever removed.
pub(super) fn remove_empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        match remove_empty(&entry.path()) {
            Err(error) if is_absent(&error) => {}
            outcome => outcome?,
        }
    }
    fs::remove_dir(path)
}

/// Whether an error says that there is no such file: it, or a folder on the way to it, is missing.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_comes_to_its_name_whichever_file_system_it_is_on() {
        let folder = tempfile::tempdir().unwrap();
        for naming in [Naming::Journal, Naming::Unknown] {
            let mut file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
            file.write_all(b"content").unwrap();
            naming.before(file.as_file()).unwrap();
            let path = folder.path().join("named");
            let file = file.persist(&path).unwrap();
            naming.after(&file, folder.path()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"content");
            fs::remove_file(&path).unwrap();
            naming.after(&file, &folder.path().join("gone")).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_written_out_is_told() {
        let (reader, _writer) = io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        assert_eq!(write_out(&pipe).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
    }

    #[test]
    fn a_file_system_without_a_journal_is_not_taken_for_one_that_has_it() {
        assert_eq!(Naming::of(Path::new("/proc")).unwrap(), Naming::Unknown);
        assert!(!has_journal(0));
    }
}
