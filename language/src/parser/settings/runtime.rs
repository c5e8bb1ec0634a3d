//! Settings of what the attempts of a step run in and may use: `!backoff 1s..5m`, `!memory 512MB`, `!secret NAME` …

use protocol::{Backoff, Isolation};

use super::quantity::{duration_ms, size_bytes};
use super::{Word, Wrong, empty, seconds};
use crate::finding::{Finding, quote};
use crate::limits::{
    CPU_SECONDS_MAX, MEMORY_BYTES_MAX, MEMORY_BYTES_MIN, NAME_CHARS_MAX, PROCESSES_MAX, REQUIREMENTS_MAX, VARIABLES_MAX,
};
use crate::suggest;
use crate::text::Span;
use crate::tree::SettingValue;

type Read = Result<SettingValue, Wrong>;

/// Reads the value of a word of this family.
pub fn read(word: Word, text: &str, span: Span, value: Span) -> Read {
    if value.of(text).is_empty() {
        return Err(empty(span, word.sign(), word.example()));
    }
    match word {
        Word::Backoff => backoff(text, value),
        Word::Isolation => isolation(text, value),
        Word::Memory => memory(text, value),
        Word::Cpu => seconds(text, value, "processor time", CPU_SECONDS_MAX)
            .map(|milliseconds| SettingValue::Cpu { milliseconds }),
        Word::Processes => processes(text, value),
        Word::Network => network(text, value),
        Word::Env => variables(text, value, "variable").map(SettingValue::Env),
        Word::Secret => variables(text, value, "secret").map(SettingValue::Secret),
        Word::Python => python(text, value),
        Word::Requirements => requirements(text, value),
        _ => connection(text, value),
    }
}

fn wrong(place: Span, message: String, expected: impl Into<String>) -> Wrong {
    Box::new(Finding::syntax(place, message).expected(expected))
}

fn backoff(text: &str, value: Span) -> Read {
    let written = value.of(text);
    let (first, longest) = written.split_once("..").unwrap_or((written, written));
    let read = |part: &str| duration_ms(part.trim()).filter(|ms| (1..=Backoff::LONGEST_MS_MAX).contains(ms));
    match (read(first), read(longest)) {
        (Some(first_ms), Some(longest_ms)) if first_ms <= longest_ms => {
            Ok(SettingValue::Backoff(Backoff { first_ms, longest_ms }))
        }
        (Some(_), Some(_)) => Err(wrong(
            value,
            format!("{} goes from more to less", quote(written)),
            "the shorter one first, as in `!backoff 1s..5m`",
        )),
        _ => Err(wrong(
            value,
            format!("{} is no backoff", quote(written)),
            "the first and the longest pause before a further attempt, each more than 0 and at most a day, in `ms`, `s`, `m` or `h`: `!backoff 1s..5m`",
        )),
    }
}

fn isolation(text: &str, value: Span) -> Read {
    const WAYS: [(&str, Isolation); 3] =
        [("forked", Isolation::Forked), ("fresh", Isolation::Fresh), ("shared", Isolation::Shared)];
    let written = value.of(text);
    let found = WAYS.iter().find(|(name, _)| *name == written);
    found.map(|(_, isolation)| SettingValue::Isolation(*isolation)).ok_or_else(|| {
        let near = suggest::nearest(written, WAYS.iter().map(|(name, _)| *name));
        let finding = Finding::syntax(value, format!("{} is no isolation", quote(written)));
        let finding = finding.expected("`forked` (from a warm interpreter), `fresh` (a new interpreter) or `shared` (`async def` steps in one interpreter)");
        Box::new(finding.hint(near.map(|near| format!("did you mean `!isolation {near}`?"))))
    })
}

fn memory(text: &str, value: Span) -> Read {
    let written = value.of(text);
    let bytes = size_bytes(written).filter(|bytes| (MEMORY_BYTES_MIN..=MEMORY_BYTES_MAX).contains(bytes));
    bytes.map(|bytes| SettingValue::Memory { bytes }).ok_or_else(|| {
        wrong(
            value,
            format!("{} is no limit of memory", quote(written)),
            "a number and its unit, from 16MB to 1024GiB: `!memory 512MB`",
        )
    })
}

