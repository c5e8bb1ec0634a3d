//! Records as they were written: keys in their order, values as their text, so that no number is changed by being looked at.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One record.
pub struct Record<'json>(pub Vec<(String, &'json RawValue)>);

/// The records of a JSON list; `None` where it is something else.
pub fn records(json: &str) -> Option<Vec<Record<'_>>> {
    serde_json::from_str(json).ok()
}

impl<'json> Record<'json> {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&'json RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

impl<'json> Deserialize<'json> for Record<'json> {
    fn deserialize<D: Deserializer<'json>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'json> Visitor<'json> for Entries {
            type Value = Record<'json>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dict")
            }

            fn visit_map<A: MapAccess<'json>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Record(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
