//! The sandbox as a worker uses it: which cell is built around which program.
//!
//! What the layers are and how they are built is the sandbox's own; this says what a step needs to see.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use protocol::{ErrorKind, Language, Step, StepError};
use sandbox::{Bounds, Cell, Identity, Layer, Level, Readable, STEP_FOLDER, Walls};

use crate::assignment::Assignment;
use crate::config::{Config, Limits};
use crate::engines::{DUCKDB_LIBRARY, DUCKDB_PROGRAM};
use crate::environments::Environment;
use crate::python::Python;
use crate::quota::Quota;
use crate::trouble::Trouble;

/// How the steps of a worker are shut in.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The layers in use.
    pub level: Level,
    /// Who steps run as.
    pub identity: Identity,
    /// Further files and folders that steps may read.
    pub readable: Vec<PathBuf>,
    /// Folders of this machine that steps may write, as their user can.
    pub writable: Vec<PathBuf>,
}

impl Sandbox {
    /// None: steps run as the worker does.
    #[must_use]
    pub fn off() -> Self {
        Self { level: Level::off(), identity: Identity::own(), readable: Vec::new(), writable: Vec::new() }
    }
}

/// The cells of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Enclosure {
    pub(crate) launcher: PathBuf,
    level: Level,
    identity: Identity,
    readable: Vec<Readable>,
    writable: Vec<PathBuf>,
    mountpoint: PathBuf,
}

impl Enclosure {
    /// Cells that show interpreter and runner; `root` is the worker's folder.
    pub(crate) fn open(config: &Config, runner: &Path, root: &Path) -> io::Result<Self> {
        let mountpoint = root.join("sandbox/root");
        std::fs::create_dir_all(&mountpoint)?;
        let Sandbox { level, identity, readable, writable } = config.sandbox.clone();
        let mut readable: Vec<Readable> = readable.into_iter().map(Readable::in_place).collect();
        readable.push(Readable::brought_along(runner.to_owned(), RUNNER));
        readable.push(Readable::brought_along(config.program.clone(), PROGRAM));
        readable.extend(folders_of(&config.python).into_iter().map(Readable::in_place));
        Ok(Self { launcher: config.program.clone(), level, identity, readable, writable, mountpoint })
    }

    /// Whether programs get a root of their own, in which paths are others.
    pub(crate) fn has_own_root(&self) -> bool {
        self.level.walls().is_some_and(|walls| walls.namespaces)
    }

    /// Whether what an attempt leaves behind is certain: nothing of it runs on, and of what is its own it wrote
    /// into its folder only.
    pub(crate) fn leaves_nothing(&self) -> bool {
        self.level.walls().is_some_and(|walls| walls.namespaces && walls.syscalls)
    }

    /// Whether an exit code is that of a launcher that could not start a step's process.
    pub(crate) fn means_not_started(&self, code: i32) -> bool {
        self.level.walls().is_some() && code == i32::from(sandbox::NOT_STARTED)
    }

    /// Whether a signal is that of a launcher that had too little to start a step's process.
    pub(crate) fn means_shortage(&self, signal: i32) -> bool {
        self.level.walls().is_some() && signal == sandbox::SHORTAGE
    }

    /// What the log of each attempt begins with: the level, where layers are missing from it. That there is none is the worker's own
    /// choice. The level itself goes with each settlement.
    pub(crate) fn shortfall(&self) -> Option<String> {
        let report = self.level.report.as_ref()?;
        (!report.missing().is_empty()).then(|| self.level.summary())
    }

    /// Where steps see the folder of their attempt, where that is not its place on this machine.
    pub(crate) fn step_folder(&self) -> Option<PathBuf> {
        self.has_own_root().then(|| STEP_FOLDER.into())
    }

    /// Where a DuckDB step sees its program.
    pub(crate) fn seen_duckdb(&self, program: PathBuf) -> PathBuf {
        if self.has_own_root() { Readable::brought_along(program, DUCKDB_PROGRAM).at } else { program }
    }

    /// Where a step sees something that the worker brings along.
    pub(crate) fn seen_along(&self, outside: &Path) -> PathBuf {
        let known = self.readable.iter().find(|readable| readable.from == outside);
        match known {
            Some(readable) if self.has_own_root() => readable.at.clone(),
            _ => outside.to_owned(),
        }
    }

    /// Who a step runs as, where that is not who the worker runs as.
    pub(crate) fn other_identity(&self) -> Option<Identity> {
        (self.identity_of_steps() != Identity::own()).then_some(self.identity)
    }

    /// Who steps run as: they cannot be another user where that layer is missing.
    fn identity_of_steps(&self) -> Identity {
        let is_other = self.level.report.as_ref().is_some_and(|report| report.has(Layer::Identity));
        if is_other { self.identity } else { Identity::own() }
    }

