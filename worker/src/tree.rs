//! Walks folders that a step has filled, however deep they are nested and whatever they are called.
//!
//! A step chooses what it leaves behind. Paths to it may be too long for the system, and a walk that calls itself for each
//! folder runs out of stack. So this one goes from folder to folder by descriptors, down by a name and up by `..`: it holds a
//! few, and the way back is a list.

use std::ffi::{CStr, CString};
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How a folder is opened: never one that a link leads to.
const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Levels down to which folders are removed where they are. The deeper one is, the longer the system takes for it: those below
/// are moved up first.
const LEVELS_MAX: usize = 32;
/// How often folders are looked at again that are not empty when all in them was removed: not all file systems show what was
/// there while something was being removed.
const LOOKS_MAX: u32 = 100;

/// Where a walk is.
#[derive(Debug)]
pub(crate) struct Walk {
    start: OwnedFd,
    here: Dir,
    /// This folder and those around it, the innermost last.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    name: CString,
    /// Device and number: what `..` must lead back to.
    identity: (u64, u64),
    /// Folders in it that were not entered yet.
    folders: Vec<CString>,
}

/// What is in a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: CString,
    /// Where the file system says it.
    kind: Option<Type>,
}

impl Walk {
    /// Begins in a folder.
    pub(crate) fn begin(folder: &Path) -> io::Result<Self> {
        let here = Dir::open(folder, FOLDER | OFlag::O_RDONLY, Mode::empty())?;
        let start = here.as_fd().try_clone_to_owned()?;
        let first = Level { name: CString::default(), identity: identity(&here)?, folders: Vec::new() };
        Ok(Self { start, here, levels: vec![first] })
    }

    /// What is in the folder that it is in.
    pub(crate) fn entries(&mut self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in self.here.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                entries.push(Entry { name: name.to_owned(), kind: entry.file_type() });
            }
        }
        Ok(entries)
    }

    /// What the system knows of an entry.
    pub(crate) fn stat(&self, name: &CStr) -> io::Result<FileStat> {
        Ok(fstatat(&self.here, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Notes a folder in this one that is to be entered.
    pub(crate) fn note(&mut self, folder: CString) {
        if let Some(level) = self.levels.last_mut() {
            level.folders.push(folder);
        }
    }

    /// The next folder that was noted here.
    pub(crate) fn next(&mut self) -> Option<CString> {
        self.levels.last_mut()?.folders.pop()
    }

    /// Goes down into a folder.
    pub(crate) fn enter(&mut self, name: CString) -> io::Result<()> {
        let here = Dir::openat(&self.here, name.as_c_str(), FOLDER | OFlag::O_RDONLY, Mode::empty())?;
        self.levels.push(Level { name, identity: identity(&here)?, folders: Vec::new() });
        self.here = here;
        Ok(())
    }

    /// Goes up; the name of the folder that it was in. `None` where it began there.
    ///
    /// # Errors
    /// Where the folder was moved or removed meanwhile, too: see [`Self::turn_back`].
    pub(crate) fn leave(&mut self) -> io::Result<Option<CString>> {
        let [.., outer, _] = self.levels.as_slice() else { return Ok(None) };
        let above = Dir::openat(&self.here, "..", FOLDER | OFlag::O_RDONLY, Mode::empty())?;
        if outer.identity != identity(&above)? {
            return Err(io::Error::other("a folder was moved while it was walked through"));
        }
        self.here = above;
        Ok(self.levels.pop().map(|level| level.name))
    }

    /// Goes up from a folder that `..` does not lead out of: to the innermost one of those around it that is where it was.
    /// Tells whether folders that were noted were given up with it.
    pub(crate) fn turn_back(&mut self) -> io::Result<bool> {
        let levels = std::mem::take(&mut self.levels);
        let innermost = levels.len() - 1;
        let mut misses = false;
        self.here = Dir::openat(&self.start, ".", FOLDER | OFlag::O_RDONLY, Mode::empty())?;
        for (number, level) in levels.into_iter().enumerate() {
            let is_on_the_way = number == self.levels.len() && number < innermost;
            if is_on_the_way && (number == 0 || self.follow(&level)) {
                self.levels.push(level);
            } else {
                misses |= !level.folders.is_empty();
            }
        }
        Ok(misses)
    }

    /// Goes down again to a folder where it was before; tells whether it is there.
    fn follow(&mut self, level: &Level) -> bool {
        let found = Dir::openat(&self.here, level.name.as_c_str(), FOLDER | OFlag::O_RDONLY, Mode::empty());
        match found {
            Ok(here) if identity(&here).is_ok_and(|identity| identity == level.identity) => {
                self.here = here;
                true
            }
            _ => false,
        }
    }
}

fn identity(folder: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Whether it is a folder.
pub(crate) fn is_folder(stat: &FileStat) -> bool {
    stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
}

/// Removes a folder with all that is in it, also where a step took away its own permissions. One that is not there is removed.
///
/// # Errors
/// When something cannot be removed; the rest stays, too.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match remove_content(folder).and_then(|()| std::fs::remove_dir(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn remove_content(folder: &Path) -> io::Result<()> {
    allow(folder)?;
    let mut walk = Walk::begin(folder)?;
    remove_files(&mut walk)?;
    let (mut looks, mut moved) = (0, 0);
    loop {
        if let Some(name) = walk.next() {
            if prepare(&walk, &name)? {
                go_on(&mut walk, name, &mut moved)?;
            }
        } else if let Some(name) = walk.leave()? {
            match gone(unlinkat(&walk.here, name.as_c_str(), UnlinkatFlags::RemoveDir)) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && looks < LOOKS_MAX => {
                    looks += 1;
                    walk.note(name);
                }
                result => result?,
            }
        } else {
            return Ok(());
        }
    }
}

/// Enters a folder and removes its files, or moves it up.
fn go_on(walk: &mut Walk, name: CString, moved: &mut u64) -> io::Result<()> {
    if walk.levels.len() < LEVELS_MAX {
        walk.enter(name)?;
        return remove_files(walk);
    }
    loop {
        let new = CString::new(format!("moved-{moved}"))?;
        *moved += 1;
        match renameat(&walk.here, name.as_c_str(), &walk.start, new.as_c_str()) {
            // The step has used this name.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                walk.levels[0].folders.push(new);
                return Ok(());
            }
        }
    }
}

