//! Which files of a script's folder belong to its bundle.
//!
//! All but: what `.gitignore` and `.bueignore` name (also where there is no git), hidden files, virtual environments,
//! Python's and npm's caches, the data folder, and symbolic links that lead out of the folder.

use std::collections::BTreeMap;
use std::path::Path;

use ignore::{DirEntry, Walk, WalkBuilder};
use protocol::bundle::PATH_BYTES_MAX;

use super::BundleError;
use crate::data_dir::DataDir;
use crate::output::grouped;

/// Folders of these names hold what machines make.
const CACHES: [&str; 2] = ["__pycache__", "node_modules"];
/// Most sentences about what was left out.
const NOTES_MAX: usize = 10;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Sizes by path.
    pub files: BTreeMap<String, u64>,
    /// What was left out that somebody may miss.
    pub notes: Vec<String>,
}

/// Looks through `root`, which is canonical.
pub fn walk(root: &Path, data_dir: &DataDir, entries_max: u64) -> Result<Found, BundleError> {
    let mut found = Found { files: BTreeMap::new(), notes: Vec::new() };
    for (count, entry) in walker(root, data_dir).enumerate() {
        if count as u64 > entries_max {
            return Err(BundleError::TooLarge {
                message: format!("{} holds more than {} files and folders", root.display(), grouped(entries_max)),
                setting: "BUE_BUNDLE_ENTRIES_MAX",
            });
        }
        let entry =
            entry.map_err(|error| BundleError::Unreadable { path: place(&error, root), reason: reason(&error) })?;
        if let Some(error) = entry.error() {
            found.note(format!("part of an ignore file is not understood: {error}"));
        }
        found.look_at(&entry, root)?;
    }
    Ok(found)
}

fn walker(root: &Path, data_dir: &DataDir) -> Walk {
    let data_dir = data_dir.path().canonicalize().ok();
    WalkBuilder::new(root)
        .hidden(true)
        .ignore(false)
        .git_ignore(true)
        .git_exclude(true)
        .git_global(false)
        .require_git(false)
        // Above the folder, ignore files count as far as its repository goes, as they do for git.
        .parents(in_repository(root))
        .add_custom_ignore_filename(".bueignore")
        .follow_links(false)
        .filter_entry(move |entry| entry.depth() == 0 || !is_made_by_machines(entry, data_dir.as_deref()))
        .build()
}

fn in_repository(folder: &Path) -> bool {
    folder.ancestors().any(|folder| folder.join(".git").exists())
}

fn is_made_by_machines(entry: &DirEntry, data_dir: Option<&Path>) -> bool {
    if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
        return false;
    }
    CACHES.iter().any(|cache| entry.file_name() == *cache)
        || entry.path().join("pyvenv.cfg").exists()
        || entry.path().join(bucket::FOLDER_MARK).exists()
        || data_dir == Some(entry.path())
}

impl Found {
    fn look_at(&mut self, entry: &DirEntry, root: &Path) -> Result<(), BundleError> {
        let Some(kind) = entry.file_type().filter(|kind| !kind.is_dir()) else { return Ok(()) };
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let name = match relative.to_str() {
            Some(name) if !name.contains('\\') && name.len() <= PATH_BYTES_MAX => name,
            _ => {
                self.note(format!("left out `{}`: its name cannot travel", relative.display()));
                return Ok(());
            }
        };
        if kind.is_symlink() {
            match inside(entry.path(), root) {
                Link::File => {}
                Link::Other(why) => {
                    self.note(format!("left out `{name}`: {why}"));
                    return Ok(());
                }
            }
        } else if !kind.is_file() {
            self.note(format!("left out `{name}`: it is no ordinary file"));
            return Ok(());
        }
        let metadata = std::fs::metadata(entry.path())
            .map_err(|error| BundleError::Unreadable { path: entry.path().to_owned(), reason: error.to_string() })?;
        self.files.insert(name.to_owned(), metadata.len());
        Ok(())
    }

    fn note(&mut self, note: String) {
        match self.notes.len() {
            count if count < NOTES_MAX => self.notes.push(note),
            NOTES_MAX => self.notes.push("left out more for such reasons".to_owned()),
            _ => {}
        }
    }
}

