//! From references to the inputs of a step's process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::frame::Input;
use protocol::{Format, Place, ValueRef};
use serde_json::value::RawValue;

use super::compact::unfold;
use super::element::decode;
use super::{ValueError, Values, blocking};
use crate::client::Stored;

/// Longest JSON text inside a frame, in bytes; a longer element of a list goes to a file.
const FRAME_TEXT_BYTES_MAX: usize = 64 << 10;

/// Which tables a process can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Uncompressed ones: plain Python has no zstd.
    Plain,
    /// Also those whose batches are compressed with zstd, as they lie in the bucket. Such a process only reads what it is given.
    Compressed,
}

impl Values {
    /// Makes `value` the input number `number` of a process: in the frame where it is small, else as a file in `folder`.
    ///
    /// # Errors
    /// See [`ValueError`].
    pub async fn materialize(
        &self,
        value: &ValueRef,
        folder: &Path,
        number: usize,
        accepted: Accepted,
    ) -> Result<Input, ValueError> {
        let input = self.input(value, folder, number, accepted).await;
        if input.as_ref().is_err_and(ValueError::is_of_this_disk) {
            self.forget_tables();
        }
        input
    }

    async fn input(
        &self,
        value: &ValueRef,
        folder: &Path,
        number: usize,
        accepted: Accepted,
    ) -> Result<Input, ValueError> {
        match &value.place {
            Place::Json(text) => Ok(Input::Json(text.clone())),
            Place::Arrow(encoded) => {
                let path = input_path(folder, number, Format::Arrow);
                write(&path, &decode(encoded)?).await?;
                Ok(Input::ArrowFile(path))
            }
            Place::Object { key, format: Format::Arrow, bytes, sha256, .. } => {
                let path = input_path(folder, number, Format::Arrow);
                let expected = Stored { bytes: *bytes, sha256: *sha256 };
                match (self.tables.find(*sha256), accepted) {
                    (Some(table), _) => {
                        let is_lent = self.lends || accepted == Accepted::Compressed;
                        let target = path.clone();
                        blocking(move || {
                            let given = if is_lent { table.lend_to(&target) } else { table.copy_to(&target) };
                            given.map_err(|source| ValueError::io(&target, source))
                        })
                        .await?;
                    }
                    (None, Accepted::Plain) => self.make_plain(key, expected, &path).await?,
                    (None, Accepted::Compressed) => self.bucket.get_to_file(key, &path, expected).await?,
                }
                Ok(Input::ArrowFile(path))
            }
            Place::Object { key, format: Format::Json, bytes, sha256, .. } => {
                let path = input_path(folder, number, Format::Json);
                self.bucket.get_to_file(key, &path, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                Ok(Input::JsonFile(path))
            }
            Place::Element { list, index } => {
                let text = self.element(list, *index).await?;
                if text.len() > FRAME_TEXT_BYTES_MAX {
                    let path = input_path(folder, number, Format::Json);
                    write(&path, text.as_bytes()).await?;
                    return Ok(Input::JsonFile(path));
                }
                RawValue::from_string(text).map(Input::Json).map_err(ValueError::NotJson)
            }
        }
    }

    /// Writes a stored table into a file, uncompressed, and has it at hand from then on.
    async fn make_plain(&self, key: &str, expected: Stored, target: &Path) -> Result<(), ValueError> {
        let stored = self.fetch(key, expected).await?;
        let (target, values) = (target.to_owned(), self.clone());
        let bytes = blocking(move || {
            let file = File::open(&stored).map_err(|source| ValueError::io(&stored, source))?;
            let file = unfold(file, &target)?;
            let bytes = file.metadata().map_err(|source| ValueError::io(&target, source))?.len();
            if let Some(table) = values.at_hand(&file, bytes) {
                values.tables.keep(expected.sha256, Arc::new(table));
            }
            Ok(bytes)
        })
        .await?;
        self.is_done_with(bytes);
        Ok(())
    }
}

pub(super) fn input_path(folder: &Path, number: usize, format: Format) -> PathBuf {
    let extension = match format {
        Format::Json => "json",
        Format::Arrow => "arrow",
    };
    folder.join(format!("input-{number}.{extension}"))
}

async fn write(path: &Path, content: &[u8]) -> Result<(), ValueError> {
    tokio::fs::write(path, content).await.map_err(|source| ValueError::io(path, source))
}
