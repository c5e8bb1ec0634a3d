//! Values as JSON, for people and programs that want to see them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use protocol::{Format, Place, ValueRef};
use serde_json::value::RawValue;
use tempfile::TempPath;

use super::element::decode;
use super::{ValueError, Values, blocking};
use crate::client::Stored;
use crate::table::{self, RecordsWriter, TableError};

impl Values {
    /// The value as JSON of at most `bytes_max` bytes; a table is a list of dicts.
    ///
    /// # Errors
    /// [`ValueError::TooLarge`] and others.
    pub async fn read(&self, value: &ValueRef, bytes_max: u64) -> Result<Box<RawValue>, ValueError> {
        let text = match &value.place {
            Place::Json(text) => text.get().to_owned(),
            Place::Arrow(encoded) => {
                let stream = decode(encoded)?;
                blocking(move || records(stream.as_slice(), bytes_max)).await?
            }
            Place::Object { bytes, format: Format::Json, .. } if *bytes > bytes_max => {
                return Err(ValueError::TooLarge { bytes_max });
            }
            Place::Object { key, format: Format::Json, bytes, sha256, .. } => {
                let content = self.bucket.get_verified(key, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                String::from_utf8(content.into())
                    .map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)))?
            }
            Place::Object { key, format: Format::Arrow, bytes, sha256, .. } => {
                let path = self.fetch(key, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                blocking(move || {
                    let file = File::open(&path).map_err(|source| ValueError::io(&path, source))?;
                    records(BufReader::new(file), bytes_max)
                })
                .await?
            }
            Place::Element { list, index } => self.element(list, *index).await?,
        };
        if text.len() as u64 > bytes_max {
            return Err(ValueError::TooLarge { bytes_max });
        }
        RawValue::from_string(text).map_err(ValueError::NotJson)
    }

    /// An object as a file that goes when its path is dropped.
    pub(super) async fn fetch(&self, key: &str, expected: Stored) -> Result<TempPath, ValueError> {
        let folder = &self.folder;
        let file = tempfile::NamedTempFile::new_in(folder).map_err(|source| ValueError::io(folder, source))?;
        let path = file.into_temp_path();
        self.bucket.get_to_file(key, &path, expected).await?;
        Ok(path)
    }
}

fn records(stream: impl Read, bytes_max: u64) -> Result<String, ValueError> {
    let over_limit = |error: TableError| match error {
        TableError::NotJson(error) if error.is_io() => ValueError::TooLarge { bytes_max },
        error => error.into(),
    };
    let mut writer =
        RecordsWriter::new(Limited { text: Vec::new(), bytes_max }).map_err(|_| ValueError::TooLarge { bytes_max })?;
    for batch in table::read_stream(stream)? {
        let batch = batch.map_err(TableError::from)?;
        for row in 0..batch.num_rows() {
            writer.row(&batch, row).map_err(over_limit)?;
        }
    }
    let limited = writer.finish().map_err(|_| ValueError::TooLarge { bytes_max })?;
    String::from_utf8(limited.text).map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)))
}

/// Takes bytes up to a limit; the only error it has is that there were more.
struct Limited {
    text: Vec<u8>,
    bytes_max: u64,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.text.len() + bytes.len()) as u64 > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
