//! The Python interpreter of this machine: found, asked for its version, named clearly where it does not fit.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Oldest version that can run steps.
pub const VERSION_MIN: (u32, u32) = (3, 9);

/// Names that are looked for when none is given.
const NAMES: [&str; 2] = ["python3", "python"];

/// Prints the version, the interpreter's own path, which a wrapper script on `PATH` would hide, and its folders.
/// Without `site` an interpreter does not say that it is that of a virtual environment; its file of settings does.
const QUESTION: &str = "import os, sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.executable); \
     folders = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}; \
     own = os.path.dirname(os.path.dirname(sys.executable)); \
     folders |= {own} if os.path.exists(os.path.join(own, 'pyvenv.cfg')) else set(); print(*folders, sep='\\n')";

/// An interpreter that can run steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The interpreter itself.
    pub path: PathBuf,
    /// Its version: `3.11.7`.
    pub version: String,
    /// Folders of the interpreter and of what it imports from.
    pub folders: Vec<PathBuf>,
}

/// Why there is no interpreter that can run steps.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is none.
    #[error("no Python found: looked for {looked_for}; install Python 3.9 or later, or name it with BUE_PYTHON")]
    Missing {
        /// Names or the path that was asked for.
        looked_for: String,
    },
    /// There is one, too old.
    #[error("{} is Python {version}, but steps need 3.9 or later; install one, or name it with BUE_PYTHON", path.display())]
    TooOld {
        /// The interpreter.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// It does not answer as a Python does.
    #[error("{} does not work as a Python interpreter: {reason}; name another one with BUE_PYTHON", path.display())]
    Broken {
        /// What was started.
        path: PathBuf,
        /// What came of it.
        reason: String,
    },
}

/// The interpreter `wanted` names (a path or a name on `PATH`), or the first fit one on `PATH`.
///
/// # Errors
/// When there is none, or it is older than 3.9, or it does not answer.
pub fn find_python(wanted: Option<&Path>) -> Result<Python, PythonError> {
    if let Some(wanted) = wanted {
        return ask(wanted);
    }
    let mut first_error = None;
    for name in NAMES {
        match ask(Path::new(name)) {
            Ok(python) => return Ok(python),
            Err(PythonError::Missing { .. }) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| PythonError::Missing { looked_for: NAMES.join(", ") }))
}

fn ask(path: &Path) -> Result<Python, PythonError> {
    let broken = |reason: String| PythonError::Broken { path: path.to_owned(), reason };
    let output = Command::new(path)
        .args([OsStr::new("-I"), OsStr::new("-S"), OsStr::new("-c"), OsStr::new(QUESTION)])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => PythonError::Missing { looked_for: path.display().to_string() },
            _ => broken(error.to_string()),
        })?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut lines = stdout.lines();
    let (Some(version), Some(executable)) = (lines.next(), lines.next()) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(broken(format!("{}: {}", output.status, complaint.lines().next().unwrap_or("no output"))));
    };
    let Some(parts) = parse_version(version) else {
        return Err(broken(format!("it says its version is `{version}`")));
    };
    // Python leaves the path empty where it cannot find itself.
    let path = if executable.is_empty() { path.to_owned() } else { PathBuf::from(executable) };
    if parts < VERSION_MIN {
        return Err(PythonError::TooOld { path, version: version.to_owned() });
    }
    Ok(Python { path, version: version.to_owned(), folders: lines.map(PathBuf::from).collect() })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.').map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("python");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn the_interpreter_of_a_virtual_environment_names_its_folder_beside_that_of_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let environment = folder.path().canonicalize().unwrap().join("environment");
        let base = find_python(None).unwrap();
        let made = Command::new(&base.path).args(["-m", "venv", "--without-pip"]).arg(&environment).status().unwrap();
        assert!(made.success());
        let python = find_python(Some(&environment.join("bin/python"))).unwrap();
        assert!(python.folders.contains(&environment), "{python:?}");
        assert!(base.folders.iter().any(|folder| python.folders.contains(folder)), "{python:?}");
    }

    #[test]
    fn the_interpreter_on_the_path_is_found_and_names_itself() {
        let python = find_python(None).unwrap();
        assert!(python.path.is_absolute(), "{python:?}");
        assert!(python.version.starts_with("3."), "{python:?}");
    }

    #[test]
    fn a_missing_interpreter_is_named_with_the_way_out() {
        let error = find_python(Some(Path::new("/nowhere/python9"))).unwrap_err();
        assert!(matches!(error, PythonError::Missing { .. }));
        let text = error.to_string();
        assert!(text.contains("/nowhere/python9") && text.contains("BUE_PYTHON"), "{text}");
    }

    #[test]
    fn an_interpreter_before_3_9_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake(folder.path(), "echo 3.8.20; echo /opt/python3.8");
        let error = find_python(Some(&path)).unwrap_err();
        assert!(matches!(&error, PythonError::TooOld { version, .. } if version == "3.8.20"), "{error}");
    }

    #[test]
    fn a_program_that_is_no_python_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = fake(folder.path(), "echo no such thing >&2; exit 3");
        let error = find_python(Some(&path)).unwrap_err();
        assert!(error.to_string().contains("no such thing"), "{error}");
    }
}
