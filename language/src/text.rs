//! Places in a script: byte offsets while compiling, lines and columns for people.

use std::ops::Range;

/// A stretch of the script, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From the first byte to the one after the last. Scripts are far below 4 GiB, so that offsets fit.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        Self { start, end: u32::try_from(end).unwrap_or(u32::MAX).max(start) }
    }

    /// An empty stretch.
    #[must_use]
    pub fn at(place: usize) -> Self {
        Self::new(place, place)
    }

    /// Its first byte.
    #[must_use]
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The byte after its last one.
    #[must_use]
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// The text that it covers; empty where it does not fit the text.
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.range()).unwrap_or("")
    }

    /// As a range.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// Whether a byte is in it, or just behind it.
    #[must_use]
    pub fn touches(self, place: usize) -> bool {
        self.start() <= place && place <= self.end()
    }

    /// Without the blanks at both ends.
    #[must_use]
    pub fn trim(self, text: &str) -> Self {
        let inner = self.of(text);
        let start = self.start() + (inner.len() - inner.trim_start_matches(BLANKS).len());
        Self::new(start, start + inner.trim_matches(BLANKS).len())
    }
}

/// What separates words on a line.
pub const BLANKS: [char; 2] = [' ', '\t'];

/// Characters that look like a space and are none.
#[must_use]
pub fn is_odd_blank(character: char) -> bool {
    matches!(character, '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{3000}')
}

/// A byte order mark at the start is read over.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A line, from 1, and a column, from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// Where the lines of a text start. LF, CRLF and CR end a line; nothing else does.
#[derive(Debug)]
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<u32>,
}

impl<'t> Lines<'t> {
    /// The lines of a text.
    #[must_use]
    pub fn of(text: &'t str) -> Self {
        let first = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let mut starts = vec![Span::at(first).start];
        let mut rest = first;
        while let Some(found) = text.get(rest..).and_then(line_end) {
            rest += found.end;
            starts.push(Span::at(rest).start);
        }
        Self { text, starts }
    }

    /// How many there are; never none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The line (from 1) of a byte.
    #[must_use]
    pub fn line(&self, place: usize) -> u32 {
        let line = self.starts.partition_point(|start| *start as usize <= place).max(1);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// Line and column of a byte.
    #[must_use]
    pub fn place(&self, place: usize) -> Place {
        let line = self.line(place);
        let start = self.starts[line as usize - 1] as usize;
        let before = self.text.get(start..place.min(self.text.len())).unwrap_or("");
        Place { line, column: u32::try_from(before.chars().count()).unwrap_or(u32::MAX).saturating_add(1) }
    }

    /// The text of a line (from 1) without its end; `None` behind the last one.
    #[must_use]
    pub fn text(&self, line: u32) -> Option<&'t str> {
        let start = *self.starts.get((line as usize).checked_sub(1)?)? as usize;
        let rest = self.text.get(start..)?;
        Some(line_end(rest).map_or(rest, |end| &rest[..end.start]))
    }

    /// The byte at a line and a column, both from 1; columns behind the end of the line mean its end.
    #[must_use]
    pub fn offset(&self, place: Place) -> Option<usize> {
        let start = *self.starts.get((place.line as usize).checked_sub(1)?)? as usize;
        let line = self.text(place.line)?;
        let column =
            line.char_indices().nth((place.column as usize).saturating_sub(1)).map_or(line.len(), |(at, _)| at);
        Some(start + column)
    }
}

/// Where the first line of a text ends: the bytes of its end.
#[must_use]
pub fn line_end(text: &str) -> Option<Range<usize>> {
    let start = text.bytes().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let long = text.as_bytes()[start..].starts_with(b"\r\n");
    Some(start..start + if long { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lf_crlf_and_cr_end_a_line_and_nothing_else_does() {
        let lines = Lines::of("a\nb\r\nc\rd\u{2028}\u{85}\u{c}e\r\r\nf");
        assert_eq!(lines.count(), 6);
        assert_eq!(lines.text(4), Some("d\u{2028}\u{85}\u{c}e"));
        assert_eq!(lines.text(5), Some(""));
        assert_eq!(lines.text(6), Some("f"));
        assert_eq!(lines.text(7), None);
    }

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        let text = "\u{feff}äöx\nü";
        let lines = Lines::of(text);
        let x = text.find('x').unwrap();
        assert_eq!(lines.place(x), Place { line: 1, column: 3 });
        assert_eq!(lines.offset(Place { line: 1, column: 3 }), Some(x));
        assert_eq!(lines.place(text.len()), Place { line: 2, column: 2 });
    }
}
