//! How a worker is to work: its settings and its limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::enclosure::Sandbox;
use crate::engines::Engines;
use crate::environments;
use crate::groups::Groups;
use crate::python::Python;

/// Settings of one worker.
#[derive(Debug, Clone)]
pub struct Config {
    /// Attempts that run at once; at least 1.
    pub slots: usize,
    /// Scopes it serves, in order: earlier ones go first.
    pub scopes: Vec<String>,
    /// Where it keeps its cache and the scratch folders of running steps. Two workers may share it.
    pub data_dir: PathBuf,
    /// The interpreter of Python steps.
    pub python: Python,
    /// How an interpreter is started for a step.
    pub start: Start,
    /// Where Python environments with packages are kept; `None`: in the data folder.
    pub environments: Option<PathBuf>,
    /// `uv`, which makes environments faster than `venv` and `pip`, where it is there.
    pub uv: Option<PathBuf>,
    /// Whether packages may be installed from source, which runs what they bring.
    pub packages_from_source: bool,
    /// Where steps run, and with what environment.
    pub mode: Mode,
    /// The program that runs SQL steps when it is called with `sql-step`: `bue` itself.
    pub program: PathBuf,
    /// What SQL steps need besides.
    pub engines: Engines,
    /// How steps are shut in.
    pub sandbox: Sandbox,
    /// Control groups that bound all steps together, where there are any.
    pub groups: Option<Arc<Groups>>,
    /// Called a while after large tables have been read or written, and left much memory free.
    pub after_large: fn(),
    /// Bounds of everything that could grow.
    pub limits: Limits,
}

impl Config {
    /// Slots of a worker that is not told how many: steps mostly wait for others.
    pub const SLOTS: usize = 16;

    /// Settings with defaults: a fleet's worker, this very program for SQL steps.
    ///
    /// # Errors
    /// When the path of this program is not known.
    pub fn new(data_dir: PathBuf, python: Python) -> std::io::Result<Self> {
        Ok(Self {
            slots: Self::SLOTS,
            scopes: default_scopes(),
            data_dir,
            python,
            start: Start::default(),
            environments: None,
            uv: environments::find_uv(),
            packages_from_source: false,
            mode: Mode::Fleet { environment: BTreeMap::new() },
            program: std::env::current_exe()?,
            engines: Engines::default(),
            sandbox: Sandbox::off(),
            groups: None,
            after_large: || (),
            limits: Limits::default(),
        })
    }
}

/// The scopes of a worker that is not told which.
#[must_use]
pub fn default_scopes() -> Vec<String> {
    let sizes = ["production-very-heavy", "production-heavy", "production-medium", "production-small"];
    let tests = ["testing-heavy", "testing-medium", "testing-small", "default"];
    sizes.into_iter().chain(tests).map(str::to_owned).collect()
}

/// How an interpreter is started for a Python step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// A new interpreter for each attempt.
    Fresh,
    /// A fork of a warm interpreter for each attempt.
    #[default]
    Forked,
}

/// Where steps run, and with what environment.
#[derive(Debug, Clone)]
pub enum Mode {
    /// In a private scratch folder that holds the bundle's files, with a cleared environment.
    Fleet {
        /// Variables that steps get beside the few that every step gets.
        environment: BTreeMap<OsString, OsString>,
    },
    /// As the user, with the user's environment, in the script's folder.
    Local {
        /// The bundle's root on this machine.
        folder: PathBuf,
    },
}

