//! Text to syntax tree: statement by statement, going on behind whatever is wrong.

mod explain;
mod import;
mod indentation;
pub mod settings;
mod statement;
mod step;

use protocol::Language;
use serde::de::IgnoredAny;

use crate::finding::{Finding, Findings, quote};
use crate::limits::{BRACKET_DEPTH_MAX, NAME_CHARS_MAX, SYNTAX_ERRORS_MAX};
use crate::reader::{Phrase, Reader, Row};
use crate::suggest;
use crate::text::{BYTE_ORDER_MARK, Span};
use crate::tree::{Item, Script, SourceText, Statement};

pub use explain::{literal, python_hint};
use indentation::{Indentation, TabLine};

/// Every word for a language.
pub const LANGUAGE_WORDS: [(&str, Language); 9] = [
    ("python", Language::Python),
    ("python3", Language::Python),
    ("py", Language::Python),
    ("sqlite", Language::Sqlite3),
    ("sqlite3", Language::Sqlite3),
    ("pg", Language::Postgres),
    ("postgres", Language::Postgres),
    ("postgresql", Language::Postgres),
    ("duckdb", Language::Duckdb),
];

/// The syntax tree of a script, as far as it could be read.
pub fn parse(text: &str, findings: &mut Findings) -> Script {
    let mut script = Script::default();
    let start = preamble(text, &mut script);
    let tab = indentation::find_tab_line(text, start);
    let unit = tab.and_then(|tab| tab.unit.ok());
    let indentation = Indentation::new(text, unit);
    let mut parser = Parser { text, reader: Reader::new(text, start), indentation, tab, findings, script };
    parser.margin();
    parser.check_tab();
    parser.script
}

/// One level of indentation, where the script says it in the line at `tab`, or four spaces.
pub fn unit(text: &str, tab: Option<Span>) -> &str {
    let said = tab.and_then(|tab| indentation::tab_line(text, tab)).and_then(|tab| tab.unit.ok());
    said.unwrap_or(indentation::DEFAULT_UNIT)
}

/// Where the script begins, behind a byte order mark and a leading JSON object.
fn preamble(text: &str, script: &mut Script) -> usize {
    let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let Some(row) = Reader::new(text, start).peek().filter(|row| text[row.content..].starts_with('{')) else {
        return start;
    };
    let mut objects = serde_json::Deserializer::from_str(&text[row.content..]).into_iter::<IgnoredAny>();
    match objects.next() {
        Some(Ok(_)) => {
            let span = Span::new(row.content, row.content + objects.byte_offset());
            script.preamble = Some(span);
            let rest = &text[span.end()..];
            span.end() + (rest.len() - rest.trim_start_matches([' ', '\t']).len())
        }
        _ => start,
    }
}

struct Parser<'t, 'f> {
    text: &'t str,
    reader: Reader<'t>,
    indentation: Indentation<'t>,
    tab: Option<TabLine<'t>>,
    findings: &'f mut Findings,
    script: Script,
}

