//! The objects of a bucket in the order of their keys, page by page.
//!
//! The order is that of the keys' bytes. A folder sorts by its name and a slash, because that is how all keys in it go
//! on; so going through sorted folders one inside the other meets all keys in order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::layout::{folder_segment, object_segment};
use super::object::{Attributes, Object, ObjectInfo};
use super::sync::is_absent;
use super::{Folder, FolderError};

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListQuery {
    /// What keys begin with.
    pub prefix: String,
    /// Keys that go on the same up to this text are shown as one prefix.
    pub delimiter: Option<String>,
    pub start: Start,
    /// Most keys and prefixes of a page.
    pub length_max: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    /// After this key.
    AfterKey(String),
    /// After all keys that begin like this.
    AfterPrefix(String),
}

/// One entry of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed {
    Object { key: String, bytes: u64, info: Box<ObjectInfo> },
    Prefix(String),
}

/// Some entries of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Page {
    pub entries: Vec<Listed>,
    /// Whether there are more.
    pub truncated: bool,
}

impl Folder {
    /// A page of a bucket's objects.
    pub(crate) fn list(&self, bucket: &str, query: &ListQuery) -> Result<Page, FolderError> {
        let root = self.bucket(bucket)?;
        if query.length_max == 0 {
            return Ok(Page::default());
        }
        let mut walk = Walk { query, page: Page::default() };
        walk.folder(&root, "")?;
        Ok(walk.page)
    }
}

/// Whether there is any object in a folder or below it.
pub(super) fn has_object(path: &Path) -> Result<bool, FolderError> {
    for entry in entries(path)? {
        if matches!(entry.kind, Kind::Object) || has_object(&entry.path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Something in a folder.
struct Entry {
    /// How its keys go on: the last segment of an object, a segment and a slash of a folder.
    name: String,
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Object,
    Folder,
}

fn entries(path: &Path) -> Result<Vec<Entry>, FolderError> {
    let in_folder = |source| FolderError::io(path, source);
    let found = match fs::read_dir(path) {
        // Removed meanwhile.
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        found => found.map_err(in_folder)?,
    };
    let found: Result<Vec<_>, io::Error> = found.map(|entry| read_entry(&entry?)).collect();
    let mut entries: Vec<Entry> = found.map_err(in_folder)?.into_iter().flatten().collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn read_entry(entry: &fs::DirEntry) -> io::Result<Option<Entry>> {
    let (name, path) = (entry.file_name(), entry.path());
    Ok(if entry.file_type()?.is_dir() {
        folder_segment(&name).map(|name| Entry { name: name + "/", path, kind: Kind::Folder })
    } else {
        object_segment(&name).map(|name| Entry { name, path, kind: Kind::Object })
    })
}

struct Walk<'a> {
    query: &'a ListQuery,
    page: Page,
}

impl Walk<'_> {
    /// Goes through a folder whose keys begin with `base`; does nothing more once the page is full.
    fn folder(&mut self, path: &Path, base: &str) -> Result<(), FolderError> {
        for entry in entries(path)? {
            if self.page.truncated {
                return Ok(());
            }
            let key = format!("{base}{}", entry.name);
            match entry.kind {
                Kind::Folder if self.wants_below(&key) => self.below(&entry.path, &key)?,
                Kind::Object if key.starts_with(&self.query.prefix) && !self.is_before(&key) => {
                    self.object(&entry.path, key)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether keys that begin with `base` may belong to the page.
    fn wants_below(&self, base: &str) -> bool {
        let prefix = &self.query.prefix;
        let in_prefix = base.starts_with(prefix.as_str()) || prefix.starts_with(base);
        let all_before = match &self.query.start {
            Start::Beginning => false,
            Start::AfterKey(start) => base <= start.as_str() && !start.starts_with(base),
            Start::AfterPrefix(start) => {
                base.starts_with(start) || (base <= start.as_str() && !start.starts_with(base))
            }
        };
        in_prefix && !all_before
    }

    fn is_before(&self, key: &str) -> bool {
        match &self.query.start {
            Start::Beginning => false,
            Start::AfterKey(start) => key <= start.as_str(),
            Start::AfterPrefix(start) => key <= start.as_str() || key.starts_with(start.as_str()),
        }
    }

    fn below(&mut self, path: &Path, base: &str) -> Result<(), FolderError> {
        // All keys in it are one prefix: there is no need to look at them.
        match self.common_prefix(base) {
            Some(prefix) if prefix == base => {
                let inside_start = matches!(&self.query.start, Start::AfterKey(start) if start.starts_with(base));
                if inside_start {
                    self.folder(path, base)
                } else if has_object(path)? {
                    self.prefix(prefix)
                } else {
                    Ok(())
                }
            }
            _ => self.folder(path, base),
        }
    }

    fn object(&mut self, path: &Path, key: String) -> Result<(), FolderError> {
        if let Some(prefix) = self.common_prefix(&key) {
            return self.prefix(prefix);
        }
        if self.is_full() {
            return Ok(());
        }
        match Object::open(path) {
            Ok(Some(object)) => {
                self.page.entries.push(Listed::Object { key, bytes: object.bytes, info: Box::new(object.info) });
                Ok(())
            }
            // Deleted meanwhile.
            Ok(None) => Ok(()),
            // It is named where it is read; here it is told of so that it can be deleted.
            Err(FolderError::Corrupt { .. }) => {
                let (bytes, info) = damaged(path)?;
                self.page.entries.push(Listed::Object { key, bytes, info: Box::new(info) });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn prefix(&mut self, prefix: String) -> Result<(), FolderError> {
        let entry = Listed::Prefix(prefix);
        if self.page.entries.last() != Some(&entry) && !self.is_full() {
            self.page.entries.push(entry);
        }
        Ok(())
    }

    /// What `key` is shown as where it has the delimiter after the prefix.
    fn common_prefix(&self, key: &str) -> Option<String> {
        let delimiter = self.query.delimiter.as_deref()?;
        let rest = key.strip_prefix(self.query.prefix.as_str())?;
        let end = rest.find(delimiter)? + delimiter.len();
        Some(key[..self.query.prefix.len() + end].to_owned())
    }

    /// Whether there is no room for one more entry; there being one more makes the page truncated.
    fn is_full(&mut self) -> bool {
        self.page.truncated = self.page.entries.len() >= self.query.length_max;
        self.page.truncated
    }
}

/// What can be told of a damaged object.
fn damaged(path: &Path) -> Result<(u64, ObjectInfo), FolderError> {
    let in_file = |source| FolderError::io(path, source);
    let metadata = std::fs::metadata(path).map_err(in_file)?;
    let since = metadata.modified().map_err(in_file)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let modified_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let etag = "damaged-1".to_owned();
    Ok((metadata.len(), ObjectInfo { etag, modified_ms, attributes: Attributes::default(), upload: None }))
}
