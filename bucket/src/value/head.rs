//! The first elements of a list or table, for people who want a look at it: only their pages are read.

use std::fs::File;
use std::io::{BufReader, Read};

use protocol::{Format, PageIndex, Place, ValueRef};
use serde_json::value::RawValue;

use super::element::decode;
use super::{ValueError, Values, blocking};
use crate::client::Stored;
use crate::table::{self, NoNumber, RecordsWriter, TableError};

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

    /// The same for being drawn: in the rows of a table words stand for NaN and infinities.
    ///
    /// # Errors
    /// [`ValueError::TooLarge`] and others.
    pub async fn drawn(&self, value: &ValueRef, count: u64, bytes_max: u64) -> Result<Box<RawValue>, ValueError> {
        let mut rows = Rows::new(count, bytes_max)?;
        match &value.place {
            Place::Arrow(encoded) => rows.add(decode(encoded)?.as_slice())?,
            Place::Object { key, format: Format::Arrow, pages: Some(index), .. } => {
                self.add_pages(key, *index, &mut rows).await?;
            }
            Place::Object { key, format: Format::Arrow, bytes, sha256, pages: None } => {
                let path = self.fetch(key, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                rows = blocking(move || {
                    let file = File::open(&path).map_err(|source| ValueError::io(&path, source))?;
                    rows.add(BufReader::new(file)).map(|()| rows)
                })
                .await?;
            }
            _ => return self.head(value, count, bytes_max).await,
        }
        rows.finish()
    }

    async fn add_pages(&self, key: &str, index: PageIndex, rows: &mut Rows) -> Result<(), ValueError> {
        let pages = self.pages(key, index).await?;
        for page in &pages.pages {
            if rows.left == 0 {
                break;
            }
            let content = self.bucket.get_range(key, page.start..page.end, page.sha256).await?;
            rows.add(pages.head.as_slice().chain(&*content))?;
        }
        Ok(())
    }
}

/// The first rows of a table as they are collected.
struct Rows {
    writer: RecordsWriter<Vec<u8>>,
    left: u64,
    bytes_max: u64,
}

impl Rows {
    fn new(count: u64, bytes_max: u64) -> Result<Self, ValueError> {
        let writer = RecordsWriter::with(Vec::new(), NoNumber::Word).map_err(not_json)?;
        Ok(Self { writer, left: count, bytes_max })
    }

    fn add(&mut self, stream: impl Read) -> Result<(), ValueError> {
        for batch in table::read_stream(stream)? {
            let batch = batch.map_err(TableError::from)?;
            for row in 0..batch.num_rows() {
                if self.left == 0 {
                    return Ok(());
                }
                self.writer.row(&batch, row)?;
                self.left -= 1;
                if self.writer.get_ref().len() as u64 >= self.bytes_max {
                    return Err(ValueError::TooLarge { bytes_max: self.bytes_max });
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Box<RawValue>, ValueError> {
        let text = String::from_utf8(self.writer.finish().map_err(not_json)?);
        let text = text.map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)))?;
        RawValue::from_string(text).map_err(ValueError::NotJson)
    }
}

fn not_json(error: std::io::Error) -> ValueError {
    ValueError::NotJson(serde_json::Error::io(error))
}
