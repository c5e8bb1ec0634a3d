//! The steps that calls use, with their sources; files that are missing.

use std::collections::{HashMap, HashSet};

use protocol::{Source, Statement, Step};

use super::definitions::{Definitions, StepDefinition};
use super::{Context, effect, paths};
use crate::finding::{Finding, Findings, quote};
use crate::limits::SUGGESTIONS_MAX;
use crate::suggest;
use crate::text::Span;
use crate::tree::SourceText;

/// Steps and sources of a plan.
pub struct Used {
    /// In the order in which steps name them first.
    pub sources: Vec<Source>,
    /// In order of definition.
    pub steps: Vec<Step>,
}

/// The steps that the calls of `body` use; renumbers the calls' steps accordingly.
pub fn used_steps(
    context: &Context<'_>,
    definitions: &Definitions<'_>,
    body: &mut [Statement],
    findings: &mut Findings,
) -> Used {
    let mut used = vec![false; definitions.steps.len()];
    each_step(body, &mut |step| used[*step as usize] = true);
    check_files(context, definitions, &used, findings);
    let mut collected = Used { sources: Vec::new(), steps: Vec::new() };
    let mut source_numbers: HashMap<SourceKey, u32> = HashMap::new();
    let mut numbers = vec![0; used.len()];
    for (number, step) in definitions.steps.iter().enumerate().filter(|(number, _)| used[*number]) {
        numbers[number] = u32::try_from(collected.steps.len()).unwrap_or(u32::MAX);
        collected.steps.extend(lower(context, step, &mut collected.sources, &mut source_numbers));
    }
    each_step(body, &mut |step| *step = numbers[*step as usize]);
    collected
}

#[derive(PartialEq, Eq, Hash)]
enum SourceKey {
    File(String),
    Code(Span),
}

fn lower(
    context: &Context<'_>,
    step: &StepDefinition,
    sources: &mut Vec<Source>,
    numbers: &mut HashMap<SourceKey, u32>,
) -> Option<Step> {
    let work = step.work?;
    let key = match work.source {
        SourceText::File(path) => SourceKey::File(paths::resolve(context.script, path.of(context.text)).ok()?),
        SourceText::Code(code) => SourceKey::Code(code),
    };
    let next = u32::try_from(sources.len()).unwrap_or(u32::MAX);
    let source = *numbers.entry(key).or_insert_with_key(|key| {
        sources.push(match key {
            SourceKey::File(path) => Source::File(path.clone()),
            SourceKey::Code(code) => {
                Source::Code { text: code.of(context.text).to_owned(), line: context.lines.line(code.start()) }
            }
        });
        next
    });
    Some(Step {
        name: step.name.of(context.text).to_owned(),
        language: work.language,
        function: work.function.of(context.text).to_owned(),
        source,
        settings: effect::of_use(work.language, &step.settings),
        line: context.lines.line(step.name.start()),
    })
}

fn each_step(body: &mut [Statement], act: &mut dyn FnMut(&mut u32)) {
    for statement in body {
        match statement {
            Statement::Call(call) => call.steps.iter_mut().for_each(&mut *act),
            Statement::Loop(of) => {
                of.source.steps.iter_mut().for_each(&mut *act);
                each_step(&mut of.body, act);
            }
        }
    }
}

/// A missing file is an error where a step that is used names it, else a warning.
fn check_files(context: &Context<'_>, definitions: &Definitions<'_>, used: &[bool], findings: &mut Findings) {
    let mut missing: HashMap<Span, (Finding, bool)> = HashMap::new();
    let mut present: HashSet<&str> = HashSet::new();
    let mut suggestions = 0;
    for (number, step) in definitions.steps.iter().enumerate() {
        let Some(SourceText::File(path)) = step.work.map(|work| work.source) else { continue };
        if let Some((_, needed)) = missing.get_mut(&path) {
            *needed |= used[number];
            continue;
        }
        let written = path.of(context.text);
        if present.contains(written) {
            continue;
        }
        suggestions += 1;
        match problem(context, path, suggestions <= SUGGESTIONS_MAX) {
            None => {
                present.insert(written);
                suggestions -= 1;
            }
            Some(finding) => {
                missing.insert(path, (finding, used[number]));
            }
        }
    }
    for (finding, needed) in missing.into_values() {
        findings.add(if needed { finding } else { finding.warning() });
    }
}

/// What is wrong with a path, if anything.
pub fn problem(context: &Context<'_>, path: Span, suggest: bool) -> Option<Finding> {
    let written = path.of(context.text);
    let resolved = match paths::resolve(context.script, written) {
        Ok(resolved) => resolved,
        Err(error) => {
            let finding = Finding::file(path, format!("the path {} {error}", quote(written)));
            return Some(finding.expected("the path of a file beside the script or in a folder below it"));
        }
    };
    if context.files.has(&resolved) {
        return None;
    }
    let finding = Finding::file(path, format!("file {} is not there", quote(written)));
    Some(finding.hint(if suggest { hint(context, written, &resolved) } else { None }))
}

fn hint(context: &Context<'_>, written: &str, resolved: &str) -> Option<String> {
    let unquoted = written.trim_matches(['"', '\'']);
    if unquoted != written {
        return Some(format!("a path stands without quotes: {}", quote(unquoted)));
    }
    if written.contains('\\') {
        return Some(format!("folders are separated by `/`: {}", quote(&written.replace('\\', "/"))));
    }
    let candidates = context.files.paths();
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or("").to_owned();
    let wanted = file_name(resolved);
    let near = suggest::nearest(resolved, candidates.iter().map(String::as_str))
        .or_else(|| candidates.iter().map(String::as_str).find(|path| file_name(path) == wanted))?;
    Some(format!("did you mean {}?", quote(&paths::beside(context.script, near))))
}
