//! `bue check`: says what is wrong with scripts, without running anything.

use std::path::Path;

use protocol::{Diagnostic, Severity};

use crate::bundle::Listing;
use crate::cli::CheckArguments;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::output;
use crate::settings::limits::BundleLimits;

/// Checks all files; fails when one of them is wrong.
pub fn run(context: &Context, arguments: &CheckArguments) -> Result {
    let mut wrong = false;
    for path in &arguments.files {
        wrong |= check(context, path)? == Verdict::Wrong;
    }
    if wrong { Err(Error::told(Kind::Usage)) } else { Ok(()) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
}

fn check(context: &Context, path: &Path) -> Result<Verdict> {
    let listing = Listing::collect(path, &context.data_dir, &BundleLimits::read(&context.sources)?)?;
    let text = listing.read(&listing.script)?;
    let compiled = language::compile(&listing.script, &text, &listing);
    show(path, &text, compiled.diagnostics.clone());
    listing.explain_missing(&compiled.diagnostics).iter().for_each(|note| output::note(note));
    if compiled.plan.is_some() {
        let steps = compiled.plan.map_or(0, |plan| plan.steps.len() as u64);
        output::note(&format!("{}: fine, {}", path.display(), output::plural(steps, "step", "steps")));
        Ok(Verdict::Right)
    } else {
        let errors = compiled.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        output::note(&format!("{}: {}", path.display(), output::plural(errors as u64, "error", "errors")));
        Ok(Verdict::Wrong)
    }
}

/// Shows diagnostics of a script at `path`, which is the name they should have for the user.
fn show(path: &Path, text: &[u8], mut diagnostics: Vec<Diagnostic>) {
    if diagnostics.is_empty() {
        return;
    }
    for diagnostic in &mut diagnostics {
        diagnostic.file = path.display().to_string();
    }
    let text = String::from_utf8_lossy(text);
    output::note(language::render(&diagnostics, &text, output::colours()).trim_end());
}