/// Makes a folder one that can be entered, moved and emptied; tells whether it is there.
fn prepare(walk: &Walk, name: &CStr) -> io::Result<bool> {
    let path = match openat(&walk.here, name, FOLDER | OFlag::O_PATH, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(false),
        path => path?,
    };
    // The way to a descriptor that leads to the folder itself, whatever its name means by now.
    allow(Path::new(&format!("/proc/self/fd/{}", path.as_raw_fd())))?;
    Ok(true)
}

/// Makes a folder one whose owner may do with it what is needed.
fn allow(folder: &Path) -> io::Result<()> {
    let permissions = std::fs::metadata(folder)?.permissions();
    if permissions.mode() & 0o700 == 0o700 {
        return Ok(());
    }
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Removes all but the folders in the one that it is in, and notes those.
fn remove_files(walk: &mut Walk) -> io::Result<()> {
    for entry in walk.entries()? {
        let is_folder = match entry.kind {
            Some(kind) => kind == Type::Directory,
            None => is_folder(&walk.stat(&entry.name)?),
        };
        if is_folder {
            walk.note(entry.name);
        } else {
            gone(unlinkat(&walk.here, entry.name.as_c_str(), UnlinkatFlags::NoRemoveDir))?;
        }
    }
    Ok(())
}

fn gone(removed: nix::Result<()>) -> io::Result<()> {
    match removed {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Folders in each other. The innermost one.
    pub(crate) fn nest(folder: &Path, levels: usize) -> Dir {
        let (inner, outer) = (folder.join("d"), folder.join("outer"));
        std::fs::create_dir(&inner).unwrap();
        let innermost = Dir::open(&inner, FOLDER, Mode::empty()).unwrap();
        // From the inside, for what is deep takes long.
        for _ in 1..levels {
            std::fs::create_dir(&outer).unwrap();
            std::fs::rename(&inner, outer.join("d")).unwrap();
            std::fs::rename(&outer, &inner).unwrap();
        }
        innermost
    }

    #[test]
    fn folders_nested_deeper_than_any_path_or_stack_are_removed() {
        // In memory where that is possible: a disk takes its time for so many folders.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let folder = root.path().join("deep");
        std::fs::create_dir(&folder).unwrap();
        drop(nest(&folder, 20_000));
        std::fs::create_dir_all(folder.join("moved-3/full")).unwrap();
        std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || remove(&folder))
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_step_took_its_permissions_away_from_is_removed_and_what_links_lead_to_stays() {
        let root = tempfile::tempdir().unwrap();
        let (folder, outside) = (root.path().join("folder"), root.path().join("outside"));
        for folder in [folder.join("closed/inner"), folder.join("blind"), outside.clone()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(outside.join("kept"), "").unwrap();
        std::fs::write(folder.join("closed/inner/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        for (name, mode) in [("closed/inner", 0o500), ("closed", 0o000), ("blind", 0o300), ("", 0o400)] {
            std::fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
        }
        remove(&folder).unwrap();
        assert!(!folder.exists() && outside.join("kept").exists());
        remove(&folder).unwrap();
    }
}
