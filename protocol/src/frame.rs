//! Lines exchanged with the process that runs one step: newline-delimited JSON, one frame a line.
//!
//! The worker writes one [`StartFrame`] to the standard input of the process and reads one [`EndFrame`] from
//! its standard output, before which some [`DraftFrame`]s may come. Everything the step itself prints goes to standard error, which is the log. Values too large
//! for a line cross as files in the folder that the start frame names.
//!
//! `runner-python/buelon/runner/frames.py` mirrors this file.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ErrorKind, JobId, Language, RunId, StepError, ValueKind};

/// Name of the file, in the folder for values, into which programs for SQL write a table as it comes; it may yet be written anew.
pub const DRAFT_NAME: &str = "draft.arrow";

/// First line to the process: everything it needs to run one attempt of a Python or SQL step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartFrame {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
    pub protocol: u32,
    /// Run of the job.
    pub run: RunId,
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Name of the step.
    pub step: String,
    /// What the code is written in.
    #[serde(default = "python")]
    pub language: Language,
    /// Python: the function to call. SQL: the name of the first input table.
    pub function: String,
    /// The code.
    pub code: Code,
    /// Python: folders to put first on `sys.path`, in order.
    #[serde(default)]
    pub path: Vec<PathBuf>,
    /// Arguments, in order.
    pub inputs: Vec<Input>,
    /// Folder for values that are too large for a line; exists, is empty and is read and removed by the worker.
    pub values: PathBuf,
    /// Longest JSON text of a value inside the end frame, in bytes; longer ones go to a file.
    pub inline_bytes_max: u64,
    /// Largest value, in bytes; a larger one is an error of the step.
    pub value_bytes_max: u64,
    /// PostgreSQL: the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresFrame>,
    /// DuckDB: the program, and its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duckdb: Option<DuckdbFrame>,
}

/// The database of a PostgreSQL step, in a start frame of its own process and nowhere else.
#[derive(Clone, Serialize, Deserialize)]
pub struct PostgresFrame {
    /// Name or address of its machine, or the folder of its socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who connects.
    pub user: String,
    /// The user's password, where one is needed.
    #[serde(default)]
    pub password: Option<String>,
    /// Name of the database.
    pub database: String,
    /// Longest wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time of one statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Whether and how the connection is encrypted.
    #[serde(default)]
    pub tls: PostgresTls,
    /// PEM text of the certificates that the server is verified by; those of the system where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<String>,
}

/// Whether and how a connection to a database is encrypted: the words of `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresTls {
    /// Never.
    Disable,
    /// Where the server can.
    #[default]
    Prefer,
    /// Always; whoever the server is.
    Require,
    /// Always, and the server must be who it says.
    VerifyFull,
}

/// The program that runs DuckDB steps, and its bounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DuckdbFrame {
    /// The program.
    pub program: PathBuf,
    /// Memory it takes at most.
    pub memory_bytes_max: u64,
    /// Disk space in the folder for values that it takes at most for what memory does not hold.
    pub spill_bytes_max: u64,
    /// Threads it runs at most.
    pub threads_max: u32,
    /// Where each statement begins in the code, in bytes; filled in before the program starts.
    #[serde(default)]
    pub statements: Vec<usize>,
    /// Whether the last statement changes rows: it returns their number, which is no value of the step.
    #[serde(default)]
    pub changes_rows: bool,
    /// Names of the inputs' tables, in their order, where they are not those of a step's inputs. Inputs of one name become
    /// one table: its columns are all of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// A file to write the result into as Parquet, instead of the folder for values as Arrow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<PathBuf>,
}

/// Without the password.
impl fmt::Debug for PostgresFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database, .. } = self;
        write!(f, "PostgresFrame({user}@{host}:{port}/{database})")
    }
}

/// Frames that name no language are of Python steps.
fn python() -> Language {
    Language::Python
}

/// The code of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A file to load by its path.
    File(PathBuf),
    /// Text to run; tracebacks name the script and the lines in it.
    Text {
        /// The code.
        text: String,
        /// Path of the script.
        script: String,
        /// Line of the script on which `text` begins.
        line: u32,
    },
}

/// One argument of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A value in the frame itself.
    Json(Box<RawValue>),
    /// A file that holds one JSON document.
    JsonFile(PathBuf),
    /// A file that holds one Arrow IPC stream: a table.
    ArrowFile(PathBuf),
}

/// Lines from the process before its last: how far it has written the table that it will return. There are none of a small one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftFrame {
    /// Name of the file in the folder for values: of an Arrow IPC stream.
    pub draft: String,
    /// Bytes at its begin that stay as they are.
    pub bytes: u64,
}

/// Last line from the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EndFrame {
    /// The step returned.
    Result(ResultFrame),
    /// The step raised, or its value cannot be stored.
    Error(ErrorFrame),
}

impl EndFrame {
    /// What comes of a step that returns a value or fails.
    #[must_use]
    pub fn of(output: Result<Output, ErrorFrame>) -> Self {
        match output {
            Ok(output) => Self::Result(ResultFrame { status: Status::Success, value: Some(output), priority: None }),
            Err(error) => Self::Error(error),
        }
    }

    /// Its line.
    ///
    /// # Errors
    /// None for a frame of this version's own.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// The step returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResultFrame {
    /// What it said of itself.
    pub status: Status,
    /// Its value as a line of JSON in a string, or as a file; only with success.
    #[serde(default)]
    pub value: Option<Output>,
    /// New priority for the jobs that follow in the chain.
    #[serde(default)]
    pub priority: Option<i64>,
}

/// What a step can say of itself: the words of `StepStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Children may run.
    Success,
    /// This job again later.
    Pending,
    /// Its pipe from the start.
    Reset,
    /// It and what follows is not needed.
    Cancel,
}

/// A value that a step returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// What it is.
    pub kind: ValueKind,
    /// Elements, rows, entries or characters.
    #[serde(default)]
    pub length: Option<u64>,
    /// Where it is.
    pub place: OutputPlace,
}

/// Where a returned value is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputPlace {
    /// JSON text, as a string, so that a frame can be read without reading the value.
    Json(String),
    /// A file in the values folder that holds one JSON document: its name.
    JsonFile(String),
    /// A file in the values folder that holds one Arrow IPC stream: its name.
    ArrowFile(String),
}

/// The step raised, or its value cannot be stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// How it ended.
    pub kind: ErrorKind,
    /// One line.
    pub message: String,
    /// Traceback, where there is one.
    #[serde(default)]
    pub trace: Option<String>,
}

impl From<ErrorFrame> for StepError {
    fn from(frame: ErrorFrame) -> Self {
        Self { kind: frame.kind, message: frame.message, trace: frame.trace, lost: None }
    }
}
