//! What is wrong with a script, and where: data for people, editors and programs alike.

use serde::{Deserialize, Serialize};

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// What it is about.
    pub kind: DiagnosticKind,
    /// Whether the script can be used all the same.
    #[serde(default)]
    pub severity: Severity,
    /// The file it is in, as the user named it.
    #[serde(default)]
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column of its first character, from 1, in characters.
    pub column: u32,
    /// Line of its end.
    #[serde(default)]
    pub end_line: u32,
    /// Column after its last character.
    #[serde(default)]
    pub end_column: u32,
    /// One sentence that names the offending word.
    pub message: String,
    /// What was expected at the place, where one thing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The way out, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Other places that belong to it, such as the first of two definitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// Another place that belongs to a diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Line of its end.
    pub end_line: u32,
    /// Column after its last character.
    pub end_column: u32,
    /// What is there.
    pub message: String,
}

/// What a diagnostic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiagnosticKind {
    /// The text is not of the language's form.
    Syntax,
    /// A name is unknown, or defined twice.
    Name,
    /// A file is missing or cannot be read.
    File,
    /// At run time: the value of a loop's source is no list.
    Loop,
    /// At run time: a step failed.
    Step,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The script cannot be used.
    #[default]
    Error,
    /// The script can be used; something in it is probably not meant.
    Warning,
}