    /// What a step asks for and does not get here, for its log.
    pub(crate) fn unkept(&self, step: &Step) -> Option<&'static str> {
        let is_unkept = step.settings.runtime.processes.is_some() && !self.has_own_root();
        is_unkept.then_some("this worker has no namespaces to count processes in; `!processes` does not hold")
    }

    /// Whether a step that must not use the network can be kept from it.
    pub(crate) fn can_cut_network(&self) -> bool {
        self.level.has_network()
    }

    /// A cell; `None` where there is no sandbox and nothing to bound.
    pub(crate) fn cell(&self, inside: Inside<'_>) -> Option<Cell> {
        let walls = match self.level.walls() {
            Some(walls) => Walls { network: !inside.network, ..walls },
            None if inside.bounds == Bounds::default() => return None,
            None => Walls::default(),
        };
        let mut readable = self.readable.clone();
        let is_new = |more: &Readable| self.readable.iter().all(|known| known.at != more.at);
        readable.extend(inside.readable.into_iter().filter(is_new));
        // Where processes are not counted for themselves, a bound would count all that the user runs elsewhere.
        let processes = inside.bounds.processes.filter(|_| walls.namespaces);
        Some(Cell {
            walls,
            mountpoint: self.mountpoint.clone(),
            scratch: inside.scratch.to_owned(),
            readable,
            writable: self.writable.clone(),
            folder: inside.folder.to_owned(),
            identity: self.identity_of_steps(),
            unix_sockets: inside.unix_sockets,
            bounds: Bounds { processes, ..inside.bounds },
        })
    }

    /// The cell of one attempt, which has `folder` as its current directory.
    pub(crate) fn cell_of(
        &self,
        assignment: &Assignment<'_>,
        config: &Config,
        folder: &Path,
    ) -> Result<Option<Cell>, Trouble> {
        let (step, network) = (assignment.step, may_use_network(assignment.step));
        if !network && !self.can_cut_network() {
            return Err(Trouble::Step(self.no_way_to_cut_network(step)));
        }
        let mut engine = self.engine(assignment, config);
        engine.readable.extend(readable_of(&assignment.environment));
        Ok(self.cell(Inside {
            scratch: assignment.scratch.root(),
            folder,
            network,
            unix_sockets: engine.socket.is_some(),
            readable: engine.readable,
            bounds: self.bounds(step, &config.limits),
        }))
    }

    /// The cell of a warm interpreter, within which those of attempts are made. What these may use up is told to each.
    pub(crate) fn warm_cell(
        &self,
        environment: &Environment,
        scratches: &Path,
        folder: &Path,
        network: bool,
    ) -> Option<Cell> {
        let (readable, bounds) = (readable_of(environment), Bounds::default());
        self.cell(Inside { scratch: scratches, folder, network, unix_sockets: false, readable, bounds })
    }

    /// The same for the program of a SQL step.
    pub(crate) fn engine_cell(
        &self,
        assignment: &Assignment<'_>,
        config: &Config,
        scratches: &Path,
        folder: &Path,
        network: bool,
    ) -> Option<Cell> {
        let (readable, bounds) = (self.engine(assignment, config).readable, Bounds::default());
        self.cell(Inside { scratch: scratches, folder, network, unix_sockets: false, readable, bounds })
    }

    /// The cell of an interpreter that compiles modules in `scratch`, and runs none of them.
    pub(crate) fn compiler_cell(&self, environment: &Environment, scratch: &Path, memory_bytes: u64) -> Option<Cell> {
        let (readable, folder) = (readable_of(environment), Path::new("/"));
        let bounds = Bounds { memory_bytes: Some(memory_bytes), ..Bounds::default() };
        self.cell(Inside { scratch, folder, network: true, unix_sockets: false, readable, bounds })
    }

    /// The cell of an installer of packages, which works as the worker's user: it writes `writable` and its own `scratch`, and
    /// reads what an interpreter does and `readable`.
    pub(crate) fn installer_cell(
        &self,
        python: &Python,
        scratch: &Path,
        writable: Vec<PathBuf>,
        readable: Vec<PathBuf>,
    ) -> Option<Cell> {
        let readable = folders_of(python).into_iter().chain(readable).map(Readable::in_place).collect();
        let (folder, bounds) = (Path::new("/"), Bounds::default());
        let cell = self.cell(Inside { scratch, folder, network: true, unix_sockets: false, readable, bounds })?;
        Some(Cell { writable, identity: Identity::own(), ..cell })
    }

    fn no_way_to_cut_network(&self, step: &Step) -> StepError {
        let message = format!(
            "step `{}` must not use the network, and this worker cannot keep it from that (sandbox: {}); \
             `bue worker --check` says what is missing",
            step.name,
            self.level.summary()
        );
        StepError::new(ErrorKind::Start, message)
    }

    /// What the engine of a SQL step needs to see beside the step's own folder.
    fn engine(&self, assignment: &Assignment<'_>, config: &Config) -> Engine {
        match assignment.step.language {
            Language::Python | Language::Sqlite3 => Engine::default(),
            Language::Duckdb => {
                let program = assignment.engines.duckdb_program(&config.program);
                let library = program.with_file_name(DUCKDB_LIBRARY);
                Engine {
                    readable: vec![
                        Readable::brought_along(program, DUCKDB_PROGRAM),
                        Readable::brought_along(library, DUCKDB_LIBRARY),
                    ],
                    socket: None,
                }
            }
            Language::Postgres => {
                let database = assignment.engines.database_of(assignment.step);
                let host = database.and_then(|database| database.host.as_ref()).filter(|host| host.starts_with('/'));
                let socket = host.map(PathBuf::from);
                Engine { readable: socket.iter().cloned().map(Readable::in_place).collect(), socket }
            }
        }
    }

    /// What one attempt may fill of the disk. Without a sandbox it may write where it likes, and nobody looks.
    pub(crate) fn quota(&self, step: &Step, limits: &Limits) -> Quota {
        if self.level.walls().is_none() {
            return Quota { bytes_max: u64::MAX, files_max: u64::MAX };
        }
        Quota { bytes_max: disk_bytes_max(step, limits), files_max: limits.step_scratch_files_max }
    }

    /// What one attempt may use up: what its step says, else the worker's defaults, which hold in a sandbox only.
    pub(crate) fn bounds(&self, step: &Step, limits: &Limits) -> Bounds {
        let runtime = &step.settings.runtime;
        let wanted = Bounds {
            memory_bytes: runtime.memory_bytes,
            cpu_ms: runtime.cpu_ms,
            processes: runtime.processes.map(u64::from),
            ..Bounds::default()
        };
        if self.level.walls().is_none() {
            return wanted;
        }
        Bounds {
            memory_bytes: wanted.memory_bytes.or(Some(limits.step_memory_bytes_max)),
            cpu_ms: wanted.cpu_ms.or_else(|| u64::try_from(limits.step_cpu_max.as_millis()).ok()),
            processes: wanted.processes.or(Some(limits.step_processes_max)),
            file_bytes: Some(disk_bytes_max(step, limits)),
            open_files: Some(limits.step_open_files_max),
        }
    }
}