/// What a symbolic link leads to.
enum Link {
    /// A file of the folder: its content travels under the link's name.
    File,
    /// Something that stays here.
    Other(&'static str),
}

fn inside(link: &Path, root: &Path) -> Link {
    match link.canonicalize() {
        Err(_) => Link::Other("it is a link that leads nowhere"),
        Ok(target) if !target.starts_with(root) => Link::Other("it is a link that leads out of the script's folder"),
        Ok(target) if is_hidden(&target, root) => Link::Other("it is a link to something hidden"),
        Ok(target) if target.is_file() => Link::File,
        Ok(_) => Link::Other("it is a link to something that is no file"),
    }
}

fn is_hidden(path: &Path, root: &Path) -> bool {
    let inner = path.strip_prefix(root).unwrap_or(path);
    inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."))
}

/// The path an error is about.
fn place(error: &ignore::Error, root: &Path) -> std::path::PathBuf {
    match error {
        ignore::Error::WithPath { path, .. } => path.clone(),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => place(err, root),
        _ => root.to_owned(),
    }
}

fn reason(error: &ignore::Error) -> String {
    error.io_error().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn found(folder: &Path) -> Found {
        walk(&folder.canonicalize().unwrap(), &DataDir::new(folder.join("state")), 1_000).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        found(folder).files.into_keys().collect()
    }

    #[test]
    fn what_machines_make_and_what_is_hidden_stays_here() {
        let folder = folder(&[
            ("x.bue", ""),
            ("lib/a.py", ""),
            (".env", "SECRET=1"),
            (".git/config", ""),
            ("__pycache__/a.pyc", ""),
            ("lib/node_modules/b.js", ""),
            ("venv/pyvenv.cfg", ""),
            ("venv/lib/c.py", ""),
            ("state/hub/token", ""),
        ]);
        assert_eq!(names(folder.path()), ["lib/a.py", "x.bue"]);
    }

    #[test]
    fn ignore_files_hold_without_git() {
        let folder = folder(&[
            ("x.bue", ""),
            ("a.csv", ""),
            ("keep.csv", ""),
            ("lib/b.csv", ""),
            ("lib/c.py", ""),
            ("data/d", ""),
            (".gitignore", "*.csv\n!keep.csv\n"),
            (".bueignore", "/data\n"),
            ("lib/.gitignore", "c.py\n"),
        ]);
        assert_eq!(names(folder.path()), ["keep.csv", "x.bue"]);
    }

    #[test]
    fn state_of_services_does_not_travel_whichever_data_folder_is_theirs() {
        let folder = folder(&[("x.bue", ""), ("fleet/notes.txt", "")]);
        let fleet = DataDir::new(folder.path().join("fleet"));
        let hub = fleet.create(crate::data_dir::Service::Hub).unwrap();
        fs::write(hub.join("token"), "secret").unwrap();
        assert_eq!(names(folder.path()), ["fleet/notes.txt", "x.bue"]);
    }

    #[test]
    fn a_folder_that_is_a_bucket_does_not_travel() {
        let folder = folder(&[("x.bue", ""), ("values/.bue-bucket", "id"), ("values/runs/r1/j1/1", "value")]);
        assert_eq!(names(folder.path()), ["x.bue"]);
    }

    #[test]
    fn ignore_files_above_hold_within_a_repository_only() {
        let folder = folder(&[("repo/p/x.bue", ""), ("repo/p/a.csv", ""), ("repo/.gitignore", "*.csv\n")]);
        assert_eq!(names(&folder.path().join("repo/p")), ["a.csv", "x.bue"]);
        fs::create_dir(folder.path().join("repo/.git")).unwrap();
        assert_eq!(names(&folder.path().join("repo/p")), ["x.bue"]);
    }

    #[test]
    fn links_out_of_the_folder_are_left_out_with_a_word() {
        let folder = folder(&[("p/x.bue", ""), ("p/a.py", "12345"), ("secret", "")]);
        let root = folder.path().join("p");
        symlink("a.py", root.join("inner.py")).unwrap();
        symlink("../secret", root.join("outer")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        fs::write(root.join(".env"), "SECRET=1").unwrap();
        symlink(".env", root.join("visible")).unwrap();
        let found = found(&root);
        assert_eq!(found.files.keys().collect::<Vec<_>>(), ["a.py", "inner.py", "x.bue"]);
        assert_eq!(found.files["inner.py"], 5);
        assert_eq!(found.notes.len(), 4, "{:?}", found.notes);
        assert!(found.notes.iter().any(|note| note.contains("`outer`: it is a link that leads out")));
    }

    #[test]
    fn a_folder_without_end_is_an_error_and_no_long_wait() {
        let folder = folder(&[("x.bue", ""), ("a", ""), ("b", "")]);
        let error = walk(folder.path(), &DataDir::new("/nonexistent".into()), 2).unwrap_err().to_string();
        assert!(error.contains("more than 2 files and folders"), "{error}");
    }
}
