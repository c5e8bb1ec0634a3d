//! Hides values of secrets in what a step prints and raises, before any of it leaves the worker.
//!
//! What is looked for: the value itself, each line of one with several, and the value as JSON, as a URL and as base64 write
//! it. It is found also where a step prints it in pieces. A value that a step changes otherwise, or returns, is not hidden.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE};

/// Shorter values are not hidden, in bytes: they would be found everywhere.
pub const SECRET_BYTES_HIDDEN_MIN: usize = 4;
/// Shorter lines of a value are not hidden by themselves, in bytes.
const LINE_BYTES_MIN: usize = 8;
/// What stands in place of a value.
const MARK: &[u8] = b"***";
/// What the runner writes where it shortens a message or a traceback.
const CUT: &str = "\n… ";

/// The secrets of one attempt.
#[derive(Clone)]
pub(crate) struct Redactor {
    patterns: Arc<[Vec<u8>]>,
    /// Whether some pattern begins with this byte.
    firsts: Arc<[bool; 256]>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.len())
    }
}

/// What the bytes at some place are.
enum Place {
    /// So many bytes that must not be seen.
    Secret(usize),
    /// All that is left, and what comes next decides.
    Undecided,
    Plain,
}

impl Redactor {
    /// Hides these values; `None` where there is nothing to hide.
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Option<Self> {
        let mut patterns: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        let mut firsts = [false; 256];
        for pattern in &patterns {
            firsts[usize::from(*pattern.first()?)] = true;
        }
        (!patterns.is_empty()).then(|| Self { patterns: patterns.into(), firsts: Arc::new(firsts) })
    }

    /// A whole text with its secrets hidden, also those of which it has only one end because it was shortened.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut parts = Vec::new();
        for (number, part) in text.split(CUT).enumerate() {
            let part = match part.split_once(" …\n") {
                Some((cut, rest)) if number > 0 => format!("{cut} …\n{}", self.without_end_of_secret(rest)),
                _ => part.to_owned(),
            };
            let mut hidden = Stream::new(self.clone());
            let mut whole = hidden.push(part.as_bytes());
            whole.extend(hidden.finish());
            parts.push(String::from_utf8_lossy(&whole).into_owned());
        }
        parts.join(CUT)
    }

    /// A text that may begin within a secret.
    fn without_end_of_secret<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let ends = self.patterns.iter().flat_map(|pattern| {
            (1..pattern.len())
                .filter_map(|start| pattern.get(start..).filter(|end| end.len() >= SECRET_BYTES_HIDDEN_MIN))
        });
        let longest = ends.filter(|end| text.as_bytes().starts_with(end)).map(<[u8]>::len).max();
        match longest.and_then(|length| text.get(length..)) {
            Some(rest) => Cow::Owned(format!("***{rest}")),
            None => Cow::Borrowed(text),
        }
    }

    fn look(&self, rest: &[u8]) -> Place {
        if !rest.first().is_some_and(|first| self.firsts[usize::from(*first)]) {
            return Place::Plain;
        }
        // Longest first: what may still become a longer one is waited for.
        for pattern in self.patterns.iter() {
            if pattern.len() > rest.len() && pattern.starts_with(rest) {
                return Place::Undecided;
            }
            if rest.starts_with(pattern) {
                return Place::Secret(pattern.len());
            }
        }
        Place::Plain
    }
}

/// A stream of bytes in which secrets are hidden. What may be the beginning of one is held back until more comes.
#[derive(Debug)]
pub(crate) struct Stream {
    redactor: Redactor,
    held: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, held: Vec::new() }
    }

    /// What can be shown, now that this has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.held);
        rest.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(rest.len());
        let mut place = 0;
        while place < rest.len() {
            match self.redactor.look(&rest[place..]) {
                Place::Plain => {
                    shown.push(rest[place]);
                    place += 1;
                }
                Place::Secret(length) => {
                    shown.extend_from_slice(MARK);
                    place += length;
                }
                Place::Undecided => {
                    self.held = rest.split_off(place);
                    break;
                }
            }
        }
        shown
    }

    /// What is left when no more comes: the beginning of a secret is hidden, unless it is too short to say anything.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        if held.len() >= SECRET_BYTES_HIDDEN_MIN { MARK.to_vec() } else { held }
    }
}

/// The forms in which a value may be printed.
fn forms(value: &str) -> Vec<Vec<u8>> {
    if value.len() < SECRET_BYTES_HIDDEN_MIN {
        return Vec::new();
    }
    let mut forms = vec![value.as_bytes().to_vec()];
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_BYTES_MIN);
    forms.extend(lines.map(|line| line.as_bytes().to_vec()));
    if let Ok(json) = serde_json::to_string(value) {
        forms.push(json.as_bytes()[1..json.len() - 1].to_vec());
        forms.push(in_ascii(&json[1..json.len() - 1]));
    }
    for plain in [&b"-._~"[..], b"-._~/"] {
        forms.push(percent_encoded(value, plain, "%20"));
        forms.push(percent_encoded(value, plain, "+"));
    }
    for engine in [STANDARD, URL_SAFE] {
        forms.push(engine.encode(value).into_bytes());
        forms.extend((0..3).filter_map(|before| within_base64(&engine, value.as_bytes(), before)));
    }
    forms
}

