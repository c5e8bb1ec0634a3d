//! The pieces of a script, each as it is to be written.

use super::brackets::{Joint, List};
use crate::text::{BLANKS, Span};
use crate::tree::{Call, Import, ImportItem, Item, Loop, Pipe, Script, Setting, SourceText, Statement, Step};

/// Something that stands on lines of its own.
#[derive(Debug)]
pub struct Piece {
    /// Where it is written.
    pub span: Span,
    /// How deep it stands.
    pub level: usize,
    /// How it is to be written, without indentation.
    pub lines: Vec<String>,
    /// Code behind the last line.
    pub code: Option<Span>,
}

/// All pieces of a script, in order.
pub fn of(text: &str, tree: &Script, unit: &str) -> Vec<Piece> {
    let mut pieces = Pieces { text, unit, pieces: Vec::new() };
    if let Some(preamble) = tree.preamble {
        pieces.add(preamble, 0, preamble.of(text).to_owned());
    }
    if let Some(tab) = tree.tab {
        let (name, value) = tab.of(text).split_once('=').unwrap_or(("TAB", ""));
        let value = value.trim_matches(BLANKS);
        let end = value.get(1..).and_then(|inner| inner.find(&value[..1])).map_or(value.len(), |close| close + 2);
        let start = tab.start() + tab.of(text).find(value).unwrap_or(0);
        let line = format!("{} = {}", name.trim_matches(BLANKS), &value[..end]);
        pieces.add(Span::new(tab.start(), start + end), 0, line);
    }
    for item in &tree.items {
        match item {
            Item::Settings(settings) => pieces.settings(settings, 0),
            Item::Step(step) => pieces.step(step),
            Item::Import(import) => pieces.import(import),
            Item::Statement(statement) => pieces.statement(statement, 0),
        }
    }
    pieces.pieces.sort_by_key(|piece| piece.span);
    pieces.pieces
}

struct Pieces<'t> {
    text: &'t str,
    unit: &'t str,
    pieces: Vec<Piece>,
}

