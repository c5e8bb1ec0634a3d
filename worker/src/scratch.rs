//! The private folder of one attempt: filled from the cache, gone when the attempt is over.
//!
//! ```text
//! scratch/<session>.lock          held for as long as the worker lives
//! scratch/<session>/<n>           arguments and values that are too large for a line, each a file
//! scratch/<session>/values        tables that are at hand; steps get them under names of their own
//! scratch/<session>/<n>/files     current directory of the step: the bundle's files; made when it is filled
//! scratch/<session>/<n>/tmp       the step's HOME and TMPDIR; made with the files
//! ```
//!
//! Making and removing a folder costs a file system more than anything else an attempt asks of it, so there are few, and one that
//! an attempt has left exactly as it was serves the next one.

mod idle;
mod print;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use protocol::{Digest, SessionId};
use sandbox::Identity;

use crate::enclosure;
use crate::tree::remove;
use crate::warm::{Place, WarmId};
use idle::Idle;
pub(crate) use idle::Keep;
use print::Print;

/// The step's current directory.
const FILES: &str = "files";
/// The step's home, and its place for temporary files.
const TMP: &str = "tmp";
/// Beginnings of the names of arguments and values.
const HANDED_OVER: [&str; 2] = ["input", "value"];

/// Up to this many files are copied where they are needed; for more, a thread that may block is worth its price.
const INLINE_FILES_MAX: usize = 16;

/// The scratch folders of one worker.
#[derive(Debug)]
pub(crate) struct Scratches {
    folder: PathBuf,
    seen: Option<PathBuf>,
    count: AtomicU64,
    idle: Idle,
    /// Whether the file system notes all changes: only then is it known that nobody has changed a folder.
    tells_all: bool,
    lock_path: PathBuf,
    _lock: Flock<File>,
}

impl Scratches {
    /// A place for this session's folders under `root`; removes what workers that are gone left there. Where steps have a
    /// root of their own, they see each of them as `seen`. `keep` says how many that are untouched are kept.
    pub(crate) fn open(root: &Path, session: SessionId, seen: Option<PathBuf>, keep: Keep) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        sweep(root)?;
        let lock_path = root.join(format!("{session}.lock"));
        let lock =
            Flock::lock(File::create(&lock_path)?, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        let folder = root.join(session.to_string());
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o711))?;
        let tells_all = print::tells_all(&folder)?;
        if !tells_all {
            tracing::info!(
                "the file system of {} does not note all changes, as one in memory does not: each attempt has a new folder",
                folder.display()
            );
        }
        Ok(Self { folder, seen, count: AtomicU64::new(0), idle: Idle::new(keep), tells_all, lock_path, _lock: lock })
    }

    /// Whether folders can serve again.
    pub(crate) fn can_serve_again(&self) -> bool {
        self.tells_all
    }

    /// A new scratch folder, without files yet.
    pub(crate) fn make(&self) -> io::Result<Scratch> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let root = self.folder.join(number.to_string());
        fs::create_dir(&root)?;
        let seen = self.seen.clone().unwrap_or_else(|| root.clone());
        Ok(Scratch { number, root, seen, compiled: 0, print: None, place: None })
    }

    /// One that holds the files of this bundle, as if it had just been filled: best of all one where a fork of `interpreter` begins.
    pub(crate) fn take_filled(&self, bundle: Digest, interpreter: Option<WarmId>) -> Option<Scratch> {
        self.idle.take(bundle, interpreter)
    }

    /// Takes back one that holds the files of this bundle, after all that ran in it has ended: for the next attempt where it is
    /// untouched, else to be removed.
    pub(crate) fn give_back(&self, bundle: Digest, scratch: Scratch) {
        if scratch.is_untouched() {
            self.idle.put(bundle, scratch);
        }
    }

    /// The folder that all of them are in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratches {
    fn drop(&mut self) {
        self.idle.clear();
        // Of what could not be removed, another worker sees by the lock that nobody is there.
        if remove(&self.folder).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// What of a kept scratch folder an attempt can use, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Other,
    Bare,
    Cell,
    Process,
}

/// One scratch folder; dropping it removes it.
#[derive(Debug)]
pub(crate) struct Scratch {
    number: u64,
    root: PathBuf,
    /// Where its step sees it.
    seen: PathBuf,
    /// For how many interpreters there is bytecode in it.
    compiled: usize,
    /// What it looked like when it had been filled, where it may serve again.
    print: Option<Print>,
    /// Where the next attempt in it can begin.
    place: Option<Place>,
}