impl<'t> Parser<'t, '_> {
    fn margin(&mut self) {
        while let Some(row) = self.next_row() {
            self.indentation.level(row, 0, self.findings);
            if self.tab_line(row) || self.settings_line(row) || self.definition(row, 0) {
                continue;
            }
            if let Some(statement) = self.statement_or_skip(row, 0) {
                self.script.items.push(Item::Statement(statement));
            }
        }
    }

    /// The next line, as long as the script does not have so many errors that it is none.
    fn next_row(&mut self) -> Option<Row> {
        let row = self.reader.peek()?;
        if self.findings.errors() < SYNTAX_ERRORS_MAX {
            return Some(row);
        }
        self.reader.give_up();
        self.script.unread.push(Span::new(row.start, self.text.len()));
        None
    }

    /// A line that only looked like `TAB = …` must not have set the unit.
    fn check_tab(&mut self) {
        if let Some(tab) = self.tab.filter(|tab| tab.unit.is_ok() && self.script.tab.is_none()) {
            let finding = Finding::syntax(tab.span.trim(self.text), "`TAB` does not belong here");
            self.findings.add(finding.hint("set it at the top of the script".to_owned()));
        }
    }

    /// The statements of a loop, which stand at `level`.
    fn body(&mut self, level: usize) -> Vec<Statement> {
        let mut statements = Vec::new();
        while let Some(row) = self.next_row() {
            if self.indentation.level(row, level, self.findings) < level {
                break;
            }
            if self.text[row.content..].starts_with(['!', '$']) {
                let line = self.reader.line(row);
                let finding = Finding::syntax(line, format!("setting {} in a loop", quote(line.of(self.text))));
                self.findings.add(finding.hint("settings stand at the margin or in a step".to_owned()));
            } else if !self.definition(row, level) {
                statements.extend(self.statement_or_skip(row, level));
            }
        }
        statements
    }

    /// Passes all lines that stand at `level` or deeper.
    fn skip_body(&mut self, level: usize) {
        while let Some(row) = self.reader.peek() {
            if self.indentation.level(row, level, self.findings) < level {
                break;
            }
            self.skip(row);
        }
    }

    /// A statement; where it cannot be read, the lines that belong to it are passed as well.
    fn statement_or_skip(&mut self, row: Row, level: usize) -> Option<Statement> {
        let errors_before = self.findings.errors();
        let statement = self.statement(row, level);
        if statement.is_none() {
            if self.indentation.was_wrong(row) {
                self.findings.forget_errors_after(errors_before);
            }
            self.skip_deeper(row);
        }
        statement
    }

    /// Passes the lines that stand deeper than `row`.
    fn skip_deeper(&mut self, row: Row) {
        let from = row.content;
        let mut end = from;
        while let Some(next) = self.reader.peek() {
            if next.content - next.start <= row.content - row.start {
                break;
            }
            end = next.end;
            self.skip(next);
        }
        if end > from {
            self.script.unread.push(Span::new(from, end));
        }
    }

    /// Passes a statement and the code block behind it.
    fn skip(&mut self, row: Row) {
        if let Some(tick) = self.reader.phrase(row).code
            && self.reader.block(tick).is_none()
        {
            self.unclosed_block(tick);
        }
    }

    fn tab_line(&mut self, row: Row) -> bool {
        let Some(line) = indentation::tab_line(self.text, Span::new(row.content, row.end)) else { return false };
        self.reader.line(row);
        match (line.unit, self.tab) {
            (Err(wrong), _) => {
                let finding = Finding::syntax(line.span.trim(self.text), format!("`TAB` is not usable: {wrong}"));
                self.findings.add(finding.expected("spaces in quotes, as in `TAB = '  '`"));
            }
            (Ok(_), Some(first)) if first.span.start() == line.span.start() => self.script.tab = Some(line.span),
            (Ok(_), Some(first)) => {
                let finding = Finding::syntax(line.span.trim(self.text), "`TAB` is set twice");
                self.findings.add(finding.related(first.span.trim(self.text), "first set here"));
            }
            (Ok(_), None) => {
                let finding = Finding::syntax(line.span.trim(self.text), "`TAB` stands too late");
                self.findings.add(finding.hint("set it at the top of the script".to_owned()));
            }
        }
        true
    }

    fn settings_line(&mut self, row: Row) -> bool {
        if !self.text[row.content..].starts_with(['!', '$']) {
            return false;
        }
        let line = self.reader.line(row);
        let settings = settings::read(self.text, line, self.findings);
        self.script.items.push(Item::Settings(settings));
        true
    }

    /// Reads a step or an import; `false` where the line begins neither.
    fn definition(&mut self, row: Row, level: usize) -> bool {
        let item = if self.begins_import(row) {
            Item::Import(self.import(row, level))
        } else if let Some(name) = self.header(row, level) {
            Item::Step(self.step(row, name, level))
        } else {
            return false;
        };
        if level > 0 {
            let (span, what) = match &item {
                Item::Step(step) => (step.name, format!("step {} is defined", quote(step.name.of(self.text)))),
                _ => (Span::new(row.content, row.content + "import".len()), "`import` stands".to_owned()),
            };
            let finding = Finding::syntax(span, format!("{what} in a loop"));
            self.findings.add(finding.hint("steps are defined at the margin".to_owned()));
        }
        self.script.items.push(item);
        true
    }

    /// Says what is wrong where a statement is followed by a backtick, has an open bracket or too many of them.
    fn check_phrase(&mut self, phrase: Phrase) -> bool {
        if let Some(bracket) = phrase.unclosed {
            let finding = Finding::syntax(Span::new(bracket, bracket + 1), "`(` is never closed").expected("`)`");
            self.findings.add(finding);
            return false;
        }
        if let Some(tick) = phrase.code {
            let finding = Finding::syntax(Span::new(tick, tick + 1), "code does not belong here");
            let hint = "code is the source of a step: it stands in the step's last line or behind an `import`";
            self.findings.add(finding.hint(hint.to_owned()));
            if self.reader.block(tick).is_none() {
                self.unclosed_block(tick);
            }
            return false;
        }
        self.check_depth(phrase.span)
    }

    fn check_depth(&mut self, span: Span) -> bool {
        let fits = crate::expression::depth(span.of(self.text)) <= BRACKET_DEPTH_MAX;
        if !fits {
            let message = format!("more than {BRACKET_DEPTH_MAX} brackets inside brackets");
            self.findings.add(Finding::syntax(Span::new(span.start(), span.start() + 1), message));
        }
        fits
    }

    /// Reads a code block; `None` where it is never closed, so that the rest of the file was taken for code.
    fn code(&mut self, tick: usize) -> Option<SourceText> {
        let Some(block) = self.reader.block(tick) else {
            self.unclosed_block(tick);
            return None;
        };
        if let Some(stray) = block.stray {
            let finding =
                Finding::syntax(stray, format!("text behind the closing backtick: {}", quote(stray.of(self.text))));
            let hint = "code ends at the next backtick; code that holds one itself goes into a file".to_owned();
            self.findings.add(finding.expected("the end of the line or a comment").hint(hint));
        }
        Some(SourceText::Code(block.code))
    }

    fn unclosed_block(&mut self, tick: usize) {
        self.reader.give_up();
        self.script.unread.push(Span::new(tick, self.text.len()));
        let finding = Finding::syntax(Span::new(tick, tick + 1), "this code block is never closed");
        self.findings.add(finding.expected("a closing backtick"));
    }

    /// Checks the length of names that the grammar accepted.
    fn name(&mut self, span: Span) -> Span {
        let text = span.of(self.text);
        if text.len() > NAME_CHARS_MAX && text.chars().count() > NAME_CHARS_MAX {
            let message = format!("the name {} is longer than {NAME_CHARS_MAX} characters", quote(text));
            self.findings.add(Finding::syntax(span, message));
        }
        span
    }

    fn language(&mut self, span: Span) -> Option<(Language, Span)> {
        let written = span.of(self.text);
        let found = LANGUAGE_WORDS.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            let words = LANGUAGE_WORDS.iter().map(|(word, _)| *word);
            let near = suggest::nearest(written, words).map(|near| format!("did you mean `{near}`?"));
            let finding = Finding::syntax(span, format!("{} is not a language", quote(written)));
            self.findings.add(finding.expected("`python`, `sqlite3`, `postgres` or `duckdb`").hint(near));
        }
        found.map(|(_, language)| (*language, span))
    }
}
