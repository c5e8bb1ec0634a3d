//! `import LANGUAGE (function as alias !setting value, …) FILE_OR_CODE`

use super::{Parser, explain, settings};
use crate::finding::Finding;
use crate::grammar::{self, Piece, Rule};
use crate::reader::{Phrase, Row};
use crate::text::{BLANKS, Span};
use crate::tree::{Import, ImportItem, SourceText};

impl Parser<'_, '_> {
    /// Whether a line is an import: the word, another one, and a bracket.
    pub(super) fn begins_import(&self, row: Row) -> bool {
        let line = &self.text[row.content..row.end];
        let line = &line[..line.find('#').unwrap_or(line.len())];
        let Some(rest) = line.strip_prefix("import").filter(|rest| rest.starts_with(BLANKS)) else { return false };
        rest.find('(').is_some_and(|bracket| !rest[..bracket].contains(['=', '|']))
    }

    pub(super) fn import(&mut self, row: Row, level: usize) -> Import {
        let phrase = self.reader.phrase(row);
        let mut import = Import {
            span: phrase.span,
            brackets_end: phrase.span.end(),
            language: None,
            items: Vec::new(),
            source: None,
        };
        if phrase.unclosed.is_some() {
            self.check_phrase(phrase);
            self.script.unread.push(phrase.span);
            self.skip_deeper(row);
            return import;
        }
        let head = Span::new(phrase.span.start(), self.closing_bracket(phrase.span));
        import.brackets_end = head.end();
        let rest = Span::new(head.end(), phrase.span.end()).trim(self.text);
        import.source = self.import_source(phrase, rest, head, level);
        if let Some(SourceText::Code(code)) = import.source {
            import.span = Span::new(phrase.span.start(), code.end() + 1);
        }
        if !self.check_depth(head) {
            self.script.unread.push(head);
            return import;
        }
        match grammar::parse(Rule::import, self.text, head) {
            Ok(matched) => matched.pieces().for_each(|piece| self.import_piece(piece, &mut import)),
            Err(mismatch) => {
                self.script.unread.push(head);
                self.findings.add(explain::mismatch(self.text, head, mismatch, explain::Form::Import));
            }
        }
        import
    }

    /// The byte behind the bracket that closes the list.
    fn closing_bracket(&self, span: Span) -> usize {
        let (mut depth, mut comment) = (0usize, false);
        for (at, byte) in span.of(self.text).bytes().enumerate() {
            match byte {
                b'\n' | b'\r' => comment = false,
                _ if comment => {}
                b'#' => comment = true,
                b'(' => depth += 1,
                b')' if depth <= 1 => return span.start() + at + 1,
                b')' => depth -= 1,
                _ => {}
            }
        }
        span.end()
    }

    /// Behind the bracket, or indented on the next line.
    fn import_source(&mut self, phrase: Phrase, rest: Span, head: Span, level: usize) -> Option<SourceText> {
        let lacks = |parser: &mut Self| {
            let finding =
                Finding::syntax(Span::new(head.end().saturating_sub(1), head.end()), "this `import` has no source");
            parser.findings.add(finding.expected("a file or code behind `)`"));
        };
        match (phrase.code, rest.of(self.text).is_empty()) {
            (Some(tick), true) => return self.code(tick),
            (Some(_), false) => {
                self.check_phrase(phrase);
                return None;
            }
            (None, false) => return self.path(rest),
            (None, true) => {}
        }
        let next = self.reader.peek();
        let Some(next) = next.filter(|next| next.content > next.start || self.text[next.content..].starts_with('`'))
        else {
            lacks(self);
            return None;
        };
        if next.content > next.start && self.indentation.level(next, level + 1, self.findings) <= level {
            lacks(self);
            return None;
        }
        if self.text[next.content..].starts_with('`') {
            return self.code(next.content);
        }
        let line = self.reader.line(next);
        self.path(line)
    }

    fn import_piece(&mut self, piece: Piece<'_>, import: &mut Import) {
        match piece.rule() {
            Rule::language => import.language = self.language(piece.span()),
            Rule::imported => {
                if let Some(item) = self.import_item(piece) {
                    import.items.push(item);
                }
            }
            _ => {}
        }
    }

    fn import_item(&mut self, piece: Piece<'_>) -> Option<ImportItem> {
        let (mut function, mut alias, mut settings) = (None, None, Vec::new());
        for piece in piece.pieces() {
            match piece.rule() {
                Rule::function => function = Some(self.name(piece.span())),
                Rule::name => alias = Some(self.name(piece.span())),
                Rule::setting => {
                    settings.extend(settings::read(self.text, piece.span().trim(self.text), self.findings))
                }
                _ => {}
            }
        }
        function.map(|function| ImportItem { function, alias, settings })
    }
}
