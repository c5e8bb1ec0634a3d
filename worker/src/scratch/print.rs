//! What a folder looked like when it was filled: whoever changes anything in it changes that.
//!
//! The kernel notes for each file and folder when its content, names, owner, rights or attributes last changed, and no
//! program can set that time. So a folder whose times are what they were holds what it held.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Files and folders that are looked at; where there are more, copying them anew is as good.
const ENTRIES_MAX: usize = 512;
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
    fn a_folder_with_too_much_in_it_has_none() {
        let folder = tempfile::tempdir().unwrap();
        (0..ENTRIES_MAX).for_each(|number| fs::write(folder.path().join(number.to_string()), "").unwrap());
        assert!(Print::of(folder.path(), &[folder.path().to_owned()]).unwrap().is_none());
    }
}
