//! Settings: `$ name`, `!9`, `!scope name`, `!priority 9`, `!timeout 20 * 60`, `!retries 2`, and those of `runtime`.

mod quantity;
mod runtime;

use protocol::Settings;

pub use runtime::words;

use crate::expression::{self, ExpressionError};
use crate::finding::{Finding, Findings, quote};
use crate::grammar;
use crate::limits::NAME_CHARS_MAX;
use crate::suggest;
use crate::text::{BLANKS, Span};
use crate::tree::{Setting, SettingValue};

/// What can be set, by its newer word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Scope,
    Priority,
    Timeout,
    Retries,
    Backoff,
    Isolation,
    Memory,
    Cpu,
    Processes,
    Network,
    Env,
    Secret,
    Python,
    Requirements,
    Connection,
}

/// The words of the settings, each with an example in backticks.
pub const WORDS: [(&str, &str); 15] = [
    ("scope", "`!scope production-small`"),
    ("priority", "`!priority 9`"),
    ("timeout", "`!timeout 20 * 60`"),
    ("retries", "`!retries 2`"),
    ("backoff", "`!backoff 1s..5m`"),
    ("isolation", "`!isolation fresh`"),
    ("memory", "`!memory 512MB`"),
    ("cpu", "`!cpu 60`"),
    ("processes", "`!processes 32`"),
    ("network", "`!network off`"),
    ("env", "`!env REGION`"),
    ("secret", "`!secret API_TOKEN`"),
    ("python", "`!python 3.12`"),
    ("requirements", "`!requirements requests==2.32 pandas`"),
    ("connection", "`!connection warehouse`"),
];

impl Word {
    const ALL: [Self; WORDS.len()] = [
        Self::Scope,
        Self::Priority,
        Self::Timeout,
        Self::Retries,
        Self::Backoff,
        Self::Isolation,
        Self::Memory,
        Self::Cpu,
        Self::Processes,
        Self::Network,
        Self::Env,
        Self::Secret,
        Self::Python,
        Self::Requirements,
        Self::Connection,
    ];

    fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|candidate| candidate.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        WORDS[self as usize].0
    }

    fn sign(self) -> String {
        format!("!{}", self.as_str())
    }

    fn example(self) -> &'static str {
        WORDS[self as usize].1
    }
}

/// Reads all settings that stand on one line.
pub fn read(text: &str, line: Span, findings: &mut Findings) -> Vec<Setting> {
    let mut settings: Vec<Setting> = Vec::new();
    for span in pieces(text, line) {
        match read_one(text, span) {
            Ok(value) => settings.push(Setting { span, value }),
            Err(finding) => findings.add(*finding),
        }
    }
    settings
}

/// Where the settings of a line start and end: one starts at a `!` or `$` behind a blank.
fn pieces(text: &str, line: Span) -> Vec<Span> {
    let mut starts = vec![line.start()];
    let mut blank = false;
    for (at, byte) in line.of(text).bytes().enumerate().skip(1) {
        if blank && matches!(byte, b'!' | b'$') {
            starts.push(line.start() + at);
        }
        blank = matches!(byte, b' ' | b'\t');
    }
    let ends = starts.iter().skip(1).copied().chain([line.end()]);
    starts.iter().zip(ends).map(|(start, end)| Span::new(*start, end).trim(text)).collect()
}

type Wrong = Box<Finding>;

/// Reads one setting, its `!` or `$` included.
pub fn read_one(text: &str, span: Span) -> Result<SettingValue, Wrong> {
    let after_sign = Span::new((span.start() + 1).min(span.end()), span.end()).trim(text);
    if span.of(text).starts_with('$') {
        return scope(text, span, after_sign, "$");
    }
    if after_sign.of(text).starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-')) {
        return priority(text, span, after_sign, "!");
    }
    let written = after_sign.of(text);
    let length = written.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'));
    let name = &written[..length.unwrap_or(written.len())];
    let Some(word) = Word::find(name) else { return Err(Box::new(unknown(span, name))) };
    let value = Span::new(after_sign.start() + name.len(), after_sign.end()).trim(text);
    match word {
        Word::Scope => scope(text, span, value, "!scope"),
        Word::Priority => priority(text, span, value, "!priority"),
        Word::Timeout => timeout(text, span, value),
        Word::Retries => retries(text, span, value),
        word => runtime::read(word, text, span, value),
    }
}

fn unknown(span: Span, name: &str) -> Finding {
    let message = match name {
        "" => "`!` names no setting".to_owned(),
        _ => format!("unknown setting {}", quote(&format!("!{name}"))),
    };
    let all: Vec<String> = Word::ALL.iter().map(|word| format!("`!{}`", word.as_str())).collect();
    Finding::syntax(span, message)
        .expected(format!("one of {}", all.join(", ")))
        .hint(suggest::nearest(name, Word::ALL.map(Word::as_str)).map(|near| format!("did you mean `!{near}`?")))
}

