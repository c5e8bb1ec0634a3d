//! Syntax tree to plan: names, settings, loops.

mod body;
mod definitions;
mod effect;
pub mod paths;
mod sources;
mod unread;

use protocol::Plan;

use crate::Files;
use crate::finding::{Finding, Findings};
use crate::text::{Lines, Span};
use crate::tree::Script;

use definitions::Definitions;

/// What all parts of this need to know.
struct Context<'t> {
    /// Path of the script in its bundle.
    script: &'t str,
    text: &'t str,
    lines: &'t Lines<'t>,
    files: &'t dyn Files,
}

/// The plan of a script. It is whole where nothing was found that is an error.
pub fn plan(
    script: &str,
    text: &str,
    lines: &Lines<'_>,
    tree: &Script,
    files: &dyn Files,
    findings: &mut Findings,
) -> Plan {
    let context = Context { script, text, lines, files };
    let mut definitions = Definitions::collect(&context, tree, findings);
    let mut body = body::lower(&context, tree, &mut definitions, findings);
    definitions.warn_of_unused(&context, findings);
    if body.is_empty() && definitions.has_no_pipes() && !findings.has_errors() {
        let finding = Finding::name(Span::at(0), "the script calls no pipe, so nothing will run").warning();
        findings.add(finding.hint("a pipe is made by `p = step | step` and called by `p()`".to_owned()));
    }
    let used = sources::used_steps(&context, &definitions, &mut body, findings);
    Plan { script: script.to_owned(), sources: used.sources, steps: used.steps, body }
}
