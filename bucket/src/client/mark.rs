//! The mark of a folder that is a bucket. A folder without it, or with another one, is not the one that values were written to: the
//! place of a share that is not mounted, say, where each object would seem to be gone and each new one would be hidden later.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::BucketError;

/// The name of the file that is the mark. It is no object.
pub const NAME: &str = ".bue-bucket";
/// Random bytes that tell one bucket from another.
const ID_BYTES: usize = 16;

/// Folders that are tried for writing: those above before those within them.
const FOLDERS_TRIED_MAX: usize = 100;

/// What a folder had for a mark when it was opened.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    id: Option<String>,
    access: Access,
}

/// What a folder was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

impl Mark {
    /// The mark of this folder, which is made where there is none.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if let Some(id) = read(&path)? {
            return Ok(Self { path, id: Some(id), access: Access::Write });
        }
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        // Others may read it, as they may the objects.
        let permissions = fs::Permissions::from_mode(0o644);
        let mut draft = tempfile::Builder::new().permissions(permissions).tempfile_in(folder)?;
        draft.write_all(hex::encode(bytes).as_bytes())?;
        draft.as_file().sync_all()?;
        match draft.persist_noclobber(&path) {
            Ok(_) => {}
            // Somebody else was quicker.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
        let id = read(&path)?;
        Ok(Self { path, id, access: Access::Write })
    }

    /// The mark of this folder for who only reads: nothing is made.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let id = read(&path)?;
        Ok(Self { path, id, access: Access::Read })
    }

    /// Whether objects can be written where this was opened for that: in the folder, and in those within it that others may have made.
    pub(super) async fn check_access(&self, place: &str) -> Result<(), BucketError> {
        let Some(folder) = self.path.parent().filter(|_| self.access == Access::Write) else { return Ok(()) };
        let folder = folder.to_owned();
        let tried = tokio::task::spawn_blocking(move || try_to_write(&folder)).await;
        tried.unwrap_or_else(|error| Err((PathBuf::from(place), io::Error::other(error)))).map_err(
            |(folder, source)| match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => BucketError::Refused {
                    place: place.to_owned(),
                    reason: format!("nothing can be written in {}: {}", folder.display(), source.kind()),
                },
                _ => BucketError::io(folder.display(), source),
            },
        )
    }

    /// Whether the folder of the bucket called `place` still has this mark.
    pub(super) async fn check(&self, place: &str) -> Result<(), BucketError> {
        let path = self.path.clone();
        let found = tokio::task::spawn_blocking(move || read(&path)).await;
        let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));
        let reason = match found {
            Ok(Some(id)) if Some(&id) == self.id.as_ref() => return Ok(()),
            Ok(Some(_)) => {
                format!(
                    "its file {NAME} says that it is another bucket than before, as where another disk or share is mounted"
                )
            }
            Ok(None) => {
                format!("it lacks the file {NAME} that each bucket has, as where its disk or share is not mounted")
            }
            Err(error) => format!("its file {NAME} cannot be read: {error}"),
        };
        Err(BucketError::Unreachable { place: place.to_owned(), reason })
    }
}

fn try_to_write(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    let mut folders = vec![folder.to_owned()];
    let mut next = 0;
    while next < folders.len() {
        let folder = folders[next].clone();
        next += 1;
        let tried = tempfile::tempfile_in(&folder).and_then(|_| fs::read_dir(&folder));
        match tried {
            Ok(within) => {
                let within = within.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
                folders.extend(within.take(FOLDERS_TRIED_MAX.saturating_sub(folders.len())).map(|entry| entry.path()));
            }
            // One that is gone was empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err((folder, error));
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(id) => Ok(Some(id)),
        // Where the folder itself is gone, or another kind of thing is in its place.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_that_open_a_folder_at_once_agree_about_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Mark::make(folder.path()).unwrap().id)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made[0].is_some() && made.iter().all(|id| id == &made[0]), "{made:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Mark::of(folder.path()).unwrap().id, made[0]);
    }
}
