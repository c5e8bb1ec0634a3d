//! Making an environment, with `uv` where it is there and with `venv` and `pip` else.
//!
//! The installer runs as the worker's user. So it takes wheels only, unless that is changed: to install from source means to run
//! what the package brings. Where there is a sandbox it works in a cell, in which it can write the new environment and what it
//! downloads, and read interpreters, certificates and its own settings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::folder::DOWNLOADS;
use super::{EnvironmentError, requirement};
use crate::config::Config;
use crate::enclosure::Enclosure;
use crate::process::{Exit, Process};
use crate::python::Python;

/// Most that is kept of what an installer prints, in bytes: the end.
const TAIL_BYTES_MAX: usize = 4_000;

/// Variables of the worker that an installer gets, beside its own settings (`UV_…`, `PIP_…`).
const PASSED_ON: [&str; 14] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
const SETTINGS_OF_INSTALLERS: [&str; 2] = ["UV_", "PIP_"];
/// Variables that name places for other things than files to read.
const NO_FILES: [&str; 3] = ["PATH", "HOME", "TMPDIR"];
/// Files of settings: of the machine, and below the user's home.
const SETTINGS_OF_MACHINE: [&str; 2] = ["/etc/pip.conf", "/etc/uv"];
const SETTINGS_OF_USER: [&str; 5] = [".config/pip", ".config/uv", ".pip", ".netrc", ".pypirc"];

/// What makes environments on this machine.
#[derive(Debug)]
pub(super) struct Installer {
    /// `uv`, where it is there.
    uv: Option<PathBuf>,
    from_source: bool,
    environment: BTreeMap<OsString, OsString>,
    /// Where it keeps what it has downloaded.
    downloads: PathBuf,
    /// What it is shut in by.
    enclosure: Enclosure,
    timeout: Duration,
}

/// What one installation works on.
struct Job<'job> {
    python: &'job Python,
    folder: &'job Path,
    /// A folder for the time of the work: the list of what is wanted, and what is only for a while.
    scratch: &'job Path,
    /// The same as the installer sees it.
    seen: PathBuf,
}

const LIST: &str = "requirements.txt";
const TEMPORARY: &str = "tmp";

impl Installer {
    pub(super) fn find(root: &Path, config: &Config, enclosure: Enclosure) -> Self {
        let downloads = root.join(DOWNLOADS);
        Self {
            uv: config.uv.clone(),
            from_source: config.packages_from_source,
            environment: variables(&downloads),
            downloads,
            enclosure,
            timeout: config.limits.environment_timeout,
        }
    }

    /// Says which line of what a step asks for is not installed here.
    pub(super) fn check(&self, requirements: &[String]) -> Result<(), EnvironmentError> {
        if self.from_source {
            return Ok(());
        }
        match requirements.iter().try_for_each(|line| requirement::check(line)) {
            Ok(()) => Ok(()),
            Err(reason) => Err(EnvironmentError::Wrong(format!(
                "{reason}; packages are asked for by name, as in `requests==2.32`, unless BUE_PACKAGES_FROM_SOURCE=true is \
                 set for the worker"
            ))),
        }
    }

    /// Makes an environment in `folder`, which must not be there.
    pub(super) async fn install(
        &self,
        folder: &Path,
        python: &Python,
        requirements: &[String],
    ) -> Result<(), EnvironmentError> {
        let disk = |error: std::io::Error| EnvironmentError::disk(folder, &error);
        let scratch = tempfile::tempdir_in(folder.parent().unwrap_or(folder)).map_err(disk)?;
        let scratch = scratch.path();
        // What is not there cannot be shown in a cell.
        for needed in [folder, &self.downloads, &scratch.join(TEMPORARY)] {
            std::fs::create_dir_all(needed).map_err(disk)?;
        }
        std::fs::write(scratch.join(LIST), requirements.join("\n") + "\n").map_err(disk)?;
        let seen = self.enclosure.step_folder().unwrap_or_else(|| scratch.to_owned());
        let job = Job { python, folder, scratch, seen };
        let commands = match &self.uv {
            Some(uv) => self.with_uv(uv, &job),
            None => self.with_pip(&job),
        };
        let all = async {
            for (name, command) in commands {
                run(name, command).await?;
            }
            Ok(())
        };
        match tokio::time::timeout(self.timeout, all).await {
            Ok(made) => made,
            Err(_) => Err(EnvironmentError::Install {
                what: format!("the installer took longer than {} s (BUE_ENVIRONMENT_TIMEOUT)", self.timeout.as_secs()),
                tail: String::new(),
            }),
        }
    }

    fn with_uv(&self, uv: &Path, job: &Job<'_>) -> Vec<(&'static str, Command)> {
        let python = job.folder.join("bin").join("python");
        let make = words(&["venv", "--quiet", "--no-project", "--python"]).and([&job.python.path, job.folder]);
        let install = words(&["pip", "install", "--python"]).and([&python]);
        let install = self.add_source(install.and(["-r"]).and([job.seen.join(LIST)]));
        vec![("uv venv", self.command(uv, make, job)), ("uv pip install", self.command(uv, install, job))]
    }

    fn with_pip(&self, job: &Job<'_>) -> Vec<(&'static str, Command)> {
        let python = job.folder.join("bin").join("python");
        let make = words(&["-I", "-m", "venv"]).and([job.folder]);
        let install = words(&["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r"]);
        let install = self.add_source(install.and([job.seen.join(LIST)]));
        vec![
            ("python -m venv", self.command(&job.python.path, make, job)),
            ("pip install", self.command(&python, install, job)),
        ]
    }

