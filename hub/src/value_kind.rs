//! The kind of a JSON text, told by its first character.

use protocol::ValueKind;

/// The kind of a valid JSON text.
#[must_use]
pub fn of_json(text: &str) -> ValueKind {
    match text.trim_start().bytes().next() {
        Some(b'{') => ValueKind::Dict,
        Some(b'[') => ValueKind::List,
        Some(b'"') => ValueKind::String,
        Some(b't' | b'f') => ValueKind::Bool,
        Some(b'n') | None => ValueKind::Null,
        Some(_) => ValueKind::Number,
    }
}
