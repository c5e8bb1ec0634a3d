//! Writing to the terminal: results to standard output, everything else to standard error.
//!
//! A reader that goes away early (`bue value j1 | head`) is no error.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use crate::error::{Error, Result};

/// Prints `text` and a line end to standard output. Much of what is shown comes from steps, scripts and other machines:
/// it cannot command the terminal.
pub fn print(text: &str) -> Result {
    write_out(&shown(text))
}

/// Prints what a job has printed or returned: byte for byte, unless a person looks at it.
pub fn print_content(text: &str) -> Result {
    if io::stdout().is_terminal() { print(text) } else { write_out(text) }
}

/// Prints a part of what jobs print, as it comes, and tells whether there is somebody who reads on.
pub fn print_part(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    let text = if io::stdout().is_terminal() { shown(text) } else { Cow::Borrowed(text) };
    is_read(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn write_out(text: &str) -> Result {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") }?;
        out.flush()
    });
    is_read(written).map(drop)
}

/// Whether what was written had a reader.
fn is_read(written: io::Result<()>) -> Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::machine(format_args!("cannot write to standard output: {error}"))),
    }
}

/// Text with everything that would command a terminal, or reverse what stands there, written as `\u001b`; such a text
/// stays the same JSON.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_command(character) {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn is_command(character: char) -> bool {
    let reverses = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reverses || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// Narrower terminals get lines that are too long: a table cannot be squeezed without end.
const WIDTH_MIN: u16 = 60;

/// The progress bar that is on the terminal, if one is: other lines must not be written into it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which progress bar is on the terminal.
pub fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Prints `text` and a line end to standard error. When nobody can read it, nobody is told.
pub fn note(text: &str) {
    note_coloured(&shown(text));
}

/// The same for a text of our own making that may hold colours.
pub fn note_coloured(text: &str) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(|| write_note(text)),
        None => write_note(text),
    }
}

fn write_note(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.write_all(b"\n"));
}

/// Whether colours may be used on standard error.
pub fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether a person watches standard error.
pub fn watched() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal that standard output goes to, if it is one.
pub fn width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    terminal_size::terminal_size_of(&out).map(|(width, _)| width.0.max(WIDTH_MIN))
}

/// `1 job`, `2 jobs`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(count)) }
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    let units = [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) if count.is_multiple_of(size) => format!("{} {unit}", count / size),
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size as f64),
        None => plural(count, "byte", "bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_command_a_terminal_is_shown_and_stays_the_same_json() {
        assert_eq!(shown("a\n\tb ü"), "a\n\tb ü");
        assert_eq!(shown("\u{1b}[2J\u{7}\r\u{9b}\u{202e}"), r"\u001b[2J\u0007\u000d\u009b\u202e");
        let json = "\"\u{7f}\u{85}\"";
        assert_eq!(
            serde_json::from_str::<String>(&shown(json)).unwrap(),
            serde_json::from_str::<String>(json).unwrap()
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(plural(1, "job", "jobs"), "1 job");
        assert_eq!(plural(1_000, "job", "jobs"), "1,000 jobs");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1_600), "1.6 KiB");
    }
}
