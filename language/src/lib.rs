//! The .bue language: text to plan, with diagnostics. Pure: no IO, no clock, no async.
//!
//! A script goes through three layers, each of which knows nothing of the next one:
//!
//! 1. `reader` and `bue.pest` (the grammar of one statement) → `parser` → [`tree`]: what is written, with its places.
//! 2. `meaning`: names, settings, loops → [`protocol::Plan`].
//! 3. [`render()`]: what is wrong, for people. Programs take the [`Diagnostic`]s as they are.
//!
//! Beside this way, [`format()`] writes a syntax tree anew, and [`index`] answers what editors ask.
//!
//! No text can panic the compiler, hang it, or fill the memory: see [`limits`].

mod expression;
mod finding;
mod format;
mod grammar;
pub mod index;
pub mod limits;
mod meaning;
mod parser;
mod reader;
mod render;
mod suggest;
pub mod text;
pub mod tree;

use std::borrow::Cow;

use protocol::{Diagnostic, Plan};

pub use format::{FormatError, format};
pub use meaning::paths::{beside, resolve};
pub use parser::LANGUAGE_WORDS;
pub use parser::settings::WORDS as SETTING_WORDS;
pub use render::render;

use finding::{Finding, Findings};
use limits::SCRIPT_BYTES_MAX;
use text::{Lines, Span};

/// What the compiler may know of the files around a script. Paths are those of the bundle, with `/` between folders.
pub trait Files {
    /// Whether the bundle has this file.
    fn has(&self, path: &str) -> bool;
    /// All files, for hints.
    fn paths(&self) -> Vec<String>;
}

/// What came of a script.
#[derive(Debug)]
pub struct Compiled {
    /// What is to be done; `Some` exactly when no diagnostic is an error.
    pub plan: Option<Plan>,
    /// Errors and warnings, the first in the file first.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles the script at the path `script` of its bundle. Step files are found beside it.
#[must_use]
pub fn compile(script: &str, text: &[u8], files: &dyn Files) -> Compiled {
    let mut findings = Findings::default();
    let text = decode(text, &mut findings);
    let lines = Lines::of(&text);
    let plan = if findings.has_errors() {
        None
    } else {
        let tree = parser::parse(&text, &mut findings);
        let plan = meaning::plan(script, &text, &lines, &tree, files, &mut findings);
        Some(plan).filter(|_| !findings.has_errors())
    };
    Compiled { plan, diagnostics: findings.into_diagnostics(script, &lines) }
}

/// The text, up to where it is none.
fn decode<'t>(bytes: &'t [u8], findings: &mut Findings) -> Cow<'t, str> {
    if bytes.len() > SCRIPT_BYTES_MAX {
        let message = format!("the script has {} bytes, more than the {SCRIPT_BYTES_MAX} allowed", bytes.len());
        findings.add(Finding::syntax(Span::at(0), message));
        return Cow::Borrowed("");
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let bad = bytes[error.valid_up_to()];
            let finding = Finding::syntax(Span::at(valid.len()), format!("byte 0x{bad:02x} is not valid UTF-8"));
            findings.add(finding.hint("save the script as UTF-8".to_owned()));
            String::from_utf8_lossy(valid)
        }
    }
}