fn empty(span: Span, sign: impl AsRef<str>, example: &str) -> Wrong {
    Box::new(
        Finding::syntax(span, format!("{} has no value", quote(sign.as_ref())))
            .expected(format!("a value, as in {example}")),
    )
}

fn scope(text: &str, span: Span, value: Span, sign: &str) -> Result<SettingValue, Wrong> {
    let name = value.of(text);
    if name.is_empty() {
        let example = if sign == "$" { "`$ production-small`" } else { Word::Scope.example() };
        return Err(empty(span, sign, example));
    }
    if !grammar::is_name(name) || name.chars().count() > NAME_CHARS_MAX {
        let finding = Finding::syntax(value, format!("{} is no name of a scope", quote(name)));
        return Err(Box::new(finding.expected("letters, digits, `_`, `-` and blanks between them")));
    }
    Ok(SettingValue::Scope(value))
}

fn priority(text: &str, span: Span, value: Span, sign: &str) -> Result<SettingValue, Wrong> {
    let digits = value.of(text);
    if digits.is_empty() {
        return Err(empty(span, sign, Word::Priority.example()));
    }
    digits.parse().map(SettingValue::Priority).map_err(|_| {
        let range = "a whole number of at most 18 digits, as in `!9` or `!priority -3`";
        Box::new(Finding::syntax(value, format!("{} is no priority", quote(digits))).expected(range))
    })
}

fn retries(text: &str, span: Span, value: Span) -> Result<SettingValue, Wrong> {
    let digits = value.of(text);
    if digits.is_empty() {
        return Err(empty(span, "!retries", Word::Retries.example()));
    }
    digits.parse().ok().filter(|retries| *retries <= Settings::RETRIES_MAX).map(SettingValue::Retries).ok_or_else(
        || {
            let range = format!("a whole number from 0 to {}", Settings::RETRIES_MAX);
            Box::new(Finding::syntax(value, format!("{} is no number of retries", quote(digits))).expected(range))
        },
    )
}

fn timeout(text: &str, span: Span, value: Span) -> Result<SettingValue, Wrong> {
    if value.of(text).trim_matches(BLANKS).is_empty() {
        return Err(empty(span, "!timeout", Word::Timeout.example()));
    }
    let milliseconds = seconds(text, value, "time limit", Settings::TIMEOUT_MS_MAX / 1_000)?;
    Ok(SettingValue::Timeout { milliseconds })
}

/// Milliseconds of a time that is written as an expression in seconds: more than 0, at most `seconds_max`.
fn seconds(text: &str, value: Span, what: &str, seconds_max: u64) -> Result<u64, Wrong> {
    let seconds = expression::evaluate(text, value).map_err(|error| Box::new(no_expression(text, value, error)))?;
    milliseconds(seconds.as_f64(), seconds_max * 1_000).ok_or_else(|| {
        let range = format!("more than 0 and at most {seconds_max} seconds ({} days)", seconds_max / 86_400);
        let written = quote(value.of(text));
        let message = format!("{written} is no {what}: it comes to {} seconds", shown(seconds.as_f64()));
        Box::new(Finding::syntax(value, message).expected(range))
    })
}

/// Numbers of any size on few characters.
fn shown(seconds: f64) -> String {
    if seconds.abs() < 1e15 { format!("{seconds}") } else { format!("{seconds:e}") }
}

fn no_expression(text: &str, value: Span, error: ExpressionError) -> Finding {
    let written = quote(value.of(text));
    match error {
        ExpressionError::Form { place, expected } => {
            let end = place + text[place..value.end().max(place)].chars().next().map_or(0, char::len_utf8);
            let unit_hint = value.of(text).ends_with(|last: char| last.is_ascii_alphabetic());
            Finding::syntax(Span::new(place, end), format!("{written} is no arithmetic expression"))
                .expected(expected.unwrap_or_else(|| "a number".to_owned()))
                .hint(unit_hint.then(|| "the time is in seconds, without a unit: `!timeout 20 * 60`".to_owned()))
        }
        _ => Finding::syntax(value, format!("{written} has no value: {error}")),
    }
}

/// Milliseconds of a time limit in seconds, never rounded down to nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn milliseconds(seconds: f64, milliseconds_max: u64) -> Option<u64> {
    let milliseconds = (seconds * 1_000.0).round().max(1.0);
    (seconds > 0.0 && milliseconds <= milliseconds_max as f64).then_some(milliseconds as u64)
}
