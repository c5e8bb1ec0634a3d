//! Environments on disk, shared by the workers of a machine.
//!
//! ```text
//! environments/<name>.lock       held shared by those who use it, alone by who makes or removes it
//! environments/<name>/           the environment; it is whole when it has the file `made`
//! environments/downloads/        what installers keep between two of them
//! environments/downloads.lock    held shared by installers, alone by who removes the downloads
//! ```
//!
//! The programs of an environment hold its path, so it is made where it stays, and the file that says it is whole is
//! written last, beside, and renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use protocol::Digest;

use crate::python::Python;

/// The file that says that an environment is whole, and how large it is.
const MADE: &str = "made";
/// What installers keep between two environments.
pub(super) const DOWNLOADS: &str = "downloads";
/// Time between two looks at a lock that another worker holds.
const LOCK_LOOK: Duration = Duration::from_millis(200);

/// An interpreter with packages, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Environment {
    /// The interpreter, and the folders it needs.
    pub(crate) python: Python,
    _lock: Option<Flock<File>>,
}

impl Environment {
    /// An interpreter of this machine, without packages of ours.
    pub(crate) fn bare(python: Python) -> Self {
        Self { python, _lock: None }
    }
}

/// All environments of a machine's workers.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

/// Where one environment is, or is to be.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    lock: PathBuf,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn place(&self, digest: Digest) -> Place {
        self.named(&digest.to_string()[..16])
    }

    fn named(&self, name: &str) -> Place {
        Place { folder: self.root.join(name), lock: self.root.join(format!("{name}.lock")) }
    }

    /// Removes environments that nobody uses: those not used for `age_max`, then the ones longest unused until all are small
    /// enough. What cannot be removed is left for the next time.
    pub(super) fn trim(&self, bytes_max: u64, age_max: Duration) {
        let mut found = self.found();
        found.sort();
        let mut bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (used, size, name) in found {
            let is_old = used.elapsed().is_ok_and(|age| age > age_max);
            if (is_old || bytes > bytes_max) && self.named(&name).remove().is_ok_and(|removed| removed) {
                tracing::info!(environment = name, "removed a Python environment that was not used");
                bytes -= size;
            }
        }
    }

    /// Removes what was begun and not finished, by a worker that is gone.
    pub(super) fn clear_unfinished(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let place = self.named(&name);
            if name == DOWNLOADS || !entry.path().is_dir() || place.is_made() {
                continue;
            }
            // Who makes one holds its lock.
            if let Ok(Some(_lock)) = place.try_lock(FlockArg::LockExclusiveNonblock)
                && !place.is_made()
                && place.clear().is_ok()
            {
                tracing::info!(environment = name, "removed a Python environment that was not finished");
            }
        }
    }

    /// Keeps downloads from being removed, for as long as the lock is held.
    pub(super) fn hold_downloads(&self) -> io::Result<Option<Flock<File>>> {
        self.named(DOWNLOADS).try_lock(FlockArg::LockSharedNonblock)
    }

    /// Removes what installers keep where it and all environments together take more space than they may, unless one installs.
    pub(super) fn trim_downloads(&self, bytes_max: u64) {
        let place = self.named(DOWNLOADS);
        let bytes = size_of(&place.folder) + self.found().iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        if bytes > bytes_max
            && place.folder.exists()
            && let Ok(Some(_lock)) = place.try_lock(FlockArg::LockExclusiveNonblock)
            && place.clear().is_ok()
        {
            tracing::info!("removed what installers of Python packages had downloaded");
        }
    }

    /// When each was used last, and how large it is.
    fn found(&self) -> Vec<(SystemTime, u64, String)> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let read = |entry: fs::DirEntry| {
            let made = entry.path().join(MADE);
            let used = fs::metadata(&made).ok()?.modified().ok()?;
            let bytes = fs::read_to_string(&made).ok()?.trim().parse().unwrap_or(0);
            Some((used, bytes, entry.file_name().into_string().ok()?))
        };
        entries.filter_map(read).collect()
    }
}

impl Place {
    /// Its name.
    pub(super) fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The environment, where it is whole.
    pub(super) fn open(&self, base: &Python) -> io::Result<Option<Environment>> {
        if !self.is_made() {
            return Ok(None);
        }
        let Some(lock) = self.try_lock(FlockArg::LockSharedNonblock)? else { return Ok(None) };
        // Somebody may have removed it before the lock was ours.
        if !self.is_made() {
            return Ok(None);
        }
        self.touch()?;
        Ok(Some(self.environment(lock, base)))
    }

    /// Waits until nobody else makes, removes or uses it.
    pub(super) async fn lock(&self) -> io::Result<Flock<File>> {
        fs::create_dir_all(self.folder.parent().unwrap_or(Path::new(".")))?;
        loop {
            if let Some(lock) = self.try_lock(FlockArg::LockExclusiveNonblock)? {
                return Ok(lock);
            }
            // Who uses it has found it whole.
            if self.is_made()
                && let Some(lock) = self.try_lock(FlockArg::LockSharedNonblock)?
            {
                return Ok(lock);
            }
            tokio::time::sleep(LOCK_LOOK).await;
        }
    }

