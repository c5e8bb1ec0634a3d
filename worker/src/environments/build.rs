//! Making an environment, with `uv` where it is there and with `venv` and `pip` else.
//!
//! The installer runs as the worker does, outside of any sandbox. So it takes wheels only, unless that is changed: to install from
//! source means to run what the package brings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::EnvironmentError;
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

/// What makes environments on this machine.
#[derive(Debug)]
pub(super) struct Installer {
    /// `uv`, where it is on the `PATH`.
    uv: Option<PathBuf>,
    from_source: bool,
    environment: BTreeMap<OsString, OsString>,
    timeout: Duration,
}

impl Installer {
    pub(super) fn find(root: &Path, from_source: bool, timeout: Duration) -> Self {
        Self { uv: on_path("uv"), from_source, environment: variables(root), timeout }
    }

    /// Makes an environment in `folder`, which must not be there.
    pub(super) async fn install(
        &self,
        folder: &Path,
        python: &Python,
        requirements: &[String],
    ) -> Result<(), EnvironmentError> {
        let disk = |error: std::io::Error| EnvironmentError::disk(folder, &error);
        let list =
            tempfile::Builder::new().suffix(".txt").tempfile_in(folder.parent().unwrap_or(folder)).map_err(disk)?;
        std::fs::write(list.path(), requirements.join("\n") + "\n").map_err(disk)?;
        let commands = match &self.uv {
            Some(uv) => self.with_uv(uv, folder, python, list.path()),
            None => self.with_pip(folder, python, list.path()),
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

    fn with_uv(&self, uv: &Path, folder: &Path, python: &Python, list: &Path) -> Vec<(&'static str, Command)> {
        let mut make = self.command(uv);
        make.args(["venv", "--quiet", "--no-project", "--python"]).arg(&python.path).arg(folder);
        let mut install = self.command(uv);
        install.args(["pip", "install", "--python"]).arg(folder.join("bin").join("python")).arg("-r").arg(list);
        self.add_source(&mut install);
        vec![("uv venv", make), ("uv pip install", install)]
    }

    fn with_pip(&self, folder: &Path, python: &Python, list: &Path) -> Vec<(&'static str, Command)> {
        let mut make = self.command(&python.path);
        make.args(["-I", "-m", "venv"]).arg(folder);
        let mut install = self.command(&folder.join("bin").join("python"));
        install.args(["-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r"]).arg(list);
        self.add_source(&mut install);
        vec![("python -m venv", make), ("pip install", install)]
    }

    fn add_source(&self, install: &mut Command) {
        if !self.from_source {
            install.args(["--only-binary", ":all:"]);
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.environment).current_dir("/");
        command
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

fn variables(root: &Path) -> BTreeMap<OsString, OsString> {
    let is_passed_on = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            PASSED_ON.contains(&name) || SETTINGS_OF_INSTALLERS.iter().any(|prefix| name.starts_with(prefix))
        })
    };
    let downloads = root.join("downloads");
    let mut variables: BTreeMap<OsString, OsString> = [
        ("UV_CACHE_DIR", downloads.join("uv").into_os_string()),
        ("UV_PYTHON_DOWNLOADS", "never".into()),
        ("PIP_CACHE_DIR", downloads.join("pip").into_os_string()),
    ]
    .map(|(name, value)| (name.into(), value))
    .into();
    variables.extend(std::env::vars_os().filter(|(name, _)| is_passed_on(name)));
    variables
}

fn on_path(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(is_program)
}
