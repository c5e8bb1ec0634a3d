//! Bytecode of a bundle's modules, made once: an interpreter compiles a module each time it imports it where nothing is kept beside it.
//!
//! Made it is by an interpreter that compiles and runs nothing of the bundle, in a cell of its own where there is a sandbox. So no
//! attempt has a say in what the next one runs. It lies beside the modules in each scratch folder that is filled from then on.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use protocol::{Digest, Manifest};
use sandbox::Identity;
use tempfile::TempDir;

use crate::enclosure::{self, Enclosure};
use crate::environments::Environment;
use crate::process::Process;

/// Bundles whose bytecode is kept.
const BUNDLES_MAX: usize = 64;
/// Modules of a bundle, and their size together; a larger one is compiled by each attempt, as far as it imports it.
const MODULES_MAX: usize = 100;
const BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest file of bytecode.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest time for all modules of a bundle.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Memory for it.
const MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Interpreters for which a bundle is compiled.
const INTERPRETERS_MAX: usize = 8;
const MODULES: &str = "files";
const CACHE: &str = "__pycache__";

/// The bytecode of bundles.
pub(crate) struct Bytecode {
    folder: PathBuf,
    enclosure: Enclosure,
    known: Mutex<LruCache<Digest, Known>>,
}

/// What is known of a bundle.
#[derive(Default)]
struct Known {
    /// Interpreters that its steps use, and what was done for them.
    interpreters: HashMap<PathBuf, Fate>,
    made: Made,
    /// Where it is, until the bundle is forgotten.
    folders: Vec<TempDir>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// One attempt came.
    Seen,
    /// The modules are being compiled, have been, or cannot be.
    Begun,
}

/// Files to be laid beside the modules of a bundle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// Their paths in the bundle, and where they are.
    pub(crate) files: Arc<Vec<(String, PathBuf)>>,
    /// For how many interpreters.
    pub(crate) sets: usize,
}

impl Bytecode {
    /// None yet; it is kept in `folder`, which nobody else has.
    pub(crate) fn new(folder: PathBuf, enclosure: Enclosure) -> Self {
        let count = NonZeroUsize::new(BUNDLES_MAX).unwrap_or(NonZeroUsize::MIN);
        Self { folder, enclosure, known: Mutex::new(LruCache::new(count)) }
    }

    /// What there is for a bundle.
    pub(crate) fn of(&self, bundle: Digest) -> Made {
        self.known().get(&bundle).map(|known| known.made.clone()).unwrap_or_default()
    }

    /// Notes that an attempt of a bundle runs in an environment. When it is not the first one, its modules are compiled, beside the work;
    /// `files` says where they are.
    pub(crate) fn note(
        self: &Arc<Self>,
        bundle: Digest,
        environment: &Arc<Environment>,
        files: impl Future<Output = Option<Vec<(String, PathBuf)>>> + Send + 'static,
    ) {
        let python = environment.python.path.clone();
        {
            let mut known = self.known();
            let interpreters = &mut known.get_or_insert_mut(bundle, Known::default).interpreters;
            match interpreters.get(&python) {
                Some(Fate::Begun) => return,
                Some(Fate::Seen) => interpreters.insert(python, Fate::Begun),
                None => {
                    if interpreters.len() < INTERPRETERS_MAX {
                        interpreters.insert(python, Fate::Seen);
                    }
                    return;
                }
            };
        }
        let (bytecode, environment) = (Arc::clone(self), Arc::clone(environment));
        tokio::spawn(async move {
            let Some(files) = files.await.filter(|files| !files.is_empty()) else { return };
            match bytecode.compile(&environment, &files).await {
                Ok((folder, made)) => bytecode.keep(bundle, folder, made),
                Err(error) => {
                    tracing::warn!("modules of a bundle cannot be compiled beforehand, each attempt does it: {error}")
                }
            }
        });
    }

    fn keep(&self, bundle: Digest, folder: TempDir, made: Vec<(String, PathBuf)>) {
        if made.is_empty() {
            return;
        }
        let mut known = self.known();
        // One that has been forgotten meanwhile begins anew.
        let Some(known) = known.get_mut(&bundle) else { return };
        known.made.sets += 1;
        known.made.files = Arc::new(known.made.files.iter().cloned().chain(made).collect());
        known.folders.push(folder);
    }

