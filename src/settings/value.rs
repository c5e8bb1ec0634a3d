//! How the text of a setting becomes a value, and back for the documentation.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::PartialAddress;

/// A kind of values that settings have.
pub trait Value: Sized {
    /// What is expected, for errors: "a port (1 to 65535)".
    const EXPECTED: &'static str;

    /// Reads it; `None` when the text is nothing of this kind.
    fn parse(text: &str) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// A TCP port. 0, any free one, is for listening only.
impl Value for u16 {
    const EXPECTED: &'static str = "a port (0 to 65535)";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for PartialAddress {
    const EXPECTED: &'static str = "`host` or `host:port`";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A name or an IP address, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub String);

impl Value for Host {
    const EXPECTED: &'static str = "a host name or an IP address, without a port";

    fn parse(text: &str) -> Option<Self> {
        let address: PartialAddress = text.parse().ok()?;
        address.port.is_none().then_some(Self(address.host))
    }
}

/// A number of bytes, with or without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Value for Size {
    const EXPECTED: &'static str =
        "a size such as 4096, 512KiB, 64MiB or 1GiB, from 1 on (units: B, KiB, MiB, GiB; bytes where none is given)";

    fn parse(text: &str) -> Option<Self> {
        Self::from(text, 1)
    }
}

impl Size {
    /// Reads a size of at least so many bytes.
    pub fn from(text: &str, least: u64) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let factor: u64 = match text[digits.len()..].trim() {
            "" | "B" => 1,
            "KiB" | "K" => 1 << 10,
            "MiB" | "M" => 1 << 20,
            "GiB" | "G" => 1 << 30,
            _ => return None,
        };
        let number = digits.parse::<u64>().ok()?.checked_mul(factor)?;
        (number >= least).then_some(Self(number))
    }

    /// What is expected of a size of at least so many bytes.
    pub fn expected(least: u64) -> String {
        let expected = Self::EXPECTED.replace("from 1 on", &format!("from {least} on"));
        if least > 4_096 { expected.replace("4096, 512KiB, ", "") } else { expected }
    }
}

/// How many of something there are.
impl Value for u32 {
    const EXPECTED: &'static str = "a whole number from 1 on";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }
}

/// Slots of a worker; the bounds are those of its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots(pub u32);

impl Value for Slots {
    const EXPECTED: &'static str = "a whole number from 1 to 10000";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|slots| (1..=10_000).contains(slots)).map(Self)
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time such as 500ms, 20s, 5m or 1h, from 1ms to ten years (units: ms, s, m, h, d; seconds where none is given)";

    fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let milliseconds = match text[digits.len()..].trim() {
            "ms" => 1.0,
            "" | "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        let number: f64 = digits.parse().ok()?;
        let total = number * milliseconds;
        // Ten years: longer times overflow clocks, and are not meant.
        (1.0..=3.2e11).contains(&total).then(|| Self::from_millis(total as u64))
    }
}

/// Names of scopes, first ones first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(pub Vec<String>);

impl Value for Scopes {
    const EXPECTED: &'static str = "scope names with commas between them";

    fn parse(text: &str) -> Option<Self> {
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        (!names.is_empty()).then_some(Self(names))
    }
}

impl Value for sandbox::Policy {
    const EXPECTED: &'static str = "`strict`, `standard` or `off`";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Files and folders that the sandbox opens to steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened(pub Vec<PathBuf>);

impl Opened {
    /// Whether a folder is the whole machine.
    pub fn is_all(path: &Path) -> bool {
        path.canonicalize().is_ok_and(|place| place == Path::new("/"))
    }
}

impl Value for Opened {
    const EXPECTED: &'static str =
        "absolute paths with colons between them, and none of them `/`, which is the whole machine";

    fn parse(text: &str) -> Option<Self> {
        let paths: Vec<PathBuf> =
            text.split(':').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        let fits = |path: &PathBuf| path.is_absolute() && !Self::is_all(path);
        (!paths.is_empty() && paths.iter().all(fits)).then_some(Self(paths))
    }
}

/// A token as a header can carry it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl Value for Token {
    const EXPECTED: &'static str = "8 to 512 visible ASCII characters without blanks";

    fn parse(text: &str) -> Option<Self> {
        let fits = (8..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }
}

/// How the documentation shows a number that is a size.
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        size if size >= 1 << 30 && size.is_multiple_of(1 << 30) => format!("{}GiB", size >> 30),
        size if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{}MiB", size >> 20),
        size if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{}KiB", size >> 10),
        size => size.to_string(),
    }
}

/// How the documentation shows a time.
pub fn show_duration(time: Duration) -> String {
    match time.as_millis() {
        ms if ms >= 86_400_000 && ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        ms if ms >= 3_600_000 && ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        ms if ms >= 60_000 && ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        ms if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_with_and_without_units() {
        assert_eq!(Size::parse("64MiB"), Some(Size(64 << 20)));
        assert_eq!(Size::parse("4096"), Some(Size(4096)));
        for text in ["", "0", "-1", "1.5", "64MB", "x", "99999999999999999999", "20000000000GiB"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        assert_eq!((Size::from("0", 0), Size::from("1KiB", 1_025)), (Some(Size(0)), None));
        assert!(Size::expected(16_000_000).starts_with("a size such as 64MiB or 1GiB, from 16000000 on (units: "));
        assert_eq!((u32::parse("7"), Slots::parse("10000")), (Some(7), Some(Slots(10_000))));
        for text in ["0", "10001", "1KiB", "-1", "x"] {
            assert_eq!(Slots::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_read_with_and_without_units() {
        assert_eq!(Duration::parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(Duration::parse("1.5 m"), Some(Duration::from_secs(90)));
        assert_eq!(Duration::parse("20"), Some(Duration::from_secs(20)));
        for text in ["", "s", "0s", "-1s", "1w", "nan", "inf", "1e99h"] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
    }

    #[test]
    fn scopes_are_trimmed_and_named_once() {
        let scopes = Scopes::parse(" a, b,,a ").unwrap();
        assert_eq!(scopes.0, ["a", "b"]);
        assert_eq!(Scopes::parse(" , "), None);
    }

    #[test]
    fn the_whole_machine_is_no_folder_for_steps() {
        for text in ["/", "/tmp:/", "//", "/tmp/..", "/./"] {
            assert_eq!(Opened::parse(text), None, "{text}");
        }
        assert_eq!(Opened::parse("/tmp:/nonexistent").unwrap().0.len(), 2);
    }

    #[test]
    fn what_the_documentation_shows_reads_back() {
        for bytes in [1, 1_000, 1 << 20, 3 << 30] {
            assert_eq!(Size::parse(&show_bytes(bytes)), Some(Size(bytes)));
        }
        for ms in [1, 1_500, 20_000, 300_000, 7_200_000, 604_800_000] {
            let time = Duration::from_millis(ms);
            assert_eq!(Duration::parse(&show_duration(time)), Some(time));
        }
    }

    #[test]
    fn a_token_fits_into_a_header() {
        assert!(Token::parse("0123456789abcdef").is_some());
        for text in ["short", "with blank inside", "ümlaut-ümlaut", "line\nbreak-line"] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }
}
