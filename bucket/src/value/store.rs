//! From what a step's process handed over to a reference.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use bytes::Bytes;
use nix::fcntl::OFlag;
use protocol::frame::{Input, Output, OutputPlace};
use protocol::{Format, PageIndex, Place, ValueKind, ValueRef};
use serde_json::value::RawValue;

use super::at_hand::AtHand;
use super::compact::{Compact, Content, compact, helpers};
use super::element::index_key;
use super::follow::{Following, encode_once};
use super::growing::Growing;
use super::materialize::input_path;
use super::pages::Pages;
use super::shape::Shape;
use super::{ValueError, Values, blocking};
use crate::client::Stored;
use crate::table;

/// Who wrote a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// A process that may do anything.
    Unknown,
    /// A program of ours that writes no more to it.
    Done,
}

/// How much of the machine a table may take while it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// As many threads as are of use.
    Full,
    /// One thread: what takes the table next is at work already, and needs the others.
    Spare,
}

/// A copy of a table that a process returned.
#[derive(Debug, Clone)]
pub struct Copied {
    table: Arc<AtHand>,
    /// What is on its way to be stored of it already, until that is asked for.
    following: Arc<Mutex<Option<Following>>>,
}

impl Copied {
    /// Makes it the input number `number` of a process that reads plain tables and writes to none, as a file in `folder`.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn materialize(&self, folder: &Path, number: usize) -> Result<Input, ValueError> {
        let (table, path) = (Arc::clone(&self.table), input_path(folder, number, Format::Arrow));
        blocking(move || {
            table.lend_to(&path).map_err(|source| ValueError::io(&path, source))?;
            Ok(Input::ArrowFile(path))
        })
        .await
    }

    /// Whether it is the table that was read as it grew.
    #[must_use]
    pub fn is(&self, growing: &Growing) -> bool {
        self.table.file().is_ok_and(|file| growing.is(&file))
    }

    pub(super) fn following(&self) -> Option<Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Values {
    /// Stores what a process returned: inside the reference where it is small, else as the object `key`. Files are looked
    /// for in `folder` and nowhere else. What the process says of kind and length is not taken from it but read.
    ///
    /// # Errors
    /// [`ValueError::is_transient`] tells faults of the bucket and the machine from those of the value.
    pub async fn store(&self, key: &str, output: &Output, folder: &Path) -> Result<ValueRef, ValueError> {
        let copied = self.copied(output, folder, Writer::Unknown, None).await;
        self.store_copied(key, output, folder, copied.as_ref(), Effort::Full).await
    }

    /// [`store`](Self::store) of what has been [copied](Self::copied), where it has been.
    ///
    /// # Errors
    /// As those of `store`.
    pub async fn store_copied(
        &self,
        key: &str,
        output: &Output,
        folder: &Path,
        copied: Option<&Copied>,
        effort: Effort,
    ) -> Result<ValueRef, ValueError> {
        match &output.place {
            OutputPlace::Json(text) => self.store_text(key, text.clone()).await,
            OutputPlace::JsonFile(name) => self.store_file(key, (folder, name), Format::Json, (None, effort)).await,
            OutputPlace::ArrowFile(name) => self.store_file(key, (folder, name), Format::Arrow, (copied, effort)).await,
        }
    }

    /// Copies a table that a process returned, where it is no small one and the disk has room for it: nothing that the process still
    /// does changes the copy. The file itself does as well, where it is known that the process writes to it no more. Of one that was
    /// followed what has been made so far is kept.
    pub async fn copied(
        &self,
        output: &Output,
        folder: &Path,
        writer: Writer,
        following: Option<Following>,
    ) -> Option<Copied> {
        let OutputPlace::ArrowFile(name) = &output.place else { return None };
        let file = open_output(folder, name).ok()?;
        let bytes = file.metadata().ok()?.len();
        if bytes <= self.limits.inline_bytes_max || self.check_size(bytes).is_err() {
            return None;
        }
        let (values, path) = (self.clone(), folder.join(name));
        let copied = blocking(move || {
            if writer == Writer::Done {
                return Ok(values.taken(&file, bytes, &path).map(|table| (table, following)));
            }
            let following = following.filter(|_| bytes <= values.limits.tables_bytes_max);
            let grown = following.and_then(|following| Some((following.copy(&file, bytes)?, Some(following))));
            Ok(grown.or_else(|| Some((values.at_hand(&file, bytes)?, None))))
        });
        let (table, following) = copied.await.ok().flatten()?;
        Some(Copied { table: Arc::new(table), following: Arc::new(Mutex::new(following)) })
    }

    async fn store_text(&self, key: &str, text: String) -> Result<ValueRef, ValueError> {
        self.check_size(text.len() as u64)?;
        let Shape { kind, length } = Shape::of_text(&text).map_err(ValueError::NotJson)?;
        let place = if text.len() as u64 <= self.limits.inline_bytes_max {
            Place::Json(RawValue::from_string(text).map_err(ValueError::NotJson)?)
        } else {
            object(key, Format::Json, self.bucket.put(key, Bytes::from(text)).await?, None)
        };
        Ok(ValueRef { kind, length, place })
    }

    async fn store_file(
        &self,
        key: &str,
        (folder, name): (&Path, &str),
        format: Format,
        (copied, effort): (Option<&Copied>, Effort),
    ) -> Result<ValueRef, ValueError> {
        let file = open_output(folder, name)?;
        let in_file = |source| ValueError::io(&folder.join(name), source);
        let bytes = file.metadata().map_err(in_file)?.len();
        self.check_size(bytes)?;
        if bytes <= self.limits.inline_bytes_max {
            // Read once, so that what is checked is what is kept.
            let mut content = Vec::new();
            file.take(self.limits.inline_bytes_max).read_to_end(&mut content).map_err(in_file)?;
            return self.store_small(key, content, format).await;
        }
        match format {
            Format::Json => self.store_document(key, file, folder.join(name)).await,
            Format::Arrow => self.store_table(key, (file, bytes), (copied, effort)).await,
        }
    }

    async fn store_document(&self, key: &str, file: File, path: PathBuf) -> Result<ValueRef, ValueError> {
        let (file, shape, pages) = blocking(move || {
            let in_file = |source| ValueError::io(&path, source);
            let mut file = file;
            let shape = Shape::of_file(&file).map_err(ValueError::NotJson)?;
            let mut pages = None;
            if shape.kind == ValueKind::List {
                file.rewind().map_err(in_file)?;
                pages = Pages::of_json(&file, &path)?;
            }
            file.rewind().map_err(in_file)?;
            Ok((file, shape, pages))
        })
        .await?;
        self.store_object(key, Format::Json, Content::File(file), shape, pages).await
    }

    async fn store_table(
        &self,
        key: &str,
        (file, bytes): (File, u64),
        (copied, effort): (Option<&Copied>, Effort),
    ) -> Result<ValueRef, ValueError> {
        let copy = copied.map(|copied| Arc::clone(&copied.table));
        let followed = match copied.and_then(Copied::following) {
            Some(following) => following.finish(&file, bytes).await,
            None => None,
        };
        let (stored, at_hand) = match followed {
            Some(stored) => {
                tracing::debug!(key, bytes, "the table was stored as it was written");
                (stored, copy)
            }
            None => {
                let values = self.clone();
                blocking(move || values.compact((file, bytes), copy, effort)).await?
            }
        };
        let Compact { content, shape, pages } = stored;
        let value = self.store_object(key, Format::Arrow, content, shape, pages).await?;
        self.is_done_with(bytes);
        if let (Some(at_hand), Place::Object { sha256, .. }) = (at_hand, &value.place) {
            self.tables.keep(*sha256, at_hand);
        }
        Ok(value)
    }

    /// The table that a process wrote, as it is stored, and its copy, which is at hand from then on; where there is no room for both,
    /// without.
    fn compact(
        &self,
        (file, bytes): (File, u64),
        copied: Option<Arc<AtHand>>,
        effort: Effort,
    ) -> Result<(Compact, Option<Arc<AtHand>>), ValueError> {
        let folder = self.folder.as_path();
        if let Some(at_hand) = copied
            && let Ok(copy) = at_hand.file()
        {
            match compact(copy, at_hand.bytes(), folder, effort) {
                Err(error) if error.is_of_this_disk() => self.forget_tables(),
                stored => return Ok((stored?, Some(at_hand))),
            }
        }
        Ok((encode_once(file, bytes, folder, helpers(bytes, effort))?, None))
    }

    async fn store_object(
        &self,
        key: &str,
        format: Format,
        content: Content,
        shape: Shape,
        pages: Option<Pages>,
    ) -> Result<ValueRef, ValueError> {
        let stored = async {
            match content {
                Content::Memory(content) => self.bucket.put(key, content).await,
                // What grows on its way to the bucket is not what was looked at.
                Content::File(file) => self.bucket.put_file(key, file, self.limits.value_bytes_max).await,
            }
        };
        // Both go to their ends, so that an upload in parts is closed whatever becomes of the index.
        let (index, stored) = tokio::join!(self.store_index(key, pages), stored);
        let (index, stored) = (index?, stored?);
        Ok(ValueRef { kind: shape.kind, length: shape.length, place: object(key, format, stored, index) })
    }

    async fn store_index(&self, key: &str, pages: Option<Pages>) -> Result<Option<PageIndex>, ValueError> {
        let Some(pages) = pages else { return Ok(None) };
        let text = serde_json::to_vec(&pages).map_err(ValueError::NotJson)?;
        let Stored { bytes, sha256 } = self.bucket.put(&index_key(key), Bytes::from(text)).await?;
        Ok(Some(PageIndex { bytes, sha256 }))
    }

    async fn store_small(&self, key: &str, content: Vec<u8>, format: Format) -> Result<ValueRef, ValueError> {
        match format {
            Format::Json => {
                let text = String::from_utf8(content);
                self.store_text(key, text.map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)))?).await
            }
            Format::Arrow => {
                let place = Place::Arrow(base64::engine::general_purpose::STANDARD.encode(&content));
                let length = content.len() as u64;
                let shape = blocking(move || table_shape(std::io::Cursor::new(content), length)).await?;
                Ok(ValueRef { kind: shape.kind, length: shape.length, place })
            }
        }
    }

    fn check_size(&self, bytes: u64) -> Result<(), ValueError> {
        let bytes_max = self.limits.value_bytes_max;
        if bytes > bytes_max { Err(ValueError::TooLarge { bytes_max }) } else { Ok(()) }
    }
}