impl Scratch {
    /// Notes for how many interpreters it was filled with bytecode.
    pub(crate) fn note_compiled(&mut self, sets: usize) {
        self.compiled = sets;
    }

    /// For how many interpreters there is bytecode in it.
    pub(crate) fn compiled(&self) -> usize {
        self.compiled
    }

    /// Where an attempt in it can begin.
    pub(crate) fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// Keeps a place for the next attempt in it.
    pub(crate) fn keep_place(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// How well an attempt that is a fork of `interpreter` begins in it.
    fn fits(&self, interpreter: Option<WarmId>) -> Fit {
        match &self.place {
            None => Fit::Bare,
            // What another interpreter has in it must go first.
            Some(place) if interpreter.is_some_and(|wanted| wanted != place.of()) => Fit::Other,
            Some(place) if place.waited().is_some() => Fit::Process,
            Some(_) => Fit::Cell,
        }
    }

    /// Whether a process waits in it for the next attempt.
    fn has_process(&self) -> bool {
        self.has_waited(Duration::ZERO)
    }

    /// Whether one has waited in it for this long.
    fn has_waited(&self, time: Duration) -> bool {
        self.place.as_ref().and_then(Place::waited).is_some_and(|waited| waited >= time)
    }

    /// Remembers what it looks like now, so that it can serve again.
    pub(crate) async fn remember(&mut self) -> io::Result<()> {
        self.print = Print::of(&self.root, &[self.files(), self.tmp()])?;
        match &self.print {
            Some(print) => print.settle().await,
            None => Ok(()),
        }
    }

    /// Whether it is as it was filled, once what its attempt was given and gave back has been removed.
    fn is_untouched(&self) -> bool {
        self.print.as_ref().is_some_and(Print::holds) && self.remove_handed_over().unwrap_or(false)
    }

    /// Removes arguments and values; tells whether the folders are all that is left.
    fn remove_handed_over(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == FILES || name == TMP {
                continue;
            }
            let is_ours = HANDED_OVER.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
            if !is_ours || !entry.file_type()?.is_file() {
                return Ok(false);
            }
            fs::remove_file(entry.path())?;
        }
        // Nobody can leave a note on the folder itself.
        Ok(rustix::fs::listxattr(&self.root, &mut [0_u8; 64])? == 0)
    }

    /// Its name in the folder of all.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where its step sees what is at `path` in it.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |rest| self.seen.join(rest))
    }

    /// Gives arguments to the user that its step runs as; all else is that user's already. What has further names is only lent.
    pub(crate) fn hand_over_arguments(&self, identity: Identity) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && metadata.nlink() == 1 {
                enclosure::give(&entry.path(), identity)?;
            }
        }
        Ok(())
    }

    /// Gives it, with all that is in it, to the user that its step runs as.
    pub(crate) fn hand_over(&self, identity: Identity) -> io::Result<()> {
        enclosure::hand_over(&self.root, identity)
    }

    /// Keeps all others out than who it was given to.
    pub(crate) fn close(&self) -> io::Result<()> {
        fs::set_permissions(&self.root, Permissions::from_mode(0o700))
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.root.join(FILES)
    }

    /// Where arguments go, under names that begin with `input`.
    pub(crate) fn inputs(&self) -> PathBuf {
        self.root.clone()
    }

    /// Where the step's process puts what it returns, under names that begin with `value`.
    pub(crate) fn values(&self) -> PathBuf {
        self.root.clone()
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }

    /// Takes the files back, so that it can be filled again.
    pub(crate) fn clear_files(&self) -> io::Result<()> {
        remove(&self.files())?;
        remove(&self.tmp())
    }

    /// Copies files to their paths (with `/` between folders) in the files folder. Copies, not links: a step may write
    /// to its files, and what it writes must not reach the cache.
    pub(crate) async fn fill(&self, files: Vec<(String, PathBuf)>) -> io::Result<()> {
        let folder = self.files();
        fs::create_dir(&folder)?;
        fs::create_dir(self.tmp())?;
        if files.len() <= INLINE_FILES_MAX {
            return copy_all(&folder, &files);
        }
        tokio::task::spawn_blocking(move || copy_all(&folder, &files)).await.map_err(io::Error::other)?
    }
}

fn copy_all(folder: &Path, files: &[(String, PathBuf)]) -> io::Result<()> {
    files.iter().try_for_each(|(path, source)| copy(&folder.join(path), source))
}

