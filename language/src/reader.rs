//! Reads a script line by line: blank and comment lines, indentation, brackets that go on over lines, code blocks.
//!
//! This is written by hand and not part of the grammar, because where a statement ends depends on what it is: brackets
//! join lines in a call but not in a file's path, a backtick opens code only where a source is due, and the unit of
//! indentation is said by the script itself. It also keeps memory small: the grammar sees one statement at a time.

use crate::limits::LINES_AFTER_UNCLOSED_MAX;
use crate::text::{BLANKS, Span, is_odd_blank, line_end};

/// What stands before the text of a line. Other blanks than spaces and tab characters are taken for indentation, too, so
/// that they can be named as what is wrong with it.
fn indents(character: char) -> bool {
    BLANKS.contains(&character) || is_odd_blank(character)
}

/// A line that is neither blank nor a comment.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its first byte.
    pub start: usize,
    /// Its first byte that is no blank.
    pub content: usize,
    /// The byte behind its last one, without the line's end.
    pub end: usize,
}

impl Row {
    /// Its indentation.
    pub fn indentation(self) -> Span {
        Span::new(self.start, self.content)
    }
}

/// A statement, without comment.
#[derive(Debug, Clone, Copy)]
pub struct Phrase {
    /// Its text; in brackets over several lines.
    pub span: Span,
    /// A bracket in it that is never closed.
    pub unclosed: Option<usize>,
    /// A backtick behind it: where code starts.
    pub code: Option<usize>,
}

/// A code block.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// The code, without backticks.
    pub code: Span,
    /// Text behind the closing backtick that is no comment.
    pub stray: Option<Span>,
}

/// Goes through a script from its first to its last line.
#[derive(Debug)]
pub struct Reader<'t> {
    text: &'t str,
    at: usize,
    unclosed_before: bool,
}

impl<'t> Reader<'t> {
    /// Starts at a byte, which is taken for the start of a line.
    pub fn new(text: &'t str, at: usize) -> Self {
        Self { text, at, unclosed_before: false }
    }

    /// The next line that says something; it is not passed.
    pub fn peek(&mut self) -> Option<Row> {
        while self.at < self.text.len() {
            let row = self.row(self.at);
            if row.content < row.end && self.text.as_bytes()[row.content] != b'#' {
                return Some(row);
            }
            self.at = self.after(row.end);
        }
        None
    }

    /// Passes one line: its text without comment.
    pub fn line(&mut self, row: Row) -> Span {
        self.at = self.after(row.end);
        self.without_comment(row)
    }

    /// Passes a statement: one line, and those that follow as long as a bracket is open.
    pub fn phrase(&mut self, row: Row) -> Phrase {
        let mut open: Vec<usize> = Vec::new();
        let mut line = row;
        let mut end = row.content;
        let mut lines_left = if self.unclosed_before { LINES_AFTER_UNCLOSED_MAX } else { usize::MAX };
        loop {
            let stop = self.brackets(line.content, line.end, &mut open);
            if stop > line.content {
                end = Span::new(line.content, stop).trim(self.text).end().max(end);
            }
            if stop < line.end && self.text.as_bytes()[stop] == b'`' {
                self.at = stop;
                return Phrase { span: Span::new(row.content, end), unclosed: None, code: Some(stop) };
            }
            let Some(bracket) = open.first().copied() else {
                self.at = self.after(line.end);
                return Phrase { span: Span::new(row.content, end), unclosed: None, code: None };
            };
            let next = self.after(line.end);
            let following = self.row(next);
            lines_left -= 1;
            if next >= self.text.len() || lines_left == 0 || self.starts_statement(following, row) {
                self.unclosed_before = true;
                let span = self.line(row);
                return Phrase { span, unclosed: Some(bracket), code: None };
            }
            line = following;
        }
    }

    /// Passes a code block that opens at `tick` and the rest of the line on which it is closed.
    ///
    /// Code that holds backticks itself is followed to where it probably ends, so that it gives one error and not many.
    pub fn block(&mut self, tick: usize) -> Option<Block> {
        let mut last = self.next_tick(tick + 1)?;
        let code = Span::new(tick + 1, last);
        let mut line = self.row_from(last + 1);
        let mut stray = None;
        loop {
            if last >= line.end {
                line = self.row_from(last + 1);
            }
            self.at = self.after(line.end);
            let rest = self.text[last + 1..line.end].trim_start_matches(BLANKS);
            if rest.is_empty() || rest.starts_with('#') {
                return Some(Block { code, stray });
            }
            stray = stray.or_else(|| Some(self.without_comment(self.row_from(last + 1))));
            let reopened = rest.find(['`', '#']).map(|at| line.end - rest.len() + at);
            let reopened = reopened.filter(|tick| self.text.as_bytes()[*tick] == b'`');
            match reopened.and_then(|tick| self.next_tick(tick + 1)) {
                Some(tick) => last = tick,
                None => return Some(Block { code, stray }),
            }
        }
    }

    /// Passes everything.
    pub fn give_up(&mut self) {
        self.at = self.text.len();
    }

    fn next_tick(&self, from: usize) -> Option<usize> {
        self.text.get(from..)?.find('`').map(|at| from + at)
    }

    fn row(&self, start: usize) -> Row {
        self.row_from(start.min(self.text.len()))
    }

    fn row_from(&self, start: usize) -> Row {
        let rest = &self.text[start..];
        let end = start + line_end(rest).map_or(rest.len(), |end| end.start);
        let line = &self.text[start..end];
        Row { start, content: end - line.trim_start_matches(indents).len(), end }
    }

    fn after(&self, end: usize) -> usize {
        end + line_end(&self.text[end..]).map_or(0, |end| end.end)
    }

    fn without_comment(&self, row: Row) -> Span {
        let line = &self.text[row.content..row.end];
        let length = line.find('#').unwrap_or(line.len());
        Span::new(row.content, row.content + length).trim(self.text)
    }

    /// Follows the brackets of one line: where it ends, at a comment, at a backtick outside of brackets, or at its end.
    fn brackets(&self, from: usize, end: usize, open: &mut Vec<usize>) -> usize {
        for (at, byte) in self.text.as_bytes()[from..end].iter().enumerate() {
            match byte {
                b'#' => return from + at,
                b'`' if open.is_empty() => return from + at,
                b'(' => open.push(from + at),
                b')' => {
                    open.pop();
                }
                _ => {}
            }
        }
        end
    }

    /// Whether a line in an open bracket is more likely the next statement, so that the bracket was forgotten.
    fn starts_statement(&self, row: Row, first: Row) -> bool {
        let indentation = row.content - row.start;
        let line = self.without_comment(row).of(self.text);
        if indentation > first.content - first.start || line.is_empty() || line.starts_with(')') {
            return false;
        }
        let assigns = line.contains('=') && !line.contains("==");
        let calls = line.find('(').is_some_and(|at| at > 0) && line.ends_with(')');
        let begins = |word: &str| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(BLANKS));
        assigns || calls && !line.starts_with('!') || line.ends_with(':') || begins("for") || begins("import")
    }
}
