//! `bue check`: says what is wrong with scripts, without running anything.

use std::path::{Path, PathBuf};

use language::Compiled;
use protocol::{Diagnostic, Severity};
use serde::Serialize;

use crate::bundle::Listing;
use crate::cli::CheckArguments;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::settings::limits::BundleLimits;

/// Checks all files; fails when one of them is wrong.
pub fn run(context: &Context, arguments: &CheckArguments) -> Result {
    let mut reports = Vec::new();
    let mut wrong = false;
    for path in &arguments.files {
        let checked = Checked::of(context, path)?;
        wrong |= checked.compiled.plan.is_none();
        if arguments.json {
            reports.push(Report::of(&checked));
        } else {
            show(&checked);
            sum_up(&checked);
        }
    }
    if arguments.json {
        output::print(&serde_json::to_string(&Reports { files: reports }).map_err(Error::internal)?)?;
    }
    if wrong { Err(Error::told(Kind::Usage)) } else { Ok(()) }
}

/// A script that was compiled, and what it was compiled from.
pub struct Checked {
    path: PathBuf,
    text: String,
    notes: Vec<String>,
    /// What came of it; its diagnostics name the file as the user did.
    pub compiled: Compiled,
}

impl Checked {
    /// Compiles the script at `path` with the files that would travel with it.
    pub fn of(context: &Context, path: &Path) -> Result<Self> {
        let limits = BundleLimits::read(&context.sources)?;
        let listing = Listing::collect(path, &context.data_dir, limits.entries_max)?;
        let text = listing.read(&listing.script)?;
        let mut compiled = language::compile(&listing.script, &text, &listing);
        for diagnostic in &mut compiled.diagnostics {
            diagnostic.file = path.display().to_string();
        }
        let mut notes = listing.explain_missing(&compiled.diagnostics);
        if let Err(error) = listing.check(&limits) {
            notes.push(format!("warning: `bue upload` refuses this script: {error}"));
        }
        Ok(Self { path: path.to_owned(), text: String::from_utf8_lossy(&text).into_owned(), notes, compiled })
    }
}

/// Shows the diagnostics of a script.
pub fn show(checked: &Checked) {
    let diagnostics = &checked.compiled.diagnostics;
    if !diagnostics.is_empty() {
        output::note_coloured(language::render(diagnostics, &checked.text, output::colours()).trim_end());
    }
    checked.notes.iter().for_each(|note| output::note(note));
}

fn sum_up(checked: &Checked) {
    let path = checked.path.display();
    output::note(&match &checked.compiled.plan {
        Some(plan) => format!("{path}: fine, {}", output::plural(plan.steps.len() as u64, "step", "steps")),
        None => format!("{path}: {}", output::plural(count_errors(&checked.compiled.diagnostics), "error", "errors")),
    });
}

fn count_errors(diagnostics: &[Diagnostic]) -> u64 {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count() as u64
}

/// What `--json` prints.
#[derive(Serialize)]
struct Reports {
    files: Vec<Report>,
}

#[derive(Serialize)]
struct Report {
    file: String,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl Report {
    fn of(checked: &Checked) -> Self {
        let all = checked.compiled.diagnostics.iter().cloned();
        let (errors, warnings) = all.partition(|diagnostic| diagnostic.severity == Severity::Error);
        Self { file: checked.path.display().to_string(), errors, warnings }
    }
}
