//! Folders that are made and removed so that a crash at any point leaves nothing half done.

use std::fs::{self, File};
use std::io;
use std::path::Path;

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
