//! What is wrong with a script, while it is being compiled: places are byte offsets still.

use protocol::diagnostic::Related;
use protocol::{Diagnostic, DiagnosticKind, Severity};

use crate::limits::{DIAGNOSTICS_MAX, QUOTE_CHARS_MAX};
use crate::text::{Lines, Span};

/// One thing that is wrong or doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    kind: DiagnosticKind,
    severity: Severity,
    span: Span,
    message: String,
    expected: Option<String>,
    hint: Option<String>,
    related: Vec<(Span, String)>,
}

impl Finding {
    /// The text is not of the language's form.
    pub fn syntax(span: Span, message: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::Syntax, span, message)
    }

    /// A name is unknown, or defined twice.
    pub fn name(span: Span, message: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::Name, span, message)
    }

    /// A file is missing.
    pub fn file(span: Span, message: impl Into<String>) -> Self {
        Self::new(DiagnosticKind::File, span, message)
    }

    fn new(kind: DiagnosticKind, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, severity: Severity::Error, span, message, expected: None, hint: None, related: Vec::new() }
    }

    /// The script can be used all the same.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// What belongs there.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The way out.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }

    /// Another place that belongs to it.
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related.push((span, message.into()));
        self
    }

    fn diagnostic(self, file: &str, lines: &Lines<'_>) -> Diagnostic {
        let (start, end) = (lines.place(self.span.start()), lines.place(self.span.end()));
        Diagnostic {
            kind: self.kind,
            severity: self.severity,
            file: file.to_owned(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            message: self.message,
            expected: self.expected,
            hint: self.hint,
            related: self.related.into_iter().map(|(span, message)| related(span, message, lines)).collect(),
        }
    }
}

fn related(span: Span, message: String, lines: &Lines<'_>) -> Related {
    let (start, end) = (lines.place(span.start()), lines.place(span.end()));
    Related { line: start.line, column: start.column, end_line: end.line, end_column: end.column, message }
}

/// All that was found so far. Keeps a bounded number of errors and of warnings, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    left_out: usize,
}

impl Findings {
    /// Kept per severity before they are put in order, so that the first ones of the file are among them.
    const KEPT_MAX: usize = 100 * DIAGNOSTICS_MAX;

    /// One more.
    pub fn add(&mut self, finding: Finding) {
        let list = if finding.severity == Severity::Error { &mut self.errors } else { &mut self.warnings };
        if list.len() < Self::KEPT_MAX {
            list.push(finding);
        } else {
            self.left_out += 1;
        }
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Forgets the errors that came after the first `count`: they followed from one that was said already.
    pub fn forget_errors_after(&mut self, count: usize) {
        self.errors.truncate(count);
    }

    /// Whether the script cannot be used.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// In the order of the file; of too many the first ones, errors before warnings, and a last one that says so.
    pub fn into_diagnostics(mut self, file: &str, lines: &Lines<'_>) -> Vec<Diagnostic> {
        let order = |finding: &Finding| (finding.span.start(), finding.span.end());
        self.errors.sort_by_key(order);
        self.warnings.sort_by_key(order);
        let mut kept = self.errors;
        kept.append(&mut self.warnings);
        let left_out = self.left_out + kept.len().saturating_sub(DIAGNOSTICS_MAX);
        let first_left_out = kept.get(DIAGNOSTICS_MAX).map(|finding| (finding.span, finding.severity));
        kept.truncate(DIAGNOSTICS_MAX);
        kept.sort_by_key(order);
        if let Some((span, severity)) = first_left_out {
            let span = kept.last().map_or(span, |last| span.max(last.span));
            let more = Finding::syntax(span, format!("{left_out} more problems are not shown"));
            kept.push(Finding { severity, ..more });
        }
        kept.into_iter().map(|finding| finding.diagnostic(file, lines)).collect()
    }
}

/// A piece of the script for a message: in backticks, on one line, not endless.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (count, character) in text.chars().enumerate() {
        if count == QUOTE_CHARS_MAX {
            quoted.push('…');
            break;
        }
        match visible(character) {
            true => quoted.push(character),
            false => quoted.extend(character.escape_unicode()),
        }
    }
    quoted.push('`');
    quoted
}

/// Whether a character shows on a terminal as itself and moves nothing else.
fn visible(character: char) -> bool {
    let reorders = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{a0}');
    !(character.is_control() || reorders)
}
