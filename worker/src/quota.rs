//! The disk space of a running attempt, looked at now and then: what one file may hold, the kernel bounds at once; what
//! all of them hold, and how many there are, only counting tells.
//!
//! The step makes and moves files while they are counted. Where it keeps them from being counted, that is too much.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::tree::{self, Walk};

/// Time before the first look and between two: most attempts are over by then and cost nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause for each unit of time that a look took: many files are not looked at all the time.
const REST: u32 = 10;
/// Looks one after another that may miss something because folders are moved meanwhile.
const LOOKS_IN_VAIN_MAX: u32 = 8;
/// Folders moved or removed while they are looked into from which on a look is given up.
const TURNS_MAX: u32 = 1_000;
/// What the system counts disk space in, in bytes.
const BLOCK_BYTES: u64 = 512;

/// What an attempt may fill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) bytes_max: u64,
    pub(crate) files_max: u64,
}

/// What it has too much of, in a few words.
#[derive(Debug, Clone)]
pub(crate) struct Excess(pub(crate) String);

/// What a look came to.
#[derive(Debug)]
enum Look {
    Enough,
    Excess(Excess),
    /// Something was moved, and missed.
    InVain,
}

impl Quota {
    /// Waits until there is too much in `folder`, perhaps for ever.
    pub(crate) async fn exceeded(self, folder: &Path) -> Excess {
        let mut pause = PAUSE;
        let mut in_vain = 0;
        loop {
            tokio::time::sleep(pause).await;
            let folder = folder.to_owned();
            let begun = std::time::Instant::now();
            match tokio::task::spawn_blocking(move || self.look(folder)).await {
                Ok(Look::Excess(excess)) => return excess,
                Ok(Look::InVain) => in_vain += 1,
                Ok(Look::Enough) | Err(_) => in_vain = 0,
            }
            if in_vain > LOOKS_IN_VAIN_MAX {
                return Excess("folders that are moved all the time, so that they cannot be counted,".to_owned());
            }
            pause = PAUSE.max(begun.elapsed() * REST);
        }
    }

    /// Counts what there is until it is certainly too much.
    fn look(self, folder: PathBuf) -> Look {
        let mut count = Count { quota: self, bytes: 0, files: 0, turns: 0, misses: false };
        match Walk::begin(&folder).and_then(|walk| count.all(walk)) {
            Ok(Some(excess)) => Look::Excess(excess),
            Ok(None) if count.misses => Look::InVain,
            // It is gone, or this worker is short of something: that is no fault of the step.
            Ok(None) | Err(_) => Look::Enough,
        }
    }
}

/// What was counted so far.
struct Count {
    quota: Quota,
    bytes: u64,
    files: u64,
    /// How often a folder was moved or removed while it was looked into.
    turns: u32,
    /// Whether something was not counted for that.
    misses: bool,
}

impl Count {
    fn all(&mut self, mut walk: Walk) -> io::Result<Option<Excess>> {
        loop {
            if let Some(excess) = self.entries(&mut walk)? {
                return Ok(Some(excess));
            }
            match self.advance(&mut walk)? {
                Next::Folder => {}
                Next::Closed => return Ok(Some(closed())),
                Next::None => return Ok(None),
            }
        }
    }

    /// Goes to the next folder that was not looked into.
    fn advance(&mut self, walk: &mut Walk) -> io::Result<Next> {
        loop {
            let entered = match walk.next() {
                Some(folder) => walk.enter(folder).map(|()| Next::Folder),
                None => match walk.leave() {
                    Ok(Some(_)) => continue,
                    Ok(None) => return Ok(Next::None),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
                    Err(_) => {
                        self.turns += 1;
                        self.misses |= walk.turn_back()?;
                        if self.turns > TURNS_MAX {
                            self.misses = true;
                            return Ok(Next::None);
                        }
                        continue;
                    }
                },
            };
            match entered {
                Ok(next) => return Ok(next),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
                    io::ErrorKind::PermissionDenied => return Ok(Next::Closed),
                    _ => return Err(error),
                },
            }
        }
    }

    /// Counts what is in one folder, and notes the folders in it.
    fn entries(&mut self, walk: &mut Walk) -> io::Result<Option<Excess>> {
        let entries = match walk.entries() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let stat = match walk.stat(&entry.name) {
                Ok(stat) => stat,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Some(closed())),
                // It is gone, and takes no place.
                Err(_) => continue,
            };
            self.files += 1;
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
            if self.files > self.quota.files_max {
                return Ok(Some(Excess(format!("more than {} files and folders", self.quota.files_max))));
            }
            if self.bytes > self.quota.bytes_max {
                return Ok(Some(Excess(format!("more than {} bytes", self.quota.bytes_max))));
            }
            if tree::is_folder(&stat) {
                walk.note(entry.name);
            }
        }
        Ok(None)
    }
}

fn closed() -> Excess {
    Excess("a folder that cannot be looked into".to_owned())
}

enum Next {
    Folder,
    /// There is one that the worker may not look into.
    Closed,
    None,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn excess(folder: &Path, bytes_max: u64, files_max: u64) -> Option<String> {
        match (Quota { bytes_max, files_max }).look(folder.to_owned()) {
            Look::Excess(excess) => Some(excess.0),
            Look::Enough => None,
            Look::InVain => panic!("nothing was moved"),
        }
    }

    #[test]
    fn bytes_and_files_of_all_folders_count() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["deep", "beside/deeper", "empty"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("deep/file"), vec![1; 100_000]).unwrap();
        assert_eq!(excess(folder.path(), 1 << 20, 5), None);
        assert_eq!(excess(folder.path(), 90_000, 5).unwrap(), "more than 90000 bytes");
        assert_eq!(excess(folder.path(), 1 << 20, 4).unwrap(), "more than 4 files and folders");
    }

    #[test]
    fn what_lies_deeper_than_any_path_counts() {
        let folder = tempfile::tempdir().unwrap();
        let innermost = tree::tests::nest(folder.path(), 3_000);
        let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY;
        let file = nix::fcntl::openat(&innermost, "file", flags, nix::sys::stat::Mode::S_IRWXU).unwrap();
        io::Write::write_all(&mut fs::File::from(file), &[1; 100_000]).unwrap();
        assert_eq!(excess(folder.path(), 1 << 40, 3_001), None);
        assert_eq!(excess(folder.path(), 1 << 40, 3_000).unwrap(), "more than 3000 files and folders");
        tree::remove(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_the_worker_may_not_look_into_is_too_much() {
        // Root may look into all.
        if nix::unistd::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o300)).unwrap();
        assert_eq!(excess(folder.path(), 1 << 20, 10).unwrap(), "a folder that cannot be looked into");
    }
}
