//! From references to the inputs of a step's process.

use std::fs::File;
use std::path::{Path, PathBuf};

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
    /// Also those whose batches are compressed with zstd, as they lie in the bucket.
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
        match &value.place {
            Place::Json(text) => Ok(Input::Json(text.clone())),
            Place::Arrow(encoded) => {
                let path = input_path(folder, number, Format::Arrow);
                write(&path, &decode(encoded)?).await?;
                Ok(Input::ArrowFile(path))
            }
            Place::Object { key, format: Format::Arrow, bytes, sha256, .. } if accepted == Accepted::Plain => {
                let path = input_path(folder, number, Format::Arrow);
                let stored = self.fetch(key, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                let target = path.clone();
                blocking(move || {
                    let file = File::open(&stored).map_err(|source| ValueError::io(&stored, source))?;
                    unfold(file, &target)
                })
                .await?;
                Ok(Input::ArrowFile(path))
            }
            Place::Object { key, format, bytes, sha256, .. } => {
                let path = input_path(folder, number, *format);
                self.bucket.get_to_file(key, &path, Stored { bytes: *bytes, sha256: *sha256 }).await?;
                Ok(match format {
                    Format::Json => Input::JsonFile(path),
                    Format::Arrow => Input::ArrowFile(path),
                })
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
}

fn input_path(folder: &Path, number: usize, format: Format) -> PathBuf {
    let extension = match format {
        Format::Json => "json",
        Format::Arrow => "arrow",
    };
    folder.join(format!("input-{number}.{extension}"))
}

async fn write(path: &Path, content: &[u8]) -> Result<(), ValueError> {
    tokio::fs::write(path, content).await.map_err(|source| ValueError::io(path, source))
}
