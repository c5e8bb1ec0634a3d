//! The Python package that this binary carries: written to disk once, and how it is started.

use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::Digest;

/// Path and content of each file of the package.
const PACKAGE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/package.rs"));

/// The program that starts the runner; its one argument is the folder that holds the package.
///
/// It is short because it is the only part that is compiled anew each time. The folder leaves the path again: what is in
/// the package is found without it, and steps see their own folders only. So does the current directory, which an interpreter that sees
/// what the user sees begins with: what lies there is the step's, and must not be taken for what the runner needs.
const START: &str = "import sys; sys.path[:] = [sys.argv.pop(), *filter(None, sys.path)]; from buelon.runner import start; sys.path.pop(0); start.main()";

/// The same for a warm interpreter.
const WARM: &str = "import sys; sys.path[:] = [sys.argv.pop(), *filter(None, sys.path)]; from buelon.runner import warm; sys.path.pop(0); warm.main()";

/// The word for a warm interpreter that has a broker.
const BROKER: &str = "broker";

/// The same for an interpreter that runs many attempts at once.
const SHARED: &str = "import sys; sys.path[:] = [sys.argv.pop(), *filter(None, sys.path)]; from buelon.runner import shared; sys.path.pop(0); shared.main()";

/// The package on disk.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    folder: PathBuf,
}

impl Runner {
    /// Writes the package below `folder`, in a folder named by its content, unless it is there already.
    pub(crate) fn install(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let target = folder.join(&content_digest().to_string()[..16]);
        if !target.exists() {
            let temporary = tempfile::tempdir_in(folder)?;
            for (name, content) in PACKAGE {
                let path = temporary.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
                std::fs::write(path, content)?;
            }
            // Where another worker was faster, its folder holds the same.
            if std::fs::rename(temporary.path(), &target).is_ok() {
                let _ = temporary.keep();
            }
        }
        // Steps of a sandbox read it as another user.
        std::fs::set_permissions(&target, Permissions::from_mode(0o755))?;
        // A step's current directory is not this one.
        Ok(Self { folder: std::fs::canonicalize(target)? })
    }

    /// Where it is on this machine.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same package, as it is seen from elsewhere.
    pub(crate) fn seen_at(&self, folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Has `python` compile the package once, for interpreters that cannot write beside it.
    pub(crate) fn compile(&self, python: &Path) -> io::Result<()> {
        if self.folder.join("buelon/runner/__pycache__").exists() {
            return Ok(());
        }
        let status = Command::new(python)
            .args(["-I", "-m", "compileall", "-q"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        // Without it interpreters only start more slowly.
        if !status.success() {
            tracing::warn!("the runner's package in {} cannot be compiled: {status}", self.folder.display());
        }
        Ok(())
    }

    /// Arguments for an interpreter that runs one step.
    pub(crate) fn arguments(&self, isolation: Isolation) -> Vec<OsString> {
        self.arguments_for(START, isolation, None)
    }

    /// Arguments for a warm interpreter; one with a broker is told so.
    pub(crate) fn warm_arguments(&self, isolation: Isolation, has_broker: bool) -> Vec<OsString> {
        self.arguments_for(WARM, isolation, has_broker.then(|| BROKER.into()))
    }

    /// Arguments for an interpreter that runs many attempts: so many in all, with so much memory.
    pub(crate) fn shared_arguments(&self, isolation: Isolation, attempts: u64, memory_bytes: u64) -> Vec<OsString> {
        let isolated = (isolation == Isolation::Isolated).then(|| "-I".into());
        let start = isolated.into_iter().chain(["-c".into(), SHARED.into()]);
        let bounds = [attempts, memory_bytes].map(|bound| bound.to_string().into());
        start.chain(bounds).chain([self.folder.clone().into()]).collect()
    }

    fn arguments_for(&self, program: &str, isolation: Isolation, word: Option<OsString>) -> Vec<OsString> {
        let isolated = (isolation == Isolation::Isolated).then(|| "-I".into());
        let start = isolated.into_iter().chain(["-c".into(), program.into()]);
        start.chain(word).chain([self.folder.clone().into()]).collect()
    }
}

/// What an interpreter sees of the world it is started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Neither variables of the environment nor the current directory.
    Isolated,
    /// What the user's own interpreter sees.
    AsUser,
}

fn content_digest() -> Digest {
    let mut all = Vec::new();
    for (name, content) in PACKAGE {
        all.extend_from_slice(format!("{name}\0{}\0", content.len()).as_bytes());
        all.extend_from_slice(content);
    }
    Digest::of(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_written_once_and_holds_the_runner() {
        let folder = tempfile::tempdir().unwrap();
        let first = Runner::install(folder.path()).unwrap();
        assert!(first.folder.join("buelon/runner/start.py").is_file());
        assert!(first.folder.join("buelon/core/step.py").is_file());
        let second = Runner::install(folder.path()).unwrap();
        assert_eq!(first.folder, second.folder);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
