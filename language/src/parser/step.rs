//! `name:` and the lines of the step.

use protocol::bundle::PATH_BYTES_MAX;

use super::{LANGUAGE_WORDS, Parser, settings};
use crate::finding::{Finding, quote};
use crate::grammar::{self, Rule};
use crate::reader::Row;
use crate::text::Span;
use crate::tree::{Setting, SourceText, Step, Work};

const ORDER_HINT: &str = "the lines of a step are, in this order: language, function, source";

/// A line of a step that is no setting.
#[derive(Debug, Clone, Copy)]
enum Field {
    Text(Span),
    /// `None`: the block is never closed, which was said already.
    Code(Option<SourceText>, Span),
}

impl Field {
    fn span(self) -> Span {
        match self {
            Self::Text(span) | Self::Code(_, span) => span,
        }
    }
}

impl Parser<'_, '_> {
    /// The name, where a line begins a step. A line `for x in y:` begins one only when a language follows.
    pub(super) fn header(&mut self, row: Row, level: usize) -> Option<Span> {
        let line = Span::new(row.content, row.end);
        let said = line.of(self.text);
        let said = &said[..said.find('#').unwrap_or(said.len())];
        let line = Span::new(row.content, row.content + said.len()).trim(self.text);
        if !line.of(self.text).ends_with(':') {
            return None;
        }
        let matched = grammar::parse(Rule::header, self.text, line).ok()?;
        let name = matched.pieces().next()?.span();
        let words: Vec<&str> = name.of(self.text).split([' ', '\t']).collect();
        let like_a_loop = words.first() == Some(&"for") && words.contains(&"in");
        (!like_a_loop || self.language_follows(row, level)).then(|| self.name(name))
    }

    fn language_follows(&self, row: Row, level: usize) -> bool {
        let mut ahead = crate::reader::Reader::new(self.text, row.end);
        let next = ahead.peek().filter(|next| next.content - next.start > 0 || level > 0);
        next.is_some_and(|next| {
            let line = ahead.line(next).of(self.text);
            line.starts_with(['!', '$']) || LANGUAGE_WORDS.iter().any(|(word, _)| *word == line)
        })
    }

    /// Passes a step's header and its lines, which stand one level deeper.
    pub(super) fn step(&mut self, row: Row, name: Span, level: usize) -> Step {
        let mut end = self.reader.line(row).end();
        let mut settings: Vec<Setting> = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        while let Some(row) = self.reader.peek() {
            if self.indentation.level(row, level + 1, self.findings) <= level {
                break;
            }
            let first = self.text.as_bytes()[row.content];
            if matches!(first, b'!' | b'$') {
                let line = self.reader.line(row);
                end = line.end();
                settings.extend(settings::read(self.text, line, self.findings));
            } else {
                let field = self.field(row, first == b'`');
                end = field.span().end();
                fields.push(field);
            }
        }
        let work = self.work(name, &fields);
        Step { name, span: Span::new(name.start(), end), settings, work }
    }

    fn field(&mut self, row: Row, code: bool) -> Field {
        if !code {
            return Field::Text(self.reader.line(row));
        }
        let source = self.code(row.content);
        let end = match source {
            Some(SourceText::Code(code)) => code.end() + 1,
            _ => row.content + 1,
        };
        Field::Code(source, Span::new(row.content, end))
    }

    fn work(&mut self, name: Span, fields: &[Field]) -> Option<Work> {
        if let [_, _, _, more, ..] = fields {
            let message = format!("one line too many in step {}", quote(name.of(self.text)));
            let finding = Finding::syntax(self.first_line(more.span()), message);
            self.findings.add(finding.expected("a language, a function and a source, each on one line"));
        }
        let [first, second, third, ..] = fields else {
            self.lines_lacking(name, fields);
            return None;
        };
        let language = self.text_field(*first, "a language").and_then(|span| self.language(span));
        let function = self.text_field(*second, "a function").and_then(|span| self.function(span));
        let source = match third {
            Field::Text(span) => self.path(*span),
            Field::Code(source, _) => *source,
        };
        let (language, language_span) = language?;
        Some(Work { language, language_span, function: function?, source: source? })
    }

    fn text_field(&mut self, field: Field, expected: &str) -> Option<Span> {
        match field {
            Field::Text(span) => Some(span),
            Field::Code(_, span) => {
                let finding = Finding::syntax(self.first_line(span), "code does not belong here");
                self.findings.add(finding.expected(expected).hint(ORDER_HINT.to_owned()));
                None
            }
        }
    }

    /// In a step that lacks a line, a first word that is no language says that the language is the one that lacks.
    fn looks_like_no_language(&self, span: Span) -> bool {
        let written = span.of(self.text);
        let words = LANGUAGE_WORDS.iter().map(|(word, _)| *word);
        crate::suggest::nearest(written, words.clone()).is_none() && !words.clone().any(|word| word == written)
    }

    fn lines_lacking(&mut self, name: Span, fields: &[Field]) {
        let lacking = match fields {
            [] => "no lines",
            [Field::Text(first), ..] if self.looks_like_no_language(*first) => "no language",
            [_] => "no function and no source",
            [_, Field::Code(..)] => "no function",
            _ => "no source",
        };
        let message = format!("step {} has {lacking}", quote(name.of(self.text)));
        let unit = self.indentation.unit_in_words();
        let expected = format!("a language, a function and a source, each on one line, indented by {unit}");
        self.findings.add(Finding::syntax(name, message).expected(expected));
    }

    fn function(&mut self, span: Span) -> Option<Span> {
        let written = span.of(self.text);
        if grammar::is_name(written) {
            return Some(self.name(span));
        }
        let hint = if written.contains('(') {
            Some("the function's name stands alone, without brackets")
        } else if written.contains(['.', '/']) {
            Some(ORDER_HINT)
        } else {
            None
        };
        let finding = Finding::syntax(span, format!("{} is not a name", quote(written)));
        self.findings.add(finding.expected("a function or, for SQL, a table").hint(hint.map(str::to_owned)));
        None
    }

    pub(super) fn path(&mut self, span: Span) -> Option<SourceText> {
        if span.of(self.text).len() > PATH_BYTES_MAX {
            let message = format!("the path is longer than {PATH_BYTES_MAX} bytes");
            self.findings.add(Finding::syntax(span, message));
            return None;
        }
        Some(SourceText::File(span))
    }

    fn first_line(&self, span: Span) -> Span {
        let length = crate::text::line_end(span.of(self.text)).map_or(span.end() - span.start(), |end| end.start);
        Span::new(span.start(), span.start() + length)
    }
}