fn copy(target: &Path, source: &Path) -> io::Result<()> {
    let mut from = File::open(source)?;
    let mut to = match File::create_new(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(target.parent().unwrap_or(target))?;
            File::create_new(target)?
        }
        created => created?,
    };
    io::copy(&mut from, &mut to).map(drop)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if remove_empty(self).is_ok() {
            return;
        }
        let root = std::mem::take(&mut self.root);
        let work = move || {
            if let Err(error) = remove(&root) {
                tracing::warn!("scratch folder {} cannot be removed: {error}", root.display());
            }
        };
        // Nobody waits for it: the outcome is on its way meanwhile.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

/// Removes a scratch folder in which nothing was written, as most are: that is too little work for another thread.
fn remove_empty(scratch: &Scratch) -> io::Result<()> {
    for folder in [scratch.tmp(), scratch.files()] {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(&scratch.root)
}

/// Removes folders whose worker no longer holds its lock.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(file) = File::open(&lock_path) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = remove(&lock_path.with_extension(""));
            let _ = fs::remove_file(&lock_path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { folders_max: 4, processes_max: 1 };

    #[test]
    fn what_a_dead_worker_left_is_removed_and_what_a_living_one_has_stays() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratches::open(root.path(), SessionId([1; 8]), None, KEEP).unwrap();
        let scratch = living.make().unwrap();
        let dead = root.path().join(SessionId([2; 8]).to_string());
        fs::create_dir_all(dead.join("0/files")).unwrap();
        fs::write(dead.with_extension("lock"), "").unwrap();
        let _third = Scratches::open(root.path(), SessionId([3; 8]), None, KEEP).unwrap();
        assert!(!dead.exists() && scratch.values().exists());
    }

    #[tokio::test]
    async fn a_scratch_folder_goes_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let scratches = Scratches::open(root.path(), SessionId([1; 8]), None, KEEP).unwrap();
        let (unused, used) = (scratches.make().unwrap(), scratches.make().unwrap());
        used.fill(Vec::new()).await.unwrap();
        fs::write(used.files().join("written"), "by the step").unwrap();
        let (unused_path, used_path) = (unused.root.clone(), used.root.clone());
        drop((unused, used));
        assert!(!unused_path.exists());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while used_path.exists() && std::time::Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert!(!used_path.exists());
    }

    #[tokio::test]
    async fn a_step_that_writes_to_its_files_does_not_reach_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let cached = root.path().join("cached");
        fs::write(&cached, "original").unwrap();
        let scratches = Scratches::open(&root.path().join("scratch"), SessionId([1; 8]), None, KEEP).unwrap();
        for count in [1, INLINE_FILES_MAX + 1] {
            let scratch = scratches.make().unwrap();
            let files = (0..count).map(|number| (format!("folder/{number}.txt"), cached.clone()));
            scratch.fill(files.collect()).await.unwrap();
            let copy = scratch.files().join(format!("folder/{}.txt", count - 1));
            assert_eq!(fs::read_to_string(&copy).unwrap(), "original");
            fs::write(copy, "changed").unwrap();
            assert_eq!(fs::read_to_string(&cached).unwrap(), "original");
        }
    }

    #[tokio::test]
    async fn a_folder_in_which_another_interpreter_has_its_place_is_left_to_it_while_there_may_be_more() {
        let root = tempfile::tempdir().unwrap();
        let keep = Keep { folders_max: 3, processes_max: 0 };
        let scratches = Scratches::open(root.path(), SessionId([1; 8]), None, keep).unwrap();
        let ((first, first_id), (second, second_id)) = (Place::of_nobody(1), Place::of_nobody(2));
        let put = |place: Option<Place>| {
            let mut scratch = scratches.make().unwrap();
            scratch.place = place;
            let number = scratch.number;
            scratches.idle.put(Digest([0; 32]), scratch);
            number
        };
        let take = |id| scratches.take_filled(Digest([0; 32]), id).map(|scratch| scratch.number);
        let of_first = put(Some(first));
        assert_eq!(take(Some(second_id)), None);
        let of_second = put(Some(second));
        assert_eq!(take(Some(first_id)), Some(of_first));
        let empty = put(None);
        assert_eq!(take(Some(first_id)), Some(empty));
        // As many as there may be: one of them gives way.
        put(Some(Place::of_nobody(3).0));
        put(Some(Place::of_nobody(3).0));
        assert_eq!(take(Some(second_id)), Some(of_second));
        put(Some(Place::of_nobody(3).0));
        assert!(take(Some(first_id)).is_some());
    }
}
