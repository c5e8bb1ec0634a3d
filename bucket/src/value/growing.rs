//! Tables that are read while a program of ours still writes them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use protocol::Format;
use protocol::frame::Input;
use tempfile::NamedTempFile;

use super::at_hand::{made_ours, make_way};
use super::follow::{Following, identity};
use super::materialize::input_path;
use super::store::open_output;
use super::{ValueError, Values, blocking};

/// A table that a program of ours still writes, for processes that read it as it grows.
#[derive(Debug, Clone)]
pub struct Growing {
    file: Arc<NamedTempFile>,
    is_of: (u64, u64),
}

impl Growing {
    /// Makes it the input number `number` of a process that writes to none, as a file in `folder`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn materialize(&self, folder: &Path, number: usize) -> Result<Input, ValueError> {
        let (file, path) = (Arc::clone(&self.file), input_path(folder, number, Format::Arrow));
        blocking(move || {
            let linked = make_way(&path).and_then(|()| std::fs::hard_link(file.path(), &path));
            linked.map_err(|source| ValueError::io(&path, source))?;
            Ok(Input::ArrowFile(path))
        })
        .await
    }

    /// Whether this is the file that grew.
    pub(super) fn is(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|metadata| identity(&metadata) == self.is_of)
    }
}

impl Values {
    /// The table that a program of ours writes into a file in `folder`, for others to read already, where they cannot write to it.
    #[must_use]
    pub fn growing(&self, folder: &Path, name: &str, following: &Following) -> Option<Growing> {
        let file = open_output(folder, name).ok()?;
        let is_of = identity(&file.metadata().ok()?);
        if !self.lends || is_of != following.is_of {
            return None;
        }
        let file = made_ours(&file, &folder.join(name), &self.folder).ok()?;
        Some(Growing { file: Arc::new(file), is_of })
    }
}