    /// Compiles copies of modules, and answers with what came of it.
    async fn compile(
        &self,
        environment: &Environment,
        files: &[(String, PathBuf)],
    ) -> io::Result<(TempDir, Vec<(String, PathBuf)>)> {
        make_folder(&self.folder)?;
        enclosure::let_pass(&self.folder)?;
        let folder = tempfile::tempdir_in(&self.folder)?;
        let modules = folder.path().join(MODULES);
        fs::create_dir(&modules)?;
        for (path, source) in files {
            let target = modules.join(path);
            fs::create_dir_all(target.parent().unwrap_or(&modules))?;
            fs::copy(source, target)?;
        }
        if let Some(identity) = self.enclosure.other_identity() {
            enclosure::hand_over(folder.path(), identity)?;
        }
        let (process, _pipes) = Process::start(self.command(environment, folder.path())).await?;
        // What it says of modules that are no Python, each attempt says as well.
        let ended = tokio::time::timeout(TIMEOUT, process.ended()).await;
        process.finish().await;
        ended.map_err(|_| io::Error::other(format!("it took longer than {} s", TIMEOUT.as_secs())))??;
        if self.enclosure.other_identity().is_some() {
            // No step has a hand in it from here on.
            enclosure::hand_over(folder.path(), Identity::own())?;
        }
        let folder_of = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let mut folders: Vec<String> = files.iter().map(|(path, _)| folder_of(path)).collect();
        folders.sort_unstable();
        folders.dedup();
        let found = folders.into_iter().flat_map(|path| bytecode_in(&modules, &path)).collect();
        Ok((folder, found))
    }

    fn command(&self, environment: &Environment, scratch: &Path) -> Command {
        let python = &environment.python.path;
        let seen = self.enclosure.step_folder().unwrap_or_else(|| scratch.to_owned()).join(MODULES);
        let words = ["-I", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"].map(Into::into);
        let words: Vec<std::ffi::OsString> = words.into_iter().chain([seen.into_os_string()]).collect();
        let cell = self.enclosure.compiler_cell(environment, scratch, MEMORY_BYTES_MAX);
        let mut command = match &cell {
            Some(cell) => sandbox::enclosed_command(&self.enclosure.launcher, cell, python, &words),
            None => {
                let mut command = Command::new(python);
                command.args(&words).current_dir("/");
                command
            }
        };
        command.env_clear();
        command
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Modules of a bundle, where it is worth and possible to compile them.
pub(crate) fn modules(manifest: &Manifest, place: impl Fn(Digest) -> PathBuf) -> Option<Vec<(String, PathBuf)>> {
    let modules: Vec<_> = manifest.files.iter().filter(|file| file.path.ends_with(".py")).collect();
    let bytes: u64 = modules.iter().map(|file| file.bytes).sum();
    // What a user has put there is theirs.
    let has_own = manifest.files.iter().any(|file| file.path.split('/').any(|part| part == CACHE));
    if modules.len() > MODULES_MAX || bytes > BYTES_MAX || has_own {
        return None;
    }
    Some(modules.into_iter().map(|file| (file.path.clone(), place(file.digest))).collect())
}

/// What an interpreter has left for the modules of one folder.
fn bytecode_in(modules: &Path, folder: &str) -> Vec<(String, PathBuf)> {
    let cache = modules.join(folder).join(CACHE);
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let files = entries.filter(|entry| {
        let is_file = entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= FILE_BYTES_MAX);
        is_file && entry.path().extension().is_some_and(|extension| extension == "pyc")
    });
    files
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let path = [folder, CACHE, &name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            Some((path, entry.path()))
        })
        .collect()
}

/// Makes a folder where there is none yet; not those above it, which may have gone with the worker.
fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use protocol::FileEntry;

    use super::*;

    fn manifest(paths: &[(&str, u64)]) -> Manifest {
        let file = |(path, bytes): &(&str, u64)| FileEntry {
            path: (*path).to_owned(),
            digest: Digest::of(path.as_bytes()),
            bytes: *bytes,
        };
        Manifest::new(paths.iter().map(file).collect())
    }

    fn found(paths: &[(&str, u64)]) -> Option<Vec<String>> {
        let found = modules(&manifest(paths), |digest| PathBuf::from(digest.to_string()))?;
        Some(found.into_iter().map(|(path, _)| path).collect())
    }

    #[test]
    fn modules_are_what_is_compiled_unless_there_is_too_much() {
        assert_eq!(found(&[("a.py", 1), ("b/c.py", 1), ("d.csv", 1 << 40)]).unwrap(), ["a.py", "b/c.py"]);
        assert_eq!(found(&[("a.py", BYTES_MAX), ("b.py", 1)]), None);
        assert_eq!(found(&[("a.py", 1), ("__pycache__/a.cpython-311.pyc", 1)]), None);
        let many: Vec<String> = (0..=MODULES_MAX).map(|number| format!("m{number}.py")).collect();
        assert_eq!(found(&many.iter().map(|path| (path.as_str(), 1)).collect::<Vec<_>>()), None);
    }

    #[test]
    fn only_files_of_bytecode_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("b").join(CACHE);
        fs::create_dir_all(cache.join("folder.pyc")).unwrap();
        fs::write(cache.join("c.cpython-311.pyc"), "").unwrap();
        fs::write(cache.join("other"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", cache.join("link.pyc")).unwrap();
        let found = bytecode_in(folder.path(), "b");
        assert_eq!(found, [("b/__pycache__/c.cpython-311.pyc".to_owned(), cache.join("c.cpython-311.pyc"))]);
        assert!(bytecode_in(folder.path(), "").is_empty());
    }
}