fn object(key: &str, format: Format, stored: Stored, pages: Option<PageIndex>) -> Place {
    Place::Object { key: key.to_owned(), format, bytes: stored.bytes, sha256: stored.sha256, pages }
}

/// Opens a file that a process named. The process may have put anything there: a link to a file of ours, a pipe that
/// never ends.
pub(super) fn open_output(folder: &Path, name: &str) -> Result<File, ValueError> {
    let refused =
        |reason: &str| ValueError::Output { name: name.chars().take(200).collect(), reason: reason.to_owned() };
    let mut components = Path::new(name).components();
    if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
        return Err(refused("it is not a plain file name"));
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(folder.join(name));
    let file = file.map_err(|error| refused(&error.to_string()))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(refused("it is not a regular file")),
        Err(error) => Err(refused(&error.to_string())),
    }
}

/// Reads a whole stream once, so that nobody after this meets one that cannot be read.
fn table_shape(mut stream: impl Read + Seek, bytes: u64) -> Result<Shape, ValueError> {
    let scan = table::scan_stream(&mut stream, bytes)?;
    let again = stream.rewind();
    again.map_err(|error| table::TableError::Malformed(error.to_string()))?;
    if let Some(error) = table::read_stream(&mut stream)?.find_map(Result::err) {
        return Err(table::at_column(error, stream).into());
    }
    Ok(Shape { kind: ValueKind::Table, length: Some(scan.rows) })
}
