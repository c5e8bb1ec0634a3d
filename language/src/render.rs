//! Diagnostics as text for people: what is wrong, the excerpt with the place marked, what was expected, a hint.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use protocol::diagnostic::Related;
use protocol::{Diagnostic, DiagnosticKind, Severity};

use crate::text::{Lines, Place};

/// Longest piece of a line that is shown.
const LINE_BYTES_MAX: usize = 2_000;

/// All diagnostics as one text, each with its place in `text`; `colours` for terminals.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], text: &str, colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let lines = Lines::of(text);
    let mut rendered = String::new();
    for diagnostic in diagnostics {
        rendered.push_str(&renderer.render(&[report(diagnostic, &lines)]));
        rendered.push_str("\n\n");
    }
    if !rendered.is_empty() {
        rendered.pop();
    }
    rendered
}

fn report<'d>(diagnostic: &'d Diagnostic, lines: &Lines<'_>) -> Group<'d> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(word(diagnostic.kind))
        .elements(snippets(diagnostic, lines));
    if let Some(expected) = &diagnostic.expected {
        group = group.element(Level::NOTE.with_name("expected").message(expected.as_str()));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    group
}

fn word(kind: DiagnosticKind) -> &'static str {
    match kind {
        DiagnosticKind::Syntax => "syntax",
        DiagnosticKind::Name => "name",
        DiagnosticKind::File => "file",
        DiagnosticKind::Loop => "loop",
        DiagnosticKind::Step => "step",
    }
}

type Excerpt<'d> = Snippet<'d, annotate_snippets::Annotation<'d>>;

fn snippets<'d>(diagnostic: &'d Diagnostic, lines: &Lines<'_>) -> Vec<Excerpt<'d>> {
    let main = Mark {
        start: Place { line: diagnostic.line, column: diagnostic.column },
        end: Place { line: diagnostic.end_line, column: diagnostic.end_column },
        label: "",
        kind: AnnotationKind::Primary,
    };
    let others = diagnostic.related.iter().map(Mark::of);
    std::iter::once(main).chain(others).filter_map(|mark| excerpt(diagnostic, &mark, lines)).collect()
}

struct Mark<'d> {
    start: Place,
    end: Place,
    label: &'d str,
    kind: AnnotationKind,
}

impl<'d> Mark<'d> {
    fn of(related: &'d Related) -> Self {
        Self {
            start: Place { line: related.line, column: related.column },
            end: Place { line: related.end_line, column: related.end_column },
            label: &related.message,
            kind: AnnotationKind::Context,
        }
    }
}

/// The line of a place, cut where it is very long; a mark that goes on over lines is shown on its first one.
fn excerpt<'d>(diagnostic: &'d Diagnostic, mark: &Mark<'d>, lines: &Lines<'_>) -> Option<Excerpt<'d>> {
    let line = lines.text(mark.start.line)?;
    let start = byte_of(line, mark.start.column);
    let end = if mark.end.line == mark.start.line { byte_of(line, mark.end.column).max(start) } else { line.len() };
    let (shown, span) = cut(line, start..end);
    let annotation = mark.kind.span(span);
    let annotation = if mark.label.is_empty() { annotation } else { annotation.label(mark.label) };
    let path = Some(diagnostic.file.as_str()).filter(|path| !path.is_empty());
    Some(Snippet::source(shown).line_start(mark.start.line as usize).path(path).annotation(annotation))
}

fn byte_of(line: &str, column: u32) -> usize {
    line.char_indices().nth((column as usize).saturating_sub(1)).map_or(line.len(), |(at, _)| at)
}

fn cut(line: &str, span: Range<usize>) -> (String, Range<usize>) {
    let boundary = |mut at: usize| {
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(span.start.saturating_sub(LINE_BYTES_MAX / 2));
    let to = boundary((from + LINE_BYTES_MAX).min(line.len()));
    (harmless(&line[from..to]), span.start - from..span.end.min(to) - from)
}

/// Without the control characters U+0080 to U+009F, which some terminals obey; the others are replaced when it is drawn.
/// The stand-in has as many bytes, so that places stay where they are.
fn harmless(line: &str) -> String {
    line.replace(|letter| matches!(letter, '\u{80}'..='\u{9f}'), "\u{b7}")
}
