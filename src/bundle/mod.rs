//! The bundle of a script: the script and the files of its folder, as they travel to the hub.
//!
//! - [`walk`]: which files belong to it.
//! - [`limits`]: what to say when there are too many.
//!
//! Here they are read and named by their content.

mod limits;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::{Diagnostic, DiagnosticKind, Digest, FileEntry, Manifest, Plan, Source};

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::settings::limits::BundleLimits;

/// The files that belong to a script, by name and size.
#[derive(Debug)]
pub struct Listing {
    /// The folder they are in: the script's.
    pub root: PathBuf,
    /// Path of the script in it.
    pub script: String,
    /// Sizes in bytes by path, with `/` between folders.
    pub files: BTreeMap<String, u64>,
    /// What was left out that somebody may miss, one sentence each.
    pub notes: Vec<String>,
}

/// The files of a script, read and named by their content.
#[derive(Debug)]
pub struct Bundle {
    /// What was found.
    pub listing: Listing,
    /// The same as it travels.
    pub manifest: Manifest,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The script cannot be read.
    #[error("cannot read the script {}: {source}", path.display())]
    Script {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The script's path is no path of a file in a bundle.
    #[error("{} cannot be a script: {reason}", path.display())]
    NoScript {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// More than a limit allows.
    #[error("{message}")]
    TooLarge {
        /// The limit, what there is, and the largest offenders.
        message: String,
        /// Name of the setting.
        setting: &'static str,
    },
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        let told = Self::usage(&error);
        match error {
            BundleError::TooLarge { setting, .. } => told.hint(format_args!(
                "all files of the script's folder travel with it: name what it does not need in a `.bueignore` beside it \
                 (as in `.gitignore`), move the script into a folder of its own, have a step read large data from where it is \
                 (a database, a bucket, an address), or raise {setting} here and on the hub"
            )),
            BundleError::Unreadable { path, .. } => told.hint(format_args!(
                "if the script does not need it, name `{}` in a `.bueignore` beside the script",
                path.file_name().unwrap_or_default().display()
            )),
            _ => told,
        }
    }
}

impl Listing {
    /// Finds the files that belong to `script`. The data folder is none of them.
    pub fn collect(script: &Path, data_dir: &DataDir, entries_max: u64) -> Result<Self, BundleError> {
        let unreadable = |source| BundleError::Script { path: script.to_owned(), source };
        let metadata = fs::metadata(script).map_err(unreadable)?;
        let no_script = |reason: &str| BundleError::NoScript { path: script.to_owned(), reason: reason.to_owned() };
        if !metadata.is_file() {
            return Err(no_script(if metadata.is_dir() { "it is a folder" } else { "it is no ordinary file" }));
        }
        let name = script.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| no_script("its name is not UTF-8"))?.to_owned();
        let parent = script.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let root = parent.canonicalize().map_err(unreadable)?;

        let mut found = walk::walk(&root, data_dir, entries_max)?;
        found.files.insert(name.clone(), metadata.len());
        Ok(Self { root, script: name, files: found.files, notes: found.notes })
    }

    /// Whether all of them may travel.
    pub fn check(&self, limits: &BundleLimits) -> Result<(), BundleError> {
        limits::check(&self.files, limits)
    }

    /// Sentences about files that diagnostics call missing, but that are there and were left out.
    pub fn explain_missing(&self, diagnostics: &[Diagnostic]) -> Vec<String> {
        let missing = diagnostics.iter().filter(|diagnostic| diagnostic.kind == DiagnosticKind::File);
        missing
            .flat_map(|diagnostic| diagnostic.message.split('`').skip(1).step_by(2))
            // One outside of the bundle has been told to be so.
            .filter(|name| Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_))))
            .filter(|name| !self.files.contains_key(*name) && self.root.join(name).is_file())
            .map(|name| {
                format!("`{name}` is there, but it does not travel with the script: see .gitignore and .bueignore")
            })
            .collect()
    }

    /// The content of one of its files.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, BundleError> {
        let path = self.root.join(path);
        fs::read(&path).map_err(|error| BundleError::Unreadable { path, reason: error.to_string() })
    }
}

