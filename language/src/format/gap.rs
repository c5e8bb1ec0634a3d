//! What stands between two pieces of a script: comments and blank lines.

use crate::text::{BLANKS, line_end};

/// Comments and blank lines.
#[derive(Debug)]
pub struct Gap<'t> {
    /// The comment on the line of the piece before, and the spaces before it.
    pub trailing: Option<(usize, &'t str)>,
    /// The lines below.
    pub lines: Vec<GapLine<'t>>,
}

/// A comment on a line of its own, or a blank line.
#[derive(Debug)]
pub struct GapLine<'t> {
    indentation: &'t str,
    /// From its `#` on; empty for a blank line.
    pub comment: &'t str,
}

impl<'t> Gap<'t> {
    /// Reads what follows a piece on its line, where there is one, and the lines up to the next piece's indentation.
    pub fn read(text: &'t str, behind_a_piece: bool) -> Self {
        let mut gap = Self { trailing: None, lines: Vec::new() };
        let mut rest = text;
        let mut trailing = behind_a_piece;
        while let Some(end) = line_end(rest) {
            gap.add(&rest[..end.start], trailing);
            rest = &rest[end.end..];
            trailing = false;
        }
        if !rest.trim_matches(BLANKS).is_empty() {
            gap.add(rest, trailing);
        }
        gap
    }

    fn add(&mut self, line: &'t str, trailing: bool) {
        let comment = line.find('#').map_or("", |at| line[at..].trim_end());
        if trailing {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            self.trailing = Some((spaces, comment)).filter(|_| !comment.is_empty());
        } else {
            self.lines
                .push(GapLine { indentation: &line[..line.len() - line.trim_start_matches(BLANKS).len()], comment });
        }
    }
}

impl GapLine<'_> {
    /// The level nearest to its indentation.
    pub fn level(&self, unit: &str) -> usize {
        if unit.starts_with('\t') {
            let tabs = self.indentation.bytes().filter(|byte| *byte == b'\t').count();
            return tabs / unit.len() + usize::from(tabs == 0 && !self.indentation.is_empty());
        }
        (self.indentation.len() + unit.len() / 2) / unit.len().max(1)
    }
}