/// What the engine of a SQL step needs to see.
#[derive(Debug, Default)]
struct Engine {
    readable: Vec<Readable>,
    /// The folder of a database's socket.
    socket: Option<PathBuf>,
}

/// Disk space of one attempt. DuckDB keeps what its memory does not hold on disk, within bounds of its own.
fn disk_bytes_max(step: &Step, limits: &Limits) -> u64 {
    match step.language {
        Language::Duckdb => limits.step_scratch_bytes_max.saturating_add(limits.duckdb_spill_bytes_max),
        Language::Python | Language::Sqlite3 | Language::Postgres => limits.step_scratch_bytes_max,
    }
}

/// Whether a step may use the network. That SQL engines in memory do not, they see to themselves.
pub(crate) fn may_use_network(step: &Step) -> bool {
    step.settings.runtime.network.unwrap_or(true)
}

/// Name of the runner's package in a cell.
const RUNNER: &str = "runner";
/// Name of the program that runs SQL steps in a cell.
const PROGRAM: &str = "bue";

/// What differs between cells.
#[derive(Debug)]
pub(crate) struct Inside<'attempt> {
    /// The folder that can be written, or that of all attempts.
    pub(crate) scratch: &'attempt Path,
    /// The current directory, as it is seen.
    pub(crate) folder: &'attempt Path,
    /// Whether the network can be used.
    pub(crate) network: bool,
    /// Whether services of this machine can be reached by their sockets.
    pub(crate) unix_sockets: bool,
    /// What else can be read.
    pub(crate) readable: Vec<Readable>,
    pub(crate) bounds: Bounds,
}

/// Folders that an interpreter needs to start and to import from.
fn folders_of(python: &Python) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = python.folders.iter().filter(|folder| is_particular(folder)).cloned().collect();
    // A folder shows what is in it: outer ones first.
    folders.sort();
    folders.dedup();
    folders
}

/// What must be seen of an environment.
fn readable_of(environment: &Environment) -> Vec<Readable> {
    folders_of(&environment.python).into_iter().map(Readable::in_place).collect()
}

/// Not so wide that showing it would show the machine.
fn is_particular(folder: &Path) -> bool {
    folder.is_absolute() && folder.components().count() > 2 && std::env::home_dir().is_none_or(|home| folder != home)
}

/// Lets the user of steps that see a folder at its own place pass through it, and no other do more.
pub(crate) fn let_pass(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o711))
}

/// Gives a file to a step's user.
pub(crate) fn give(file: &Path, identity: Identity) -> io::Result<()> {
    lchown(file, Some(identity.user), Some(identity.group))
}

/// Gives a folder with all that is in it to a step's user.
pub(crate) fn hand_over(folder: &Path, identity: Identity) -> io::Result<()> {
    lchown(folder, Some(identity.user), Some(identity.group))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            hand_over(&entry.path(), identity)?;
        } else {
            lchown(entry.path(), Some(identity.user), Some(identity.group))?;
        }
    }
    Ok(())
}