/// A text of JSON with everything beyond ASCII escaped.
fn in_ascii(json: &str) -> Vec<u8> {
    let mut text = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text.into_bytes()
}

fn percent_encoded(value: &str, plain: &[u8], space: &str) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || plain.contains(&byte);
    let encode = |byte: u8| match byte {
        b' ' => space.as_bytes().to_vec(),
        byte if is_plain(byte) => vec![byte],
        byte => format!("%{byte:02X}").into_bytes(),
    };
    value.bytes().flat_map(encode).collect()
}

/// What is always the same of base64 in which a value stands after so many bytes (modulo three), whatever these and those
/// after it are; `None` where that is too little.
fn within_base64(engine: &GeneralPurpose, value: &[u8], before: usize) -> Option<Vec<u8>> {
    const BITS: usize = 6;
    let text = engine.encode([&vec![0; before], value].concat()).into_bytes();
    let (first, end) = ((8 * before).div_ceil(BITS), 8 * (before + value.len()) / BITS);
    text.get(first..end).filter(|certain| certain.len() >= LINE_BYTES_MIN).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(values: &[&str], pieces: &[&str]) -> String {
        let mut stream = Stream::new(Redactor::new(values.iter().copied()).unwrap());
        let mut shown = Vec::new();
        pieces.iter().for_each(|piece| shown.extend(stream.push(piece.as_bytes())));
        shown.extend(stream.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn a_value_is_hidden_wherever_it_is_cut() {
        let text = "a hunter2 b";
        for cut in 0..text.len() {
            assert_eq!(hidden(&["hunter2"], &[&text[..cut], &text[cut..]]), "a *** b", "{cut}");
        }
        let letters: Vec<String> = text.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(hidden(&["hunter2"], &letters), "a *** b");
    }

    #[test]
    fn what_only_begins_like_a_value_is_shown() {
        assert_eq!(hidden(&["hunter2"], &["hunt", "ing hunter3"]), "hunting hunter3");
        assert_eq!(hidden(&["aab1"], &["aaab1"]), "a***");
    }

    #[test]
    fn a_value_that_is_cut_off_at_the_end_is_hidden() {
        assert_eq!(hidden(&["hunter2"], &["x hunte"]), "x ***");
        assert_eq!(hidden(&["hunter2"], &["x hu"]), "x hu");
    }

    #[test]
    fn of_two_values_the_longer_one_is_hidden_whole() {
        assert_eq!(hidden(&["hunter", "hunter-two"], &["hunter-", "two hunter!"]), "*** ***!");
    }

    #[test]
    fn a_value_is_hidden_as_json_url_and_base64_write_it() {
        let value = "p\"w/rd+long\n2nd line";
        let json = serde_json::to_string(value).unwrap();
        assert_eq!(hidden(&[value], &[&json]), "\"***\"");
        assert_eq!(hidden(&[value], &["p%22w%2Frd%2Blong%0A2nd%20line."]), "***.");
        let encoded = STANDARD.encode(format!("{value} and more"));
        assert!(hidden(&[value], &[&encoded]).starts_with("***"));
        for before in ["", "u:", "us:", "usr:", "user:"] {
            let encoded = STANDARD.encode(format!("{before}plainsecretvalue"));
            let shown = hidden(&["plainsecretvalue"], &[&encoded]);
            assert!(shown.contains("***") && shown.len() <= before.len() * 2 + 7, "{before}: {shown}");
        }
        assert_eq!(hidden(&["plainsecretvalue"], &[&STANDARD.encode("plainsecretvalue")]), "***");
        assert_eq!(
            hidden(&[value], &["12:00 p\"w/rd+long\n12:01 2nd line\n"]),
            "12:00 ***\n12:01 2nd line\n".replace("2nd line", "***")
        );
    }

    #[test]
    fn a_value_is_hidden_as_python_writes_it() {
        let value = "p@ss w/ord é𝄞";
        for written in [
            r"p@ss w/ord \u00e9\ud834\udd1e",
            "p%40ss%20w/ord%20%C3%A9%F0%9D%84%9E",
            "p%40ss%20w%2Ford%20%C3%A9%F0%9D%84%9E",
            "p%40ss+w%2Ford+%C3%A9%F0%9D%84%9E",
        ] {
            assert_eq!(hidden(&[value], &[&format!("({written})")]), "(***)");
        }
    }

    #[test]
    fn short_values_are_not_hidden() {
        assert!(Redactor::new(["abc", ""]).is_none());
    }

    #[test]
    fn a_shortened_text_shows_no_end_of_a_value() {
        let redactor = Redactor::new(["correct-horse"]).unwrap();
        let shown =
            redactor.text("ValueError: correct-\n… 100 characters left out …\nect-horse is wrong, correct-horse");
        assert_eq!(shown, "ValueError: ***\n… 100 characters left out …\n*** is wrong, ***");
    }
}