    /// The environment, where another worker has made it by the time that the lock was had; else the lock to make it.
    pub(super) fn finished(&self, lock: Flock<File>, base: &Python) -> io::Result<Result<Environment, Flock<File>>> {
        if !self.is_made() {
            return Ok(Err(lock));
        }
        self.touch()?;
        lock.relock(FlockArg::LockShared)?;
        Ok(Ok(self.environment(lock, base)))
    }

    /// Says that it is whole, and lets others use it too.
    pub(super) fn finish(&self, lock: Flock<File>, base: &Python) -> io::Result<Environment> {
        let mut made = tempfile::NamedTempFile::new_in(&self.folder)?;
        io::Write::write_all(&mut made, size_of(&self.folder).to_string().as_bytes())?;
        made.persist(self.folder.join(MADE)).map_err(|error| error.error)?;
        lock.relock(FlockArg::LockShared)?;
        Ok(self.environment(lock, base))
    }

    /// Removes what was begun and not finished.
    pub(super) fn clear(&self) -> io::Result<()> {
        crate::tree::remove(&self.folder)
    }

    /// Removes it, unless somebody uses it; tells whether it did.
    fn remove(&self) -> io::Result<bool> {
        let Some(_lock) = self.try_lock(FlockArg::LockExclusiveNonblock)? else { return Ok(false) };
        fs::remove_file(self.folder.join(MADE))?;
        self.clear()?;
        Ok(true)
    }

    /// The environment, over the interpreter that it was made with.
    fn environment(&self, lock: Flock<File>, base: &Python) -> Environment {
        let path = self.folder.join("bin").join("python");
        let folders = base.folders.iter().cloned().chain([self.folder.clone()]).collect();
        Environment { python: Python { path, version: base.version.clone(), folders }, _lock: Some(lock) }
    }

    fn is_made(&self) -> bool {
        self.folder.join(MADE).exists()
    }

    /// Notes that it was used now.
    fn touch(&self) -> io::Result<()> {
        File::open(self.folder.join(MADE))?.set_modified(SystemTime::now())
    }

    fn try_lock(&self, how: FlockArg) -> io::Result<Option<Flock<File>>> {
        let file = File::options().create(true).truncate(false).write(true).open(&self.lock)?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }
}

/// Bytes of all files below a folder, as far as they can be seen.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn make(folder: &Folder, name: &str, bytes: usize) -> Environment {
        let place = folder.named(name);
        let lock = place.lock().await.unwrap();
        fs::create_dir_all(&place.folder).unwrap();
        fs::write(place.folder.join("content"), vec![0; bytes]).unwrap();
        place.finish(lock, &base()).unwrap()
    }

    fn age(folder: &Folder, name: &str, seconds: u64) {
        let made = File::open(folder.named(name).folder.join(MADE)).unwrap();
        made.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    fn base() -> Python {
        Python { path: "/usr/bin/python3".into(), version: "3.11.7".to_owned(), folders: Vec::new() }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn one_that_was_not_finished_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("environments"));
        let place = folder.named("a");
        let lock = place.lock().await.unwrap();
        fs::create_dir_all(place.folder.join("bin")).unwrap();
        assert!(place.open(&base()).unwrap().is_none());
        let lock = place.finished(lock, &base()).unwrap().unwrap_err();
        place.finish(lock, &base()).unwrap();
        assert!(
            place.open(&base()).unwrap().is_some_and(|environment| environment.python.path.ends_with("a/bin/python"))
        );
    }

    #[tokio::test]
    async fn those_longest_unused_are_removed_and_those_in_use_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().to_owned());
        for (name, seconds) in [("old", 300), ("older", 400), ("new", 0), ("ancient", 10 * 86_400)] {
            drop(make(&folder, name, 1_000).await);
            age(&folder, name, seconds);
        }
        let _used = make(&folder, "used", 1_000).await;
        age(&folder, "used", 20 * 86_400);
        folder.trim(3_000, DAY);
        let there = ["old", "older", "new", "ancient", "used"].map(|name| folder.named(name).folder.exists());
        assert_eq!(there, [true, false, true, false, true]);
    }

    #[tokio::test]
    async fn what_was_not_finished_is_removed_unless_somebody_is_at_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().to_owned());
        drop(make(&folder, "whole", 10).await);
        for name in ["left", "begun"] {
            fs::create_dir_all(folder.named(name).folder.join("lib")).unwrap();
        }
        let _at_it = folder.named("begun").lock().await.unwrap();
        folder.clear_unfinished();
        let there = ["whole", "left", "begun"].map(|name| folder.named(name).folder.exists());
        assert_eq!(there, [true, false, true]);
    }

    #[tokio::test]
    async fn downloads_go_when_there_is_too_much_and_nobody_installs() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().to_owned());
        drop(make(&folder, "whole", 1_000).await);
        let downloads = folder.named(DOWNLOADS).folder;
        fs::create_dir_all(&downloads).unwrap();
        fs::write(downloads.join("wheel"), vec![0; 1_000]).unwrap();
        folder.trim_downloads(3_000);
        assert!(downloads.exists());
        let held = folder.hold_downloads().unwrap().unwrap();
        folder.trim_downloads(1_500);
        assert!(downloads.exists());
        drop(held);
        folder.trim_downloads(1_500);
        assert!(!downloads.exists() && folder.named("whole").folder.exists());
    }
}
