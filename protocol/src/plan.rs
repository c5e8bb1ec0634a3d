//! What a compiled script says is to be done: its steps, and its calls and loops in program order.
//!
//! Made by the language, carried out by the hub. All names are resolved: an argument names the call or
//! loop it takes its value from, so that nobody after the compiler needs to know the scoping rules.

use serde::{Deserialize, Serialize};

/// The whole script, compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Path of the script in its bundle, with `/` between folders.
    pub script: String,
    /// Sources of steps; several steps may share one.
    pub sources: Vec<Source>,
    /// Steps that a pipe of some call uses, in order of definition.
    pub steps: Vec<Step>,
    /// Calls and loops in program order.
    pub body: Vec<Statement>,
}

/// Where the code of a step is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file of the bundle: its path from the bundle's root, with `/` between folders.
    File(String),
    /// Code written in the script itself.
    Code {
        /// The text between the backticks, verbatim.
        text: String,
        /// Line of the script (from 1) on which the first character of `text` stands.
        line: u32,
    },
}

/// A step's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in the script.
    pub name: String,
    /// What its source is written in.
    pub language: Language,
    /// Python: an attribute of the module that can be called. SQL: the name of the first input table.
    pub function: String,
    /// Index into [`Plan::sources`].
    pub source: u32,
    /// How it is scheduled and bounded.
    #[serde(flatten)]
    pub settings: Settings,
    /// Line of the script (from 1) where it is defined.
    pub line: u32,
}

/// Languages a step can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python 3.9 or later.
    Python,
    /// SQLite, in memory.
    Sqlite3,
    /// PostgreSQL.
    Postgres,
    /// DuckDB, in memory.
    Duckdb,
}

impl Language {
    /// The canonical word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Sqlite3 => "sqlite3",
            Self::Postgres => "postgres",
            Self::Duckdb => "duckdb",
        }
    }
}

/// How a step is scheduled and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Routing queue; a worker names the scopes it serves.
    pub scope: String,
    /// Higher runs first within its scope.
    pub priority: i64,
    /// Longest time of one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Further attempts after an error, a timeout or a crash of the step.
    pub retries: u32,
    /// Pauses before these; the hub's where the step names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// What its attempts run in and may use.
    #[serde(default, skip_serializing_if = "Runtime::is_default")]
    pub runtime: Runtime,
}

/// Pauses before further attempts: the bound doubles from `first_ms` to `longest_ms`, the pause is random below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Bound of the first pause, in milliseconds; at least 1.
    pub first_ms: u64,
    /// Bound of every pause, in milliseconds; at least `first_ms`.
    pub longest_ms: u64,
}

impl Backoff {
    /// The longest bound a step can ask for: a day.
    pub const LONGEST_MS_MAX: u64 = 24 * 3_600_000;
}

/// What the attempts of a step run in and may use. What is not named is the worker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// How the interpreter of an attempt comes about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Most memory of an attempt, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most time on a processor, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Most processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Whether it may use the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// Variables of the worker's environment that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Secrets of the hub that it gets as variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Version of the interpreter, as `3.12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Python packages it needs, each as pip takes it; a file of the bundle is written `-r path`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Name of the database connection of a postgres step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
}

impl Runtime {
    /// Whether the step asks for nothing of its own.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How the interpreter of an attempt comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Forked from a warm interpreter: the default.
    Forked,
    /// A new interpreter for each attempt.
    Fresh,
    /// One interpreter for many attempts of `async def` steps at once.
    Shared,
}

impl Settings {
    /// Scope of a step that names none.
    pub const DEFAULT_SCOPE: &'static str = "default";
    /// Time limit of a step that names none: 20 minutes.
    pub const DEFAULT_TIMEOUT_MS: u64 = 1_200_000;
    /// The longest time limit a step can ask for: 30 days.
    pub const TIMEOUT_MS_MAX: u64 = 30 * 24 * 3_600_000;
    /// The most retries a step can ask for.
    pub const RETRIES_MAX: u32 = 1_000;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scope: Self::DEFAULT_SCOPE.to_owned(),
            priority: 0,
            timeout_ms: Self::DEFAULT_TIMEOUT_MS,
            retries: 0,
            backoff: None,
            runtime: Runtime::default(),
        }
    }
}

/// One thing the script does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// `p()`, `v = p(a, b)`
    Call(Call),
    /// `for x in p():`
    Loop(Loop),
}

/// Number of a call in its plan, from 0 in program order; loop sources are calls too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u32);

/// Number of a loop in its plan, from 0 in program order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoopId(pub u32);

/// A call of a pipe: a chain of jobs, one for each step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number.
    pub id: CallId,
    /// Name of the pipe.
    pub pipe: String,
    /// The variable its result is assigned to.
    pub variable: Option<String>,
    /// The pipe's steps: indexes into [`Plan::steps`]; never empty.
    pub steps: Vec<u32>,
    /// Where the inputs of the first job come from, in order.
    pub arguments: Vec<Argument>,
    /// Whether a block deeper than this call's own takes its result as an argument.
    pub captured: bool,
    /// Line of the script, from 1.
    pub line: u32,
}

/// Where an argument's value comes from: always something that encloses or precedes the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// The last job of a call: of the same pass for calls of the same block, else of the enclosing pass that made it.
    Call(CallId),
    /// The current item of an enclosing loop.
    Item(LoopId),
}

/// A loop over the value of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// Its number.
    pub id: LoopId,
    /// The loop variable; items are named `<variable>_<index from 0>`.
    pub variable: String,
    /// The call whose value is the list.
    pub source: Call,
    /// What is done for each item; never empty.
    pub body: Vec<Statement>,
    /// Line of the script, from 1.
    pub line: u32,
}
