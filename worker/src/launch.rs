//! What is to be started for an attempt: program, folder and environment, before any process exists.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::api::Lease;
use sandbox::{Cell, FenceRules};

use crate::config::Mode;
use crate::descriptors;
use crate::orphans::{MARK_VARIABLE, Mark};
use crate::scratch::Scratch;

/// Has the C library take blocks of any size from the same memory, and keep that.
const KEEPS_BLOCKS: &str = "glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=1073741824";
/// Variables of the worker's own environment that every step sees.
const PASSED_ON: [&str; 4] = ["PATH", "LANG", "LC_ALL", "TZ"];
/// Where steps find programs when the worker itself has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";
/// The language of a worker that has none: text is UTF-8.
const LANG_DEFAULT: &str = "C.UTF-8";

/// A process that is to be.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The current directory, as the process sees it.
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<OsString, OsString>,
    /// What is built around it, and by which program.
    pub(crate) enclosed: Option<(PathBuf, Cell)>,
}

impl Launch {
    /// The command for it.
    pub(crate) fn command(&self) -> Command {
        let mut command = match &self.enclosed {
            Some((launcher, cell)) => sandbox::enclosed_command(launcher, cell, &self.program, &self.arguments),
            None => {
                let mut command = Command::new(&self.program);
                command.args(&self.arguments).current_dir(&self.folder);
                command
            }
        };
        command.env_clear().envs(&self.environment);
        command
    }

    /// The command for it where a broker is to make a cell for each of its forks; `None`: there is no broker.
    pub(crate) fn broker_command(&self) -> Option<Command> {
        let (launcher, cell) = self.enclosed.as_ref().filter(|(_, cell)| cell.walls.namespaces)?;
        let mut command = sandbox::broker_command(launcher, cell, &self.program, &self.arguments);
        command.env_clear().envs(&self.environment);
        Some(command)
    }

    /// The variables that can be told.
    pub(crate) fn told_environment(&self) -> BTreeMap<&str, &str> {
        self.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?))).collect()
    }

    /// Numbers of resources with their soft and hard limits, as a forked process sets them itself.
    pub(crate) fn bounds(&self) -> Vec<(u32, u64, u64)> {
        let mut bounds = self.enclosed.as_ref().map_or_else(Vec::new, |(_, cell)| resources(cell));
        let of_files = nix::sys::resource::Resource::RLIMIT_NOFILE as u32;
        if !bounds.iter().any(|(resource, ..)| *resource == of_files) {
            // A warm interpreter needs more for itself than each of its forks.
            bounds.extend(descriptors::given_limit().map(|(soft, hard)| (of_files, soft, hard)));
        }
        bounds
    }

    /// The first line for a forked process: where it runs. Variables that are no UTF-8 cannot be told.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut launch = serde_json::json!({
            "folder": self.folder.to_string_lossy(), "environment": self.told_environment(), "bounds": self.bounds(),
        });
        // In a cell of its own the fork steps into a fence that is there already.
        let alone = self.enclosed.as_ref().map(|(_, cell)| cell).filter(|cell| !cell.walls.namespaces);
        if let Some(rules) = alone.and_then(FenceRules::of) {
            launch["fence"] = serde_json::json!(rules);
        }
        format!("{launch}\n").into_bytes()
    }
}

fn resources(cell: &Cell) -> Vec<(u32, u64, u64)> {
    let resources = cell.bounds.resources(u64::from(cell.walls.namespaces));
    resources.into_iter().map(|(resource, soft, hard)| (resource as u32, soft, hard)).collect()
}

/// The variables of an interpreter that waits for attempts: none of the worker's own.
pub(crate) fn idle_environment(mode: &Mode, folder: &Path) -> BTreeMap<OsString, OsString> {
    match mode {
        Mode::Fleet { environment } => fleet_environment(folder, environment),
        Mode::Local { .. } => std::env::vars_os().collect(),
    }
}

/// The variables of a program of SQL steps that waits for attempts. Each of its forks has one step and then ends: by these words the C
/// library keeps what is freed for what comes next, instead of giving it back to the system and having it cleared again.
pub(crate) fn engine_environment(mode: &Mode, folder: &Path) -> BTreeMap<OsString, OsString> {
    let mut variables = idle_environment(mode, folder);
    variables.insert("GLIBC_TUNABLES".into(), KEEPS_BLOCKS.into());
    variables
}

/// The variables of one attempt.
pub(crate) fn environment(mode: &Mode, lease: &Lease, scratch: &Scratch, mark: &Mark) -> BTreeMap<OsString, OsString> {
    let mut variables = match mode {
        Mode::Fleet { environment } => fleet_environment(&scratch.seen(&scratch.tmp()), environment),
        Mode::Local { .. } => std::env::vars_os().collect(),
    };
    variables.extend(own_variables(lease).into_iter().map(|(name, value)| (name.into(), value.into())));
    variables.insert(MARK_VARIABLE.into(), mark.as_str().into());
    variables
}

/// The variables that name an attempt.
pub(crate) fn own_variables(lease: &Lease) -> BTreeMap<String, String> {
    let own = [
        ("BUE_RUN", lease.run.to_string()),
        ("BUE_JOB", lease.job.to_string()),
        ("BUE_ATTEMPT", lease.attempt.to_string()),
        ("BUE_ATTEMPT_KEY", format!("{}/{}", lease.run, lease.job)),
    ];
    own.map(|(name, value)| (name.to_owned(), value)).into()
}

fn fleet_environment(home: &Path, extra: &BTreeMap<OsString, OsString>) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> =
        [("PATH", PATH_DEFAULT), ("LANG", LANG_DEFAULT)].map(|(name, value)| (name.into(), value.into())).into();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            variables.insert(name.into(), value);
        }
    }
    for name in ["HOME", "TMPDIR"] {
        variables.insert(name.into(), OsStr::new(home).to_owned());
    }
    variables.extend(extra.clone());
    variables
}
