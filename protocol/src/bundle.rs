//! The files that travel with a script, each named by its content, so that only changed ones travel.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// All files of a bundle, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Sorted by path; no path twice.
    pub files: Vec<FileEntry>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path from the bundle's root, with `/` between folders; never absolute, never with `.` or `..`.
    pub path: String,
    /// Digest of its content.
    pub digest: Digest,
    /// Size of its content.
    pub bytes: u64,
}

impl Manifest {
    /// A manifest of these files, sorted.
    #[must_use]
    pub fn new(mut files: Vec<FileEntry>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The name of the bundle: a digest over paths and contents.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut text = String::new();
        for file in &self.files {
            text.push_str(&format!("{} {} {}\0", file.digest, file.path.len(), file.path));
        }
        Digest::of(text.as_bytes())
    }

    /// The file at `path`.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&FileEntry> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|place| &self.files[place])
    }

    /// Size of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// What makes it unfit to be unpacked into a folder, or `None`.
    ///
    /// Paths come from other machines, so a hub and a worker check them before they use them.
    #[must_use]
    pub fn defect(&self) -> Option<String> {
        for file in &self.files {
            if !is_plain_path(&file.path) {
                return Some(format!("`{}` is not a path inside the bundle", file.path.escape_debug()));
            }
        }
        for pair in self.files.windows(2) {
            if pair[0].path >= pair[1].path {
                return Some(format!("`{}` is out of order or there twice", pair[1].path));
            }
        }
        None
    }
}

/// Longest path of a file in a bundle, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;

fn is_plain_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        Manifest {
            files: paths
                .iter()
                .map(|path| FileEntry { path: (*path).to_owned(), digest: Digest::of(path.as_bytes()), bytes: 1 })
                .collect(),
        }
    }

    #[test]
    fn a_path_that_leaves_the_bundle_is_a_defect() {
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\\b", "a\0b"] {
            assert!(manifest(&[path]).defect().is_some(), "{path:?}");
        }
        assert_eq!(manifest(&["a b/ü.py", "x.bue"]).defect(), None);
        assert!(manifest(&["x", "x"]).defect().is_some());
    }

    #[test]
    fn the_digest_names_paths_and_contents() {
        assert_eq!(manifest(&["a", "b"]).digest(), manifest(&["a", "b"]).digest());
        assert_ne!(manifest(&["a", "b"]).digest(), manifest(&["a"]).digest());
    }
}
