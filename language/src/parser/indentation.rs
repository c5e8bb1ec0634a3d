//! How deep a line stands, and what to say when it stands wrong.

use crate::finding::{Finding, Findings};
use crate::limits::TAB_CHARS_MAX;
use crate::reader::Row;
use crate::text::{BLANKS, Span, is_odd_blank, line_end};

/// One level, where the script says nothing else.
pub const DEFAULT_UNIT: &str = "    ";

/// Measures lines by the script's unit.
///
/// A script that is consistently indented by something else earns one error and not one for every line: the first wrong
/// unit is then accepted for the rest.
#[derive(Debug)]
pub struct Indentation<'t> {
    text: &'t str,
    unit: &'t str,
    adopted: Option<&'t str>,
    unit_seen: bool,
    reported: Option<&'t str>,
    wrong_row: Option<usize>,
}

impl<'t> Indentation<'t> {
    /// By the unit that the script says, or four spaces.
    pub fn new(text: &'t str, unit: Option<&'t str>) -> Self {
        let unit = unit.unwrap_or(DEFAULT_UNIT);
        Self { text, unit, adopted: None, unit_seen: false, reported: None, wrong_row: None }
    }

    /// The level of a line in a block where no line may stand deeper than `deepest`. A wrong line is taken for the
    /// nearest level.
    pub fn level(&mut self, row: Row, deepest: usize, findings: &mut Findings) -> usize {
        let found = row.indentation().of(self.text);
        if found.is_empty() {
            self.reported = None;
            return 0;
        }
        let by_adopted = self.adopted.and_then(|unit| levels(found, unit)).filter(|level| *level <= deepest);
        if let Some(level) = by_adopted {
            return level;
        }
        let exact = levels(found, self.unit);
        if let Some(level) = exact.filter(|level| *level <= deepest) {
            self.unit_seen = true;
            self.reported = None;
            return level;
        }
        self.wrong_row = Some(row.start);
        if self.reported.replace(found) != Some(found) {
            findings.add(self.complaint(row, found, deepest));
        }
        let blank = found.trim_matches(BLANKS).is_empty();
        if exact.is_none() && blank && deepest == 1 && !self.unit_seen && self.adopted.is_none() {
            self.adopted = Some(found);
        }
        nearest_level(found, self.unit).min(deepest)
    }

    /// Whether the last line that was measured stood wrong.
    pub fn was_wrong(&self, row: Row) -> bool {
        self.wrong_row == Some(row.start)
    }

    /// What one level is, in words.
    pub fn unit_in_words(&self) -> String {
        in_words(self.unit)
    }

    fn complaint(&self, row: Row, found: &str, deepest: usize) -> Finding {
        let finding = Finding::syntax(row.indentation(), format!("wrong indentation: {}", in_words(found)));
        match deepest {
            0 => finding
                .expected("no indentation")
                .hint("brackets let a statement go on over lines: `p = (a |` … `)`".to_owned()),
            _ => finding.expected(in_words(&self.unit.repeat(deepest))).hint(self.unit_hint(found)),
        }
    }

    fn unit_hint(&self, found: &str) -> Option<String> {
        let written = found.replace('\t', "\\t");
        let blank = found.trim_matches(BLANKS).is_empty();
        (blank && levels(found, self.unit).is_none() && !self.unit_seen && found.len() <= TAB_CHARS_MAX)
            .then(|| format!("a script that is indented by {} says so at its top: TAB = '{written}'", in_words(found)))
    }
}

fn levels(found: &str, unit: &str) -> Option<usize> {
    let fits = !unit.is_empty() && found.len().is_multiple_of(unit.len());
    (fits && found.as_bytes().chunks(unit.len()).all(|level| level == unit.as_bytes()))
        .then(|| found.len() / unit.len())
}

fn nearest_level(found: &str, unit: &str) -> usize {
    let tabs = found.bytes().filter(|byte| *byte == b'\t').count();
    let spaces = found.len() - tabs;
    (tabs + (spaces + unit.len() / 2) / unit.len().max(1)).max(1)
}

/// Blanks in words: "4 spaces", "a tab character".
pub fn in_words(blanks: &str) -> String {
    let count = |wanted: u8| blanks.bytes().filter(|byte| *byte == wanted).count();
    let some = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(one.to_owned()),
        _ => Some(format!("{count} {many}")),
    };
    let spaces = some(count(b' '), "1 space", "spaces");
    let tabs = some(count(b'\t'), "a tab character", "tab characters");
    let odd = blanks.chars().find(|blank| is_odd_blank(*blank));
    let odd = odd.map(|blank| format!("a blank that is no space (U+{:04X})", blank as u32));
    let parts: Vec<String> = [spaces, tabs, odd].into_iter().flatten().collect();
    if parts.is_empty() { "no indentation".to_owned() } else { parts.join(" and ") }
}

/// A line `TAB = '…'`.
#[derive(Debug, Clone, Copy)]
pub struct TabLine<'t> {
    /// All of it.
    pub span: Span,
    /// The text between the quotes, or what is wrong with it.
    pub unit: Result<&'t str, &'static str>,
}

/// Reads a line as `TAB = '…'`; `None` where it is none. `line` is the line from its first character on.
pub fn tab_line(text: &str, span: Span) -> Option<TabLine<'_>> {
    let rest = span.of(text).strip_prefix("TAB")?.trim_start_matches(BLANKS).strip_prefix('=')?;
    let rest = rest.trim_start_matches(BLANKS);
    let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = &rest[1..];
    let unit = inner.split_once(quote).ok_or("the quote is not closed").and_then(|(unit, after)| {
        let after = after.trim_matches(BLANKS);
        if after.is_empty() || after.starts_with('#') { unit_of(unit) } else { Err("there is text behind the quote") }
    });
    Some(TabLine { span, unit })
}

fn unit_of(written: &str) -> Result<&str, &'static str> {
    match written {
        "\\t" => Ok("\t"),
        "" => Err("it is empty"),
        _ if written.len() > TAB_CHARS_MAX => Err("it is too long"),
        _ if written.trim_matches(BLANKS).is_empty() => Ok(written),
        _ => Err("it holds something else than spaces and tab characters"),
    }
}

/// The first `TAB = '…'` at the margin, looked for before anything is measured: it counts for the whole file.
pub fn find_tab_line(text: &str, from: usize) -> Option<TabLine<'_>> {
    let mut at = from;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, next) = line_end(rest).map_or((rest.len(), rest.len()), |end| (end.start, end.end));
        let line = &rest[..length];
        if let Some(found) = tab_line(text, Span::new(at, at + length)) {
            return Some(found);
        }
        let said = &line[..line.find('#').unwrap_or(line.len())];
        at = match opening_tick(said) {
            Some(tick) => after_block(text, at + tick)?,
            None => at + next,
        };
    }
    None
}

/// Where code opens on a line: at its start, or behind the bracket of an import.
fn opening_tick(line: &str) -> Option<usize> {
    line.match_indices('`').map(|(at, _)| at).find(|at| {
        let before = line[..*at].trim_end_matches(BLANKS);
        before.is_empty() || before.ends_with(')')
    })
}

/// The start of the line behind the code block that opens at `tick`.
fn after_block(text: &str, tick: usize) -> Option<usize> {
    let closing = tick + 1 + text.get(tick + 1..)?.find('`')?;
    Some(closing + line_end(&text[closing..])?.end)
}