/// Bounds of everything that could grow or take long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long the hub may keep a request for work waiting.
    pub lease_wait: Duration,
    /// Time between beats until the hub names another.
    pub beat: Duration,
    /// Shortest pause before something that failed is tried again.
    pub backoff_min: Duration,
    /// Longest pause before something that failed is tried again.
    pub backoff_max: Duration,
    /// From the polite signal to the one that cannot be refused.
    pub stop_grace: Duration,
    /// From a step's answer to the end of its process.
    pub exit_grace: Duration,
    /// At shutdown: how long running attempts may go on.
    pub drain: Duration,
    /// At shutdown: how long outcomes are offered to a hub that does not answer.
    pub settle_drain: Duration,
    /// How long an attempt waits in its slot for a hub or bucket that is away, before it is handed back.
    pub patience: Duration,
    /// Pause the hub is asked for when an attempt is handed back.
    pub release_delay: Duration,
    /// Shortest time between two requests of a kind while there is much to do: what gathers meanwhile goes in one.
    pub request_pause: Duration,
    /// Values up to this size travel inside lease and settlement.
    pub inline_bytes_max: u64,
    /// Largest value of a step.
    pub value_bytes_max: u64,
    /// Disk space for lists that single elements are cut out of.
    pub lists_bytes_max: u64,
    /// Disk space for tables that were stored or read last; 0: none is kept.
    pub tables_bytes_max: u64,
    /// Longest line a step's process may answer with.
    pub frame_bytes_max: usize,
    /// Most bytes of a step's log that are kept: the first and the last half.
    pub log_bytes_max: usize,
    /// Logs up to this size travel inside the settlement.
    pub log_inline_bytes_max: usize,
    /// Bytes of the log of an attempt that runs that wait to be told to the hub.
    pub live_log_bytes_max: usize,
    /// Time between two tellings of logs of attempts that run.
    pub live_log_pause: Duration,
    /// Plans and manifests that are kept in memory.
    pub plans_max: usize,
    /// Size of the files of bundles that are kept on disk; older ones are removed when a worker starts.
    pub cache_bytes_max: u64,
    /// Disk space of Python environments; the ones longest unused are removed.
    pub environments_bytes_max: u64,
    /// Python environments not used for this long are removed.
    pub environment_age_max: Duration,
    /// Longest time to make one.
    pub environment_timeout: Duration,
    /// How long one that could not be made is not tried again.
    pub environment_retry: Duration,
    /// Warm interpreters: one for each Python environment in use.
    pub warm_max: usize,
    /// Further ones, that have loaded what steps import.
    pub preloads_max: usize,
    /// Scratch folders that hold a bundle's files, each with a cell of the sandbox, kept for the next attempt.
    pub idle_cells_max: usize,
    /// Processes that wait in such cells, forked before there is a step for them.
    pub stand_by_max: usize,
    /// SQL steps that are begun while the table that they take is still being stored; 0: none.
    pub ahead_max: usize,
    /// How long such a step is kept for its lease when the table is stored.
    pub ahead_kept: Duration,
    /// Memory that is left alone: no further attempts are begun when less is available.
    pub memory_reserve_bytes: u64,
    /// Memory that is counted for each further attempt with a process of its own.
    pub slot_memory_bytes: u64,
    /// Attempts that run at once in shared interpreters; they take no other slots.
    pub shared_slots: u32,
    /// Attempts that one shared interpreter runs before another takes its place.
    pub shared_attempts_max: u64,
    /// Memory that a shared interpreter has before another takes its place.
    pub shared_memory_bytes_max: u64,
    /// Longest wait for a connection to PostgreSQL.
    pub postgres_connect_timeout: Duration,
    /// Memory of all steps together, where control groups can be made; 0: all there is but the reserve.
    pub steps_memory_bytes_max: u64,
    /// Processes and threads of all steps together, likewise; 0: seven eighths of what the system can have.
    pub steps_processes_max: u64,
    /// Memory of one process of a step.
    pub step_memory_bytes_max: u64,
    /// Time on a processor of one process of a step.
    pub step_cpu_max: Duration,
    /// Processes and threads of a step at once.
    pub step_processes_max: u64,
    /// Disk space of a step: all that is in its scratch folder.
    pub step_scratch_bytes_max: u64,
    /// Files and folders in the scratch folder of a step.
    pub step_scratch_files_max: u64,
    /// Open files and sockets of one process of a step.
    pub step_open_files_max: u64,
    /// Memory of one DuckDB step.
    pub duckdb_memory_bytes_max: u64,
    /// Disk space of one DuckDB step for what its memory does not hold.
    pub duckdb_spill_bytes_max: u64,
    /// Threads of one DuckDB step.
    pub duckdb_threads_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease_wait: Duration::from_secs(20),
            beat: Duration::from_secs(3),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            stop_grace: Duration::from_secs(5),
            exit_grace: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            settle_drain: Duration::from_secs(10),
            patience: Duration::from_secs(60),
            release_delay: Duration::from_secs(15),
            request_pause: Duration::from_millis(10),
            inline_bytes_max: 16 * 1024,
            value_bytes_max: 1024 * 1024 * 1024,
            lists_bytes_max: 2 * 1024 * 1024 * 1024,
            tables_bytes_max: 512 * 1024 * 1024,
            frame_bytes_max: 4 * 1024 * 1024,
            log_bytes_max: 1024 * 1024,
            log_inline_bytes_max: 4 * 1024,
            live_log_bytes_max: 64 * 1024,
            live_log_pause: Duration::from_millis(500),
            plans_max: 256,
            cache_bytes_max: 4 * 1024 * 1024 * 1024,
            environments_bytes_max: 10 * 1024 * 1024 * 1024,
            environment_age_max: Duration::from_secs(30 * 86_400),
            environment_timeout: Duration::from_secs(600),
            environment_retry: Duration::from_secs(60),
            warm_max: 8,
            preloads_max: 6,
            idle_cells_max: 32,
            stand_by_max: 3,
            ahead_max: 2,
            ahead_kept: Duration::from_secs(5),
            memory_reserve_bytes: 128 * 1024 * 1024,
            slot_memory_bytes: 32 * 1024 * 1024,
            shared_slots: 2_048,
            shared_attempts_max: 100_000,
            shared_memory_bytes_max: 512 * 1024 * 1024,
            postgres_connect_timeout: Duration::from_secs(10),
            steps_memory_bytes_max: 0,
            steps_processes_max: 0,
            step_memory_bytes_max: 2 * 1024 * 1024 * 1024,
            step_cpu_max: Duration::from_secs(3_600),
            step_processes_max: 256,
            step_scratch_bytes_max: 4 * 1024 * 1024 * 1024,
            step_scratch_files_max: 100_000,
            step_open_files_max: 4_096,
            duckdb_memory_bytes_max: 1024 * 1024 * 1024,
            duckdb_spill_bytes_max: 16 * 1024 * 1024 * 1024,
            duckdb_threads_max: 2,
        }
    }
}
