//! The first elements of a list or table, for people who want a look at it: only their pages are read.

use protocol::ValueRef;
use serde_json::value::RawValue;

use super::{ValueError, Values};

impl Values {
    /// The value as JSON of at most `bytes_max` bytes: of a list or table no more than the first `count` elements.
    ///
    /// # Errors
    /// [`ValueError::TooLarge`] and others.
    pub async fn head(&self, value: &ValueRef, count: u64, bytes_max: u64) -> Result<Box<RawValue>, ValueError> {
        let Some(length) = value.passes() else { return self.read(value, bytes_max).await };
        let mut text = String::from("[");
        for index in 0..count.min(length) {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&self.element(&value.place, index).await?);
            if text.len() as u64 >= bytes_max {
                return Err(ValueError::TooLarge { bytes_max });
            }
        }
        text.push(']');
        RawValue::from_string(text).map_err(ValueError::NotJson)
    }
}