    fn add_source(&self, install: Words) -> Words {
        if self.from_source { install } else { install.and(["--only-binary", ":all:"]) }
    }

    /// A program in its cell, where there is a sandbox.
    fn command(&self, program: &Path, words: Words, job: &Job<'_>) -> Command {
        let writable = vec![job.folder.to_owned(), self.downloads.clone()];
        let cell = self.enclosure.installer_cell(job.python, job.scratch, writable, self.readable(program, job.folder));
        let mut command = match &cell {
            Some(cell) => sandbox::enclosed_command(&self.enclosure.launcher, cell, program, &words.0),
            None => {
                let mut command = Command::new(program);
                command.args(&words.0).current_dir("/");
                command
            }
        };
        command.env_clear().envs(&self.environment);
        if cell.is_some() {
            command.env("TMPDIR", job.seen.join(TEMPORARY));
        }
        command
    }

    /// The program itself, the installers' files of settings, and what these variables name.
    fn readable(&self, program: &Path, folder: &Path) -> Vec<PathBuf> {
        let is_file = |name: &OsStr| !NO_FILES.iter().any(|other| name == *other);
        let named = self.environment.iter().filter(|(name, _)| is_file(name)).map(|(_, value)| PathBuf::from(value));
        let home = self.environment.get(OsStr::new("HOME")).map(PathBuf::from);
        let of_user = SETTINGS_OF_USER.iter().filter_map(|name| Some(home.as_ref()?.join(name)));
        let all = named.chain(SETTINGS_OF_MACHINE.map(PathBuf::from)).chain(of_user).chain([program.to_owned()]);
        // What can be written is shown as such.
        let is_writable = |path: &PathBuf| path.starts_with(&self.downloads) || path.starts_with(folder);
        all.filter(|path| path.is_absolute() && path.exists() && !is_writable(path)).collect()
    }
}

/// Arguments of a program.
struct Words(Vec<OsString>);

fn words(first: &[&str]) -> Words {
    Words(first.iter().map(OsString::from).collect())
}

impl Words {
    fn and<T: AsRef<OsStr>>(mut self, more: impl IntoIterator<Item = T>) -> Self {
        self.0.extend(more.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }
}

async fn run(name: &'static str, command: Command) -> Result<(), EnvironmentError> {
    let failed = |what: String, tail: &[u8]| EnvironmentError::Install { what, tail: shown(tail) };
    let unable = |error: std::io::Error| failed(format!("{name} cannot be started: {error}"), &[]);
    let (process, pipes) = Process::start(command).await.map_err(unable)?;
    drop(pipes.stdin);
    let (mut stdout, mut stderr, mut tail) = (pipes.stdout, pipes.stderr, Vec::new());
    let exit = {
        let reading = collect(&mut stdout, &mut stderr, &mut tail);
        tokio::pin!(reading);
        tokio::select! {
            exit = process.ended() => exit,
            () = &mut reading => process.ended().await,
        }
    };
    drain(&mut stdout, &mut tail);
    drain(&mut stderr, &mut tail);
    process.finish().await;
    match exit {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(Exit::Code(code)) => Err(failed(format!("{name} ended with exit code {code}"), &tail)),
        Ok(other) => Err(failed(format!("{name} was ended: {other:?}"), &tail)),
        Err(error) => Err(unable(error)),
    }
}

/// The end of what is printed on both.
async fn collect(stdout: &mut pipe::Receiver, stderr: &mut pipe::Receiver, tail: &mut Vec<u8>) {
    let (mut out, mut err) = (vec![0; 4_096], vec![0; 4_096]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            read = stdout.read(&mut out), if out_open => out_open = take(read, &out, tail),
            read = stderr.read(&mut err), if err_open => err_open = take(read, &err, tail),
        }
    }
}

fn take(read: std::io::Result<usize>, chunk: &[u8], tail: &mut Vec<u8>) -> bool {
    match read {
        Ok(count) if count > 0 => {
            keep(&chunk[..count], tail);
            true
        }
        _ => false,
    }
}

/// What is in a pipe when the process is gone.
fn drain(pipe: &mut pipe::Receiver, tail: &mut Vec<u8>) {
    let mut chunk = vec![0; 65_536];
    while let Ok(count) = pipe.try_read(&mut chunk) {
        if count == 0 {
            return;
        }
        keep(&chunk[..count], tail);
    }
}

fn keep(printed: &[u8], tail: &mut Vec<u8>) {
    tail.extend_from_slice(printed);
    let excess = tail.len().saturating_sub(TAIL_BYTES_MAX);
    tail.drain(..excess);
}

fn shown(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}

fn variables(downloads: &Path) -> BTreeMap<OsString, OsString> {
    let is_passed_on = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            PASSED_ON.contains(&name) || SETTINGS_OF_INSTALLERS.iter().any(|prefix| name.starts_with(prefix))
        })
    };
    let mut variables: BTreeMap<OsString, OsString> = [
        ("UV_CACHE_DIR", downloads.join("uv").into_os_string()),
        ("UV_PYTHON_DOWNLOADS", "never".into()),
        // What is downloaded is on a mount of its own in the installer's cell.
        ("UV_LINK_MODE", "copy".into()),
        ("PIP_CACHE_DIR", downloads.join("pip").into_os_string()),
    ]
    .map(|(name, value)| (name.into(), value))
    .into();
    variables.extend(std::env::vars_os().filter(|(name, _)| is_passed_on(name)));
    variables
}

/// `uv`, where it is on this process's `PATH`.
#[must_use]
pub fn find_uv() -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("uv")).find(is_program)
}
