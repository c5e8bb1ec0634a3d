//! The temporary folder of one `bue run`, and the end of those whose run was killed.
//!
//! A run holds a lock on a file in its folder while it lives; a folder whose lock can be had belongs to nobody.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tempfile::TempDir;

use crate::data_dir::DataDirError;
use crate::error::{Error, Result};

/// What the names of these folders begin with.
const PREFIX: &str = "bue-run-";
/// The file whose lock says that its run lives.
const LOCK: &str = "lock";

/// A folder that goes away with its run, or with the next run after a kill.
pub struct RunFolder {
    folder: TempDir,
    /// Held until the folder is gone.
    _lock: File,
}

impl RunFolder {
    /// Makes a new one, and clears away what killed runs left.
    pub fn make() -> Result<Self> {
        let parent = std::env::temp_dir();
        let made = Self::make_in(&parent).map_err(|error| {
            Error::machine(DataDirError::new("make a folder in", &parent, error))
                .hint("TMPDIR names another folder for temporary files")
        })?;
        sweep(&parent, made.folder.path());
        Ok(made)
    }

    fn make_in(parent: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // Locked before it has its name, so that no sweep finds it open.
        let lock = tempfile::NamedTempFile::new_in(folder.path())?;
        lock.as_file().lock()?;
        let lock = lock.persist(folder.path().join(LOCK)).map_err(|error| error.error)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it. What is left would only be clutter: a failure is not the run's.
    pub fn close(self) {
        let _ = self.folder.close();
    }
}

/// Removes the folders of whom `own` belongs to whose runs are dead. One without a lock file is being made, or is not ours.
fn sweep(parent: &Path, own: &Path) {
    let Ok(user) = fs::metadata(own).map(|metadata| metadata.uid()) else { return };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && is_dead(&entry.path(), user) {
            // Another sweep may be at it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_dead(folder: &Path, user: u32) -> bool {
    if !fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user) {
        return false;
    }
    match File::open(folder.join(LOCK)).map(|lock| lock.try_lock()) {
        Ok(Ok(())) => true,
        Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_dead_run_is_swept_and_that_of_a_live_one_stays() {
        let parent = tempfile::tempdir().unwrap();
        let live = RunFolder::make_in(parent.path()).unwrap();
        let RunFolder { folder, _lock } = RunFolder::make_in(parent.path()).unwrap();
        let dead = folder.keep();
        drop(_lock);
        let foreign = parent.path().join("bue-run-of-somebody");
        fs::create_dir(&foreign).unwrap();
        sweep(parent.path(), live.path());
        assert!(live.path().exists() && foreign.exists());
        assert!(!dead.exists());
        let path = live.path().to_owned();
        live.close();
        assert!(!path.exists());
    }
}