impl language::Files for Listing {
    fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    fn paths(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }
}

impl Bundle {
    /// Reads the files that belong to `script`, all of which must be within the limits.
    pub fn collect(script: &Path, data_dir: &DataDir, limits: &BundleLimits) -> Result<Self, BundleError> {
        Self::of(Listing::collect(script, data_dir, limits.entries_max)?, limits)
    }

    /// Reads all files of a listing.
    pub fn of(mut listing: Listing, limits: &BundleLimits) -> Result<Self, BundleError> {
        listing.check(limits)?;
        let entries = listing.files.keys().map(|path| entry(&listing, path)).collect::<Result<Vec<_>, _>>()?;
        // A file may have grown since it was listed.
        for entry in &entries {
            listing.files.insert(entry.path.clone(), entry.bytes);
        }
        listing.check(limits)?;
        Ok(Self { listing, manifest: Manifest::new(entries) })
    }

    /// Reads only what the steps of a script are made of: the script and the files that it names. Whatever else is in the folder need not
    /// travel where steps run in the folder itself.
    pub fn of_code(listing: Listing, plan: &Plan) -> Result<Self, BundleError> {
        let mut paths = BTreeSet::from([listing.script.as_str()]);
        paths.extend(plan.sources.iter().filter_map(|source| match source {
            Source::File(path) => Some(path.as_str()),
            Source::Code { .. } => None,
        }));
        let entries = paths.into_iter().map(|path| entry(&listing, path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { listing, manifest: Manifest::new(entries) })
    }

    /// The files with these contents, one for each content.
    pub fn entries_of(&self, digests: &[Digest]) -> Vec<&FileEntry> {
        let by_digest: BTreeMap<Digest, &FileEntry> =
            self.manifest.files.iter().map(|entry| (entry.digest, entry)).collect();
        digests.iter().filter_map(|digest| by_digest.get(digest).copied()).collect()
    }

    /// The content of an entry, provided it is still what it was.
    pub fn read(&self, entry: &FileEntry) -> Result<Vec<u8>, BundleError> {
        let content = self.listing.read(&entry.path)?;
        if Digest::of(&content) == entry.digest {
            return Ok(content);
        }
        let path = self.listing.root.join(&entry.path);
        Err(BundleError::Unreadable { path, reason: "it changed during the upload; start again".to_owned() })
    }
}

fn entry(listing: &Listing, path: &str) -> Result<FileEntry, BundleError> {
    let content = listing.read(path)?;
    Ok(FileEntry { path: path.to_owned(), digest: Digest::of(&content), bytes: content.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_travel_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.bue", "a.py", "b.py"] {
            fs::write(folder.path().join(name), if name == "x.bue" { "script" } else { "same" }).unwrap();
        }
        let data_dir = DataDir::new(folder.path().join(".bue"));
        let bundle = Bundle::collect(&folder.path().join("x.bue"), &data_dir, &BundleLimits::default()).unwrap();
        assert_eq!(bundle.manifest.defect(), None);
        let missing = [Digest::of(b"script"), Digest::of(b"same")];
        assert_eq!(bundle.entries_of(&missing).len(), 2);
        fs::write(folder.path().join("x.bue"), "changed").unwrap();
        let error = bundle.read(bundle.manifest.find("x.bue").unwrap()).unwrap_err().to_string();
        assert!(error.contains("changed during the upload"), "{error}");
    }

    #[test]
    fn a_missing_script_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().join(".bue"));
        let collect = |path: &Path| Listing::collect(path, &data_dir, 100).unwrap_err().to_string();
        let error = collect(&folder.path().join("nothing.bue"));
        assert!(error.starts_with("cannot read the script") && error.contains("nothing.bue"), "{error}");
        assert!(collect(folder.path()).ends_with("it is a folder"));
    }
}
