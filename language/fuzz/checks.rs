//! What holds of every text: shared by the fuzz targets, the replay of their corpus, and the property tests.
#![allow(dead_code, reason = "nobody who shares this module needs all of it")]

use bue_language::text::{Lines, Place};
use bue_language::{Files, compile, format, render};
use protocol::{Diagnostic, Plan, Severity, Source, Statement};

/// Files whose paths hold no `b`.
struct SomeFiles;

impl Files for SomeFiles {
    fn has(&self, path: &str) -> bool {
        !path.contains('b')
    }

    fn paths(&self) -> Vec<String> {
        vec!["a.py".to_owned(), "steps/c.py".to_owned()]
    }
}

/// Any bytes give a plan or errors, in order, with places inside the text, which can be shown on a terminal.
pub fn compiles(bytes: &[u8]) {
    let compiled = compile("script.bue", bytes, &SomeFiles);
    let has_error = compiled.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(compiled.plan.is_none(), has_error, "{:?}", compiled.diagnostics);
    if let Some(plan) = &compiled.plan {
        is_sound(plan);
    }
    let text = String::from_utf8_lossy(bytes);
    let lines = Lines::of(&text);
    for diagnostic in &compiled.diagnostics {
        lies_inside(diagnostic, &lines);
    }
    let places: Vec<(u32, u32)> = compiled.diagnostics.iter().map(|found| (found.line, found.column)).collect();
    assert!(places.is_sorted(), "{places:?}");
    let shown = render(&compiled.diagnostics, &text, false);
    assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\n'), "{shown:?}");
}

/// Every number in a plan names something that is there.
fn is_sound(plan: &Plan) {
    assert!(plan.steps.iter().all(|step| (step.source as usize) < plan.sources.len()));
    assert!(calls_are_sound(&plan.body, plan.steps.len()), "{plan:?}");
}

fn calls_are_sound(body: &[Statement], steps: usize) -> bool {
    body.iter().all(|statement| {
        let (call, inner) = match statement {
            Statement::Call(call) => (call, None),
            Statement::Loop(of) => (&of.source, Some(&of.body)),
        };
        let body_is_sound = inner.is_none_or(|body| !body.is_empty() && calls_are_sound(body, steps));
        !call.steps.is_empty() && call.steps.iter().all(|step| (*step as usize) < steps) && body_is_sound
    })
}

fn lies_inside(diagnostic: &Diagnostic, lines: &Lines<'_>) {
    let related = diagnostic.related.iter().map(|place| (place.line, place.column, place.end_line, place.end_column));
    let own = (diagnostic.line, diagnostic.column, diagnostic.end_line, diagnostic.end_column);
    for (line, column, end_line, end_column) in related.chain([own]) {
        assert!((line, column) <= (end_line, end_column), "{diagnostic:?}");
        for place in [Place { line, column }, Place { line: end_line, column: end_column }] {
            let text = lines.text(place.line);
            assert!(text.is_some_and(|text| place.column as usize <= text.chars().count() + 1), "{diagnostic:?}");
        }
    }
}

/// A text that can be formatted keeps its meaning and its comments; formatting it again changes nothing.
pub fn formats(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(once) = format(text) else { return };
    let twice = format(&once).unwrap_or_else(|error| panic!("{error:?}: {text:?} became {once:?}"));
    assert_eq!(twice, once, "from {text:?}");
    assert_eq!(meaning(&once), meaning(text), "{text:?} became {once:?}");
    assert_eq!(comments(&once), comments(text), "{text:?} became {once:?}");
}

/// The plan without the numbers of lines, and the messages of what is wrong.
fn meaning(text: &str) -> (Option<Plan>, Vec<String>) {
    let compiled = compile("script.bue", text.as_bytes(), &SomeFiles);
    let messages = compiled.diagnostics.into_iter().map(|found| found.message).collect();
    (compiled.plan.map(without_lines), messages)
}

fn without_lines(mut plan: Plan) -> Plan {
    plan.steps.iter_mut().for_each(|step| step.line = 0);
    for source in &mut plan.sources {
        if let Source::Code { line, .. } = source {
            *line = 0;
        }
    }
    without_lines_in(&mut plan.body);
    plan
}

fn without_lines_in(body: &mut [Statement]) {
    for statement in body {
        match statement {
            Statement::Call(call) => call.line = 0,
            Statement::Loop(of) => {
                (of.line, of.source.line) = (0, 0);
                without_lines_in(&mut of.body);
            }
        }
    }
}

/// Everything from a `#` to the end of its line: the comments, and what looks like one in code. Blanks do not count.
fn comments(text: &str) -> Vec<String> {
    let comment = |line: &str| line.find('#').map(|at| line[at..].replace(char::is_whitespace, ""));
    text.split(['\n', '\r']).filter_map(comment).collect()
}
