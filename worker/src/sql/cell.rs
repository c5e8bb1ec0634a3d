//! One value of an input, in SQLite's terms.

use std::fmt;

use rusqlite::types::Value;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A dict as it was written: keys in their order, values as their text.
#[derive(Debug)]
pub(super) struct Record<'json>(pub(super) Vec<(String, &'json RawValue)>);

impl<'json> Deserialize<'json> for Record<'json> {
    fn deserialize<D: Deserializer<'json>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'json> Visitor<'json> for RecordVisitor {
            type Value = Record<'json>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dict")
            }

            fn visit_map<A: MapAccess<'json>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Record(entries))
            }
        }
        deserializer.deserialize_map(RecordVisitor)
    }
}

/// A number that SQLite cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond64Bit {
    Integer,
    Float,
}

impl fmt::Display for Beyond64Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Integer => "an integer beyond signed 64 bit",
            Self::Float => "a number beyond a 64-bit float",
        })
    }
}

/// The value of a JSON text: bools as 1 and 0, lists and dicts as their text.
pub(super) fn of_json(value: &RawValue) -> Result<Value, Beyond64Bit> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Integer(1),
        Some(b'f') => Value::Integer(0),
        Some(b'[' | b'{') => Value::Text(text.to_owned()),
        // The text was read as JSON before, so it parses.
        Some(b'"') => Value::Text(serde_json::from_str(text).unwrap_or_default()),
        _ if text.contains(['.', 'e', 'E']) => {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite());
            Value::Real(number.ok_or(Beyond64Bit::Float)?)
        }
        _ => Value::Integer(text.parse().map_err(|_| Beyond64Bit::Integer)?),
    })
}

/// The kind of JSON value a text is, with its article.
pub(super) fn kind_of_json(text: &str) -> &'static str {
    match text.trim_start().as_bytes().first() {
        Some(b'n') => "None",
        Some(b't' | b'f') => "a bool",
        Some(b'[') => "a list",
        Some(b'{') => "a dict",
        Some(b'"') => "a string",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Result<Value, Beyond64Bit> {
        of_json(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_of_json_in_terms_of_sqlite() {
        assert_eq!(value("null"), Ok(Value::Null));
        assert_eq!(value("true"), Ok(Value::Integer(1)));
        assert_eq!(value("-9223372036854775808"), Ok(Value::Integer(i64::MIN)));
        assert_eq!(value("9223372036854775808"), Err(Beyond64Bit::Integer));
        assert_eq!(value("1e400"), Err(Beyond64Bit::Float));
        assert_eq!(value("1e2"), Ok(Value::Real(100.0)));
        assert_eq!(value(r#""a\u00e9""#), Ok(Value::Text("aé".to_owned())));
        assert_eq!(value("[1, {}]"), Ok(Value::Text("[1, {}]".to_owned())));
    }
}