impl Pieces<'_> {
    fn add(&mut self, span: Span, level: usize, line: String) {
        self.pieces.push(Piece { span, level, lines: vec![line], code: None });
    }

    fn plain(&mut self, span: Span, level: usize) {
        self.add(span, level, span.of(self.text).to_owned());
    }

    /// Settings on one line are one piece.
    fn settings(&mut self, settings: &[Setting], level: usize) {
        for setting in settings {
            let written = self.setting(setting.span);
            let joins = self.pieces.last().is_some_and(|last| {
                let between = self.text.get(last.span.end()..setting.span.start());
                last.level == level && between.is_some_and(|between| between.trim_matches(BLANKS).is_empty())
            });
            match self.pieces.last_mut().filter(|_| joins) {
                Some(last) => {
                    last.span = Span::new(last.span.start(), setting.span.end());
                    append(&mut last.lines, " ");
                    append(&mut last.lines, &written);
                }
                None => self.add(setting.span, level, written),
            }
        }
    }

    fn setting(&self, span: Span) -> String {
        let (sign, rest) = span.of(self.text).split_at(1);
        let rest = rest.trim_matches(BLANKS);
        if sign == "$" {
            return format!("$ {rest}");
        }
        let length = rest.find(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '+')));
        let (word, value) = rest.split_at(length.unwrap_or(rest.len()));
        let value = value.trim_matches(BLANKS);
        if value.is_empty() { format!("!{word}") } else { format!("!{word} {value}") }
    }

    fn step(&mut self, step: &Step) {
        let name = step.name.of(self.text);
        let colon = self.text[step.name.end()..].find(':').map_or(step.name.end(), |at| step.name.end() + at + 1);
        self.add(Span::new(step.name.start(), colon), 0, format!("{name}:"));
        self.settings(&step.settings, 1);
        let Some(work) = step.work else { return };
        self.plain(work.language_span, 1);
        self.plain(work.function, 1);
        self.source(work.source, 1);
    }

    fn source(&mut self, source: SourceText, level: usize) {
        match source {
            SourceText::File(path) => self.plain(path, level),
            SourceText::Code(code) => {
                let span = Span::new(code.start() - 1, code.end() + 1);
                self.pieces.push(Piece { span, level, lines: vec![String::new()], code: Some(code) });
            }
        }
    }

    fn import(&mut self, import: &Import) {
        let (Some((_, language)), Some(source)) = (import.language, import.source) else { return };
        let open = language.end() + self.text[language.end()..].find('(').unwrap_or(0);
        let elements = import.items.iter().map(|item| self.import_item(item)).collect();
        let brackets = Span::new(open, import.brackets_end);
        let list = List { text: self.text, span: brackets, elements, joint: Joint::Comma };
        let lines = before_list(&format!("import {} ", language.of(self.text)), list.lines(self.unit));
        let mut piece =
            Piece { span: Span::new(import.span.start(), import.brackets_end), level: 0, lines, code: None };
        let start = match source {
            SourceText::File(path) => path.start(),
            SourceText::Code(code) => code.start() - 1,
        };
        if !self.text[import.brackets_end..start].trim_matches(BLANKS).is_empty() {
            self.pieces.push(piece);
            self.source(source, usize::from(!self.begins_line(start)));
            return;
        }
        match source {
            SourceText::File(path) => {
                append(&mut piece.lines, &format!(" {}", path.of(self.text)));
                piece.span = Span::new(piece.span.start(), path.end());
            }
            SourceText::Code(code) => {
                append(&mut piece.lines, " ");
                piece.span = Span::new(piece.span.start(), code.end() + 1);
                piece.code = Some(code);
            }
        }
        self.pieces.push(piece);
    }

    fn begins_line(&self, place: usize) -> bool {
        place == 0 || self.text[..place].ends_with(['\n', '\r'])
    }

    fn import_item(&self, item: &ImportItem) -> (Span, String) {
        let mut written = item.function.of(self.text).to_owned();
        let mut end = item.function.end();
        if let Some(alias) = item.alias {
            written.push_str(" as ");
            written.push_str(alias.of(self.text));
            end = alias.end();
        }
        for setting in &item.settings {
            written.push(' ');
            written.push_str(&self.setting(setting.span));
            end = setting.span.end();
        }
        (Span::new(item.function.start(), end), written)
    }

    fn statement(&mut self, statement: &Statement, level: usize) {
        match statement {
            Statement::Pipe(pipe) => self.pipe(pipe, level),
            Statement::Call(call) => {
                let before = call.variable.map_or(String::new(), |name| format!("{} = ", name.of(self.text)));
                let lines = self.call(&before, call);
                self.pieces.push(Piece { span: call.span, level, lines, code: None });
            }
            Statement::Loop(of) => self.for_loop(of, level),
        }
    }

    fn for_loop(&mut self, of: &Loop, level: usize) {
        let before = format!("for {} in ", of.variable.of(self.text));
        let mut lines = self.call(&before, &of.source);
        append(&mut lines, ":");
        self.pieces.push(Piece { span: of.span, level, lines, code: None });
        of.body.iter().for_each(|statement| self.statement(statement, level + 1));
    }

    fn call(&self, before: &str, call: &Call) -> Vec<String> {
        let pipe = call.pipe.of(self.text);
        let open = call.pipe.end() + self.text[call.pipe.end()..].find('(').unwrap_or(0);
        let list = self.names(Span::new(open, call.span.end()), &call.arguments, Joint::Comma);
        before_list(&format!("{before}{pipe}"), list.lines(self.unit))
    }

    fn names<'s>(&'s self, span: Span, names: &[Span], joint: Joint) -> List<'s> {
        let elements = names.iter().map(|name| (*name, name.of(self.text).to_owned())).collect();
        List { text: self.text, span, elements, joint }
    }

    fn pipe(&mut self, pipe: &Pipe, level: usize) {
        let name = pipe.name.of(self.text);
        let value = self.text[pipe.name.end()..].find('=').map_or(pipe.name.end(), |at| pipe.name.end() + at + 1);
        let value = Span::new(value, pipe.span.end()).trim(self.text);
        let list = self.names(value, &pipe.steps, Joint::Bar);
        let mut lines = if value.of(self.text).starts_with('(') { list.lines(self.unit) } else { Vec::new() };
        if lines.len() < 2 {
            let steps: Vec<&str> = pipe.steps.iter().map(|step| step.of(self.text)).collect();
            lines = vec![match steps.as_slice() {
                [step] => format!("{name} = | {step}"),
                _ => format!("{name} = {}", steps.join(" | ")),
            }];
        } else {
            if let ([_], Some(step)) = (pipe.steps.as_slice(), lines.iter_mut().find(|line| !is_comment(line))) {
                *step = with_bar(step, self.unit);
            }
            lines = before_list(&format!("{name} = "), lines);
        }
        self.pieces.push(Piece { span: pipe.span, level, lines, code: None });
    }
}

fn before_list(before: &str, mut lines: Vec<String>) -> Vec<String> {
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, before);
    }
    lines
}

fn append(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

fn is_comment(line: &str) -> bool {
    line == "(" || line.trim_start_matches(BLANKS).starts_with('#')
}

/// A pipe of one step needs its bar in brackets, too.
fn with_bar(line: &str, unit: &str) -> String {
    format!("{unit}| {}", line.strip_prefix(unit).unwrap_or(line))
}