fn processes(text: &str, value: Span) -> Read {
    let written = value.of(text);
    let number = written.parse().ok().filter(|number| (1..=PROCESSES_MAX).contains(number));
    number.map(SettingValue::Processes).ok_or_else(|| {
        let expected = format!("a whole number from 1 to {PROCESSES_MAX}: `!processes 32`");
        wrong(value, format!("{} is no number of processes", quote(written)), expected)
    })
}

fn network(text: &str, value: Span) -> Read {
    match value.of(text) {
        "on" => Ok(SettingValue::Network(true)),
        "off" => Ok(SettingValue::Network(false)),
        other => {
            Err(wrong(value, format!("{} is neither `on` nor `off`", quote(other)), "`!network off` or `!network on`"))
        }
    }
}

/// Names of environment variables, apart by blanks.
fn variables(text: &str, value: Span, what: &str) -> Result<Span, Wrong> {
    for (number, name) in words(text, value).enumerate() {
        let written = name.of(text);
        if number >= VARIABLES_MAX {
            return Err(wrong(name, format!("more than {VARIABLES_MAX} names"), "fewer"));
        }
        let is_name = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !written.starts_with(|first: char| first.is_ascii_digit())
            && written.len() <= NAME_CHARS_MAX;
        if !is_name {
            let expected = "letters without accents, digits and `_`, the names apart by blanks: `API_TOKEN REGION`";
            return Err(wrong(name, format!("{} is no name of a {what}", quote(written)), expected));
        }
        if written.starts_with("BUE_") {
            let expected = "a name that does not begin with `BUE_`: those are Buelon's own";
            return Err(wrong(name, format!("no step gets {}", quote(written)), expected));
        }
    }
    Ok(value)
}

fn python(text: &str, value: Span) -> Read {
    let written = value.of(text);
    let mut parts = written.split('.');
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_version = parts.next() == Some("3") && parts.clone().count() <= 2 && parts.next().is_some_and(is_number);
    if is_version && parts.all(is_number) {
        return Ok(SettingValue::Python(value));
    }
    Err(wrong(value, format!("{} is no version of Python", quote(written)), "3 and the minor version: `!python 3.12`"))
}

fn requirements(text: &str, value: Span) -> Read {
    let mut words = words(text, value).enumerate();
    while let Some((number, word)) = words.next() {
        if number >= REQUIREMENTS_MAX {
            let message = format!("more than {REQUIREMENTS_MAX} requirements");
            return Err(wrong(word, message, "a file of requirements: `!requirements -r requirements.txt`"));
        }
        let written = word.of(text);
        if written == "-r" {
            if words.next().is_none() {
                return Err(wrong(word, "`-r` names no file".to_owned(), "`!requirements -r requirements.txt`"));
            }
        } else if !written.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            let expected = "packages as pip takes them, without blanks inside, or `-r` and a file: `!requirements requests==2.32 pandas`";
            return Err(wrong(word, format!("{} is no requirement", quote(written)), expected));
        }
    }
    Ok(SettingValue::Requirements(value))
}

fn connection(text: &str, value: Span) -> Read {
    let written = value.of(text);
    let is_name = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_name && written.len() <= NAME_CHARS_MAX {
        return Ok(SettingValue::Connection(value));
    }
    Err(wrong(
        value,
        format!("{} is no name of a connection", quote(written)),
        "letters without accents, digits, `_` and `-`: `!connection warehouse`",
    ))
}

/// The words of a value, apart by blanks.
pub fn words(text: &str, value: Span) -> impl Iterator<Item = Span> {
    let written = value.of(text);
    written.split([' ', '\t']).filter(|word| !word.is_empty()).map(move |word| {
        let start = value.start() + (word.as_ptr() as usize - written.as_ptr() as usize);
        Span::new(start, start + word.len())
    })
}
