//! The form in which scripts are written: one way of spacing, every comment kept, the meaning untouched.
//!
//! A script is taken for a sequence of pieces (a step's name, one of its lines, a call, …) with comments and blank lines
//! between them. Pieces are written anew, code blocks and paths as they stand; what is between them is laid out again.

mod brackets;
mod gap;
mod pieces;

use protocol::Diagnostic;

use crate::finding::Findings;
use crate::limits::SCRIPT_BYTES_MAX;
use crate::text::{BYTE_ORDER_MARK, Lines, line_end};

use gap::Gap;
use pieces::Piece;

/// Blank lines that may follow each other.
const BLANK_LINES_MAX: usize = 2;

/// Spaces before a comment behind a statement: two, or as many as were there, so that comments stay aligned.
const COMMENT_SPACES_MAX: usize = 60;

/// Why a script cannot be formatted.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read.
    #[error("the script has errors in its form")]
    Syntax(Vec<Diagnostic>),
    /// It is too large.
    #[error("the script has {0} bytes, more than the {SCRIPT_BYTES_MAX} allowed")]
    Large(usize),
}

/// The script in its form. Formatting twice changes nothing.
///
/// # Errors
/// A script that cannot be read; one with unknown names or missing files can be.
pub fn format(text: &str) -> Result<String, FormatError> {
    if text.len() > SCRIPT_BYTES_MAX {
        return Err(FormatError::Large(text.len()));
    }
    let mut findings = Findings::default();
    let tree = crate::parser::parse(text, &mut findings);
    if findings.has_errors() {
        return Err(FormatError::Syntax(findings.into_diagnostics("", &Lines::of(text))));
    }
    let unit = tree.unit(text);
    let pieces = pieces::of(text, &tree, unit);
    let line_end = line_end(text).map_or("\n", |end| &text[end]);
    Ok(Writer { text, unit, line_end, written: String::with_capacity(text.len()) }.script(&pieces))
}

struct Writer<'t> {
    text: &'t str,
    unit: &'t str,
    line_end: &'t str,
    written: String,
}

impl Writer<'_> {
    fn script(mut self, pieces: &[Piece]) -> String {
        let mut from = if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut level = 0;
        for (place, piece) in pieces.iter().enumerate() {
            self.gap(from, piece.span.start(), place > 0, level..=piece.level);
            self.piece(piece);
            from = piece.span.end();
            level = piece.level;
        }
        self.gap(from, self.text.len(), !pieces.is_empty(), level..=0);
        self.finish()
    }

    fn piece(&mut self, piece: &Piece) {
        self.written.push_str(&self.unit.repeat(piece.level));
        for (number, line) in piece.lines.iter().enumerate() {
            if number > 0 {
                self.written.push_str(self.line_end);
                self.written.push_str(&self.unit.repeat(piece.level));
            }
            self.written.push_str(line);
        }
        if let Some(code) = piece.code {
            self.written.push('`');
            self.written.push_str(code.of(self.text));
            self.written.push('`');
        }
    }

    /// What stands between two pieces: the comment behind the first one, then lines.
    fn gap(&mut self, from: usize, to: usize, behind_a_piece: bool, levels: std::ops::RangeInclusive<usize>) {
        let gap = Gap::read(&self.text[from..to], behind_a_piece);
        if let Some((spaces, comment)) = gap.trailing {
            self.written.push_str(&" ".repeat(spaces.clamp(2, COMMENT_SPACES_MAX)));
            self.written.push_str(comment);
        }
        if behind_a_piece {
            self.written.push_str(self.line_end);
        }
        let mut blank = 0;
        for line in gap.lines {
            if line.comment.is_empty() {
                blank += 1;
                continue;
            }
            self.blank_lines(blank);
            blank = 0;
            let (low, high) = (*levels.start().min(levels.end()), *levels.start().max(levels.end()));
            let level = line.level(self.unit).clamp(low, high);
            self.written.push_str(&self.unit.repeat(level));
            self.written.push_str(line.comment);
            self.written.push_str(self.line_end);
        }
        self.blank_lines(blank);
    }

    fn blank_lines(&mut self, count: usize) {
        if !self.written.is_empty() {
            self.written.push_str(&self.line_end.repeat(count.min(BLANK_LINES_MAX)));
        }
    }

    /// Ends with one line's end, or is empty.
    fn finish(mut self) -> String {
        let length = self.written.trim_end_matches(['\n', '\r']).len();
        self.written.truncate(length);
        if !self.written.is_empty() {
            self.written.push_str(self.line_end);
        }
        self.written
    }
}
