//! The syntax tree: what is written in a script, piece by piece, each with its place. Names are not resolved.

use protocol::{Backoff, Isolation, Language};

use crate::text::Span;

/// A whole script.
#[derive(Debug, Default)]
pub struct Script {
    /// What one level of indentation is, where the script says it, with the place of the line.
    pub tab: Option<Span>,
    /// The leading JSON object of older scripts.
    pub preamble: Option<Span>,
    /// What stands at the margin, in order.
    pub items: Vec<Item>,
    /// What could not be read: names in there may be defined or used.
    pub unread: Vec<Span>,
}

impl Script {
    /// One level of indentation, as the script says it, or four spaces.
    #[must_use]
    pub fn unit<'t>(&self, text: &'t str) -> &'t str {
        crate::parser::unit(text, self.tab)
    }
}

/// What stands at the margin.
#[derive(Debug)]
pub enum Item {
    /// Settings for the steps below.
    Settings(Vec<Setting>),
    /// `name:` and its lines
    Step(Step),
    /// `import …`
    Import(Import),
    /// A pipe, a call or a loop.
    Statement(Statement),
}

/// One setting.
#[derive(Debug, Clone)]
pub struct Setting {
    /// All of it, from its `!` or `$` on.
    pub span: Span,
    /// What it sets.
    pub value: SettingValue,
}

/// What a setting sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingValue {
    /// The scope's name.
    Scope(Span),
    /// The priority.
    Priority(i64),
    /// The time limit of one attempt.
    Timeout {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// Further attempts.
    Retries(u32),
    /// Pauses before these.
    Backoff(Backoff),
    /// How an attempt's interpreter comes about.
    Isolation(Isolation),
    /// Most memory.
    Memory {
        /// In bytes.
        bytes: u64,
    },
    /// Most time on a processor.
    Cpu {
        /// In milliseconds.
        milliseconds: u64,
    },
    /// Most processes.
    Processes(u32),
    /// Whether there is a network.
    Network(bool),
    /// Names of variables, apart by blanks.
    Env(Span),
    /// Names of secrets, apart by blanks.
    Secret(Span),
    /// A version of Python.
    Python(Span),
    /// Packages and files of packages, apart by blanks.
    Requirements(Span),
    /// The name of a database connection.
    Connection(Span),
}

impl SettingValue {
    /// The newer form's word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Scope(_) => "scope",
            Self::Priority(_) => "priority",
            Self::Timeout { .. } => "timeout",
            Self::Retries(_) => "retries",
            Self::Backoff(_) => "backoff",
            Self::Isolation(_) => "isolation",
            Self::Memory { .. } => "memory",
            Self::Cpu { .. } => "cpu",
            Self::Processes(_) => "processes",
            Self::Network(_) => "network",
            Self::Env(_) => "env",
            Self::Secret(_) => "secret",
            Self::Python(_) => "python",
            Self::Requirements(_) => "requirements",
            Self::Connection(_) => "connection",
        }
    }
}

/// A step.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub name: Span,
    /// From the name to its last line.
    pub span: Span,
    /// Its settings, in order.
    pub settings: Vec<Setting>,
    /// Language, function and source; `None` where they could not be read.
    pub work: Option<Work>,
}

/// What a step runs.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Its language.
    pub language: Language,
    /// Where the language stands.
    pub language_span: Span,
    /// The function, or the name of the first table.
    pub function: Span,
    /// Where its code is.
    pub source: SourceText,
}

/// Where the code of a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceText {
    /// The path of a file.
    File(Span),
    /// The code between the backticks.
    Code(Span),
}

/// Steps that share a source.
#[derive(Debug)]
pub struct Import {
    /// All of it.
    pub span: Span,
    /// The byte behind the bracket that closes the list.
    pub brackets_end: usize,
    /// The language; `None` where it could not be read.
    pub language: Option<(Language, Span)>,
    /// The steps.
    pub items: Vec<ImportItem>,
    /// The shared source; `None` where it could not be read.
    pub source: Option<SourceText>,
}

/// One step of an import.
#[derive(Debug)]
pub struct ImportItem {
    /// The function, or the name of the first table.
    pub function: Span,
    /// The step's name, where it is not the function's.
    pub alias: Option<Span>,
    /// Its settings, in order.
    pub settings: Vec<Setting>,
}

impl ImportItem {
    /// The step's name.
    pub fn name(&self) -> Span {
        self.alias.unwrap_or(self.function)
    }
}

/// A pipe, a call or a loop.
#[derive(Debug)]
pub enum Statement {
    /// `p = a | b`
    Pipe(Pipe),
    /// `p()`
    Call(Call),
    /// `for x in p():`
    Loop(Loop),
}

/// A pipe.
#[derive(Debug)]
pub struct Pipe {
    /// All of it.
    pub span: Span,
    /// Its name.
    pub name: Span,
    /// The names of its steps, in order.
    pub steps: Vec<Span>,
}

/// A call of a pipe.
#[derive(Debug)]
pub struct Call {
    /// All of it.
    pub span: Span,
    /// The variable that it is assigned to.
    pub variable: Option<Span>,
    /// The pipe's name.
    pub pipe: Span,
    /// The arguments' names.
    pub arguments: Vec<Span>,
}

/// A loop.
#[derive(Debug)]
pub struct Loop {
    /// Its first line.
    pub span: Span,
    /// The loop variable.
    pub variable: Span,
    /// The call whose value is the list.
    pub source: Call,
    /// Its statements.
    pub body: Vec<Statement>,
}
