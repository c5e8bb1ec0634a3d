//! Pipes, calls and loops.

use super::{Parser, explain};
use crate::finding::{Finding, quote};
use crate::grammar::{self, Piece, Rule};
use crate::limits::LOOP_DEPTH_MAX;
use crate::reader::Row;
use crate::text::{BLANKS, Span};
use crate::tree::{Call, Loop, Pipe, Statement};

use explain::Form;

impl Parser<'_, '_> {
    /// Passes one statement that stands at `level`; `None` where it could not be read, which was said then.
    pub(super) fn statement(&mut self, row: Row, level: usize) -> Option<Statement> {
        let phrase = self.reader.phrase(row);
        let form = form_of(phrase.span.of(self.text));
        if !self.check_phrase(phrase) {
            self.script.unread.push(phrase.span);
            if form == Some(Form::Loop) {
                self.skip_body(level + 1);
            }
            return None;
        }
        let Some(form) = form else {
            self.findings.add(explain::no_statement(self.text, phrase.span));
            self.script.unread.push(phrase.span);
            return None;
        };
        let read = match form {
            Form::Pipe => self.pipe(phrase.span),
            Form::Loop => self.for_loop(phrase.span, level),
            _ => self.call(phrase.span),
        };
        if read.is_none() {
            self.script.unread.push(phrase.span);
        }
        read
    }

    fn parse(&mut self, rule: Rule, span: Span, form: Form) -> Option<Piece<'_>> {
        match grammar::parse(rule, self.text, span) {
            Ok(piece) => Some(piece),
            Err(mismatch) => {
                self.findings.add(explain::mismatch(self.text, span, mismatch, form));
                None
            }
        }
    }

    fn pipe(&mut self, span: Span) -> Option<Statement> {
        let matched = self.parse(Rule::pipe, span, Form::Pipe)?;
        let (mut names, mut bars) = (Vec::new(), 0usize);
        for piece in matched.pieces() {
            match piece.rule() {
                Rule::name => names.push(piece.span()),
                Rule::bar => bars += 1,
                _ => {}
            }
        }
        let (name, steps) = names.split_first()?;
        let (name, steps) = (*name, steps.to_vec());
        names.iter().for_each(|name| {
            self.name(*name);
        });
        match (steps.as_slice(), bars) {
            ([], _) => {
                let message = format!("pipe {} has no step", quote(name.of(self.text)));
                self.findings.add(Finding::syntax(span, message).expected("steps with `|` between them"));
            }
            ([step], 0) => {
                let (pipe, only) = (name.of(self.text), step.of(self.text));
                let message = format!("pipe {} has no `|`", quote(pipe));
                let hint =
                    format!("a pipe of one step is written with a bar: {}", quote(&format!("{pipe} = | {only}")));
                self.findings.add(Finding::syntax(*step, message).hint(hint));
            }
            _ => {}
        }
        Some(Statement::Pipe(Pipe { span, name, steps }))
    }

    fn call(&mut self, span: Span) -> Option<Statement> {
        let matched = self.parse(Rule::call, span, Form::Call)?;
        let (call, names) = call_of(matched, span)?;
        names.into_iter().for_each(|name| {
            self.name(name);
        });
        Some(Statement::Call(call))
    }

    fn for_loop(&mut self, span: Span, level: usize) -> Option<Statement> {
        let Some(matched) = self.parse(Rule::for_loop, span, Form::Loop) else {
            self.skip_or_read_body(level);
            return None;
        };
        let mut variable = None;
        let mut call = Call { span, variable: None, pipe: span, arguments: Vec::new() };
        let mut arguments = Span::at(span.end());
        for piece in matched.pieces() {
            match piece.rule() {
                Rule::item => variable = Some(piece.span()),
                Rule::name => call.pipe = piece.span(),
                Rule::arguments => {
                    arguments = piece.span();
                    call.arguments = names_in(piece);
                }
                _ => {}
            }
        }
        call.span = Span::new(call.pipe.start(), arguments.end());
        let variable = self.name(variable?);
        if level >= LOOP_DEPTH_MAX {
            self.findings.add(Finding::syntax(span, format!("more than {LOOP_DEPTH_MAX} loops inside loops")));
            self.skip_body(level + 1);
            return None;
        }
        let unread_before = self.script.unread.len();
        let body = self.body(level + 1);
        let only_unreadable = self.script.unread.len() > unread_before;
        if !body.iter().any(|statement| !matches!(statement, Statement::Pipe(_))) && !only_unreadable {
            self.empty_loop(span, variable, body.is_empty());
        }
        Some(Statement::Loop(Loop { span, variable, source: call, body }))
    }

    fn empty_loop(&mut self, span: Span, variable: Span, empty: bool) {
        let what = if empty { "has no body" } else { "calls no pipe" };
        let message = format!("the loop over {} {what}", quote(variable.of(self.text)));
        let unit = self.indentation.unit_in_words();
        let expected = format!("calls on the lines below, indented by {unit} more than `for`");
        self.findings.add(Finding::syntax(span, message).expected(expected));
    }

    /// Reads the body of a loop whose first line is wrong, for the errors in it.
    fn skip_or_read_body(&mut self, level: usize) {
        if level >= LOOP_DEPTH_MAX {
            self.skip_body(level + 1);
        } else {
            self.body(level + 1);
        }
    }
}

fn call_of(matched: Piece<'_>, span: Span) -> Option<(Call, Vec<Span>)> {
    let (mut variable, mut pipe, mut arguments) = (None, None, Vec::new());
    for piece in matched.pieces() {
        match piece.rule() {
            Rule::variable => variable = Some(piece.span()),
            Rule::name => pipe = Some(piece.span()),
            Rule::arguments => arguments = names_in(piece),
            _ => {}
        }
    }
    let names = variable.iter().chain(pipe.iter()).chain(arguments.iter()).copied().collect();
    Some((Call { span, variable, pipe: pipe?, arguments }, names))
}

fn names_in(arguments: Piece<'_>) -> Vec<Span> {
    arguments.pieces().filter(|piece| piece.rule() == Rule::name).map(|piece| piece.span()).collect()
}

/// Which statement a text wants to be, by its signs; `None` where it shows none.
fn form_of(text: &str) -> Option<Form> {
    if text.strip_prefix("for").is_some_and(|rest| rest.starts_with(BLANKS)) && wants_to_be_a_loop(text) {
        return Some(Form::Loop);
    }
    let bracket = text.find('(');
    let equal = text.find('=').filter(|equal| bracket.is_none_or(|bracket| *equal < bracket));
    let Some(equal) = equal else {
        return if bracket.is_some() { Some(Form::Call) } else { None };
    };
    let value = text[equal + 1..].trim_start_matches(BLANKS);
    let calls = match (value.find('('), value.find('|')) {
        (Some(bracket), bar) => bracket > 0 && bar.is_none_or(|bar| bracket < bar),
        (None, _) => false,
    };
    Some(if calls { Form::Call } else { Form::Pipe })
}

fn wants_to_be_a_loop(text: &str) -> bool {
    // Before a sign that may stand by itself, too: a text means the same with blanks around it.
    let is_in = |word: &str| word.strip_prefix("in").is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
    let has_in = text.split(BLANKS).any(is_in);
    has_in || text.ends_with(':')
}
