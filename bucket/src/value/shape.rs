//! What a JSON text is, read without keeping it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};

use protocol::ValueKind;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::characters;

/// Kind and length of a JSON text that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub kind: ValueKind,
    pub length: Option<u64>,
}

impl Shape {
    pub(super) fn of_text(text: &str) -> Result<Self, serde_json::Error> {
        let first = text.trim_start().as_bytes().first().copied();
        Self::parse(serde_json::Deserializer::from_str(text), first)
    }

    /// Reads a file from its current place to its end.
    pub(super) fn of_file(file: &File) -> Result<Self, serde_json::Error> {
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let first = loop {
            match reader.fill_buf().map_err(serde_json::Error::io)?.first().copied() {
                Some(byte) if byte.is_ascii_whitespace() => reader.consume(1),
                first => break first,
            }
        };
        if first == Some(b'"') {
            // A parser would hold all of it, twice.
            return Ok(Self { kind: ValueKind::String, length: Some(characters::count(reader)?) });
        }
        Self::parse(serde_json::Deserializer::from_reader(reader), first)
    }

    fn parse<'de, R: serde_json::de::Read<'de>>(
        mut json: serde_json::Deserializer<R>,
        first: Option<u8>,
    ) -> Result<Self, serde_json::Error> {
        let shape = match first {
            Some(b'[') => json.deserialize_seq(Count(ValueKind::List))?,
            Some(b'{') => json.deserialize_map(Count(ValueKind::Dict))?,
            Some(b'"') => Self::string(&String::deserialize(&mut json)?),
            // As text, because no number type takes integers of any size.
            _ => Self::scalar(Box::<RawValue>::deserialize(&mut json)?.get()),
        };
        json.end()?;
        Ok(shape)
    }

    fn string(text: &str) -> Self {
        Self { kind: ValueKind::String, length: Some(text.chars().count() as u64) }
    }

    fn scalar(text: &str) -> Self {
        let kind = match text {
            "null" => ValueKind::Null,
            "true" | "false" => ValueKind::Bool,
            _ => ValueKind::Number,
        };
        Self { kind, length: None }
    }
}

/// Counts the elements of a list or the entries of a dict.
struct Count(ValueKind);

impl<'de> Visitor<'de> for Count {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.with_article())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut length = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Shape { kind: self.0, length: Some(length) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut dict: A) -> Result<Shape, A::Error> {
        let mut length = 0;
        while dict.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Shape { kind: self.0, length: Some(length) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn kinds_and_lengths_are_read_from_the_text() {
        for (text, kind, length) in [
            ("null", ValueKind::Null, None),
            (" true ", ValueKind::Bool, None),
            ("-1.5e9", ValueKind::Number, None),
            ("\"Gr\\u00f6ße\"", ValueKind::String, Some(5)),
            ("[]", ValueKind::List, Some(0)),
            ("[1, [2, 3], {\"a\": []}]", ValueKind::List, Some(3)),
            ("{\"a\": 1, \"b\": {\"c\": 2}}", ValueKind::Dict, Some(2)),
        ] {
            assert_eq!(Shape::of_text(text).unwrap(), Shape { kind, length }, "{text}");
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            assert_eq!(Shape::of_file(&file).unwrap(), Shape { kind, length }, "{text}");
        }
    }

    #[test]
    fn numbers_of_any_size_are_numbers() {
        let digits = "9".repeat(1_000);
        assert_eq!(Shape::of_text(&digits).unwrap().kind, ValueKind::Number);
        assert_eq!(Shape::of_text(&format!("[{digits}]")).unwrap().length, Some(1));
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        for text in ["", "[1, 2", "[1,]", "{\"a\"}", "NaN", "1 2", "[] []", "'a'"] {
            assert!(Shape::of_text(text).is_err(), "{text}");
        }
    }
}
