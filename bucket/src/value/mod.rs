//! Values: from what a step returned to a reference, and from a reference to what a step, or a person, is given.
//!
//! JSON travels as the text it was written in: key order, digits of numbers and big integers stay as they are.
//! What a step's process hands over is not trusted: kind, length, size and form are read from the bytes themselves.

mod after_large;
mod at_hand;
mod characters;
mod compact;
mod element;
mod encode;
mod error;
mod follow;
mod growing;
mod head;
mod hex_bytes;
mod list;
mod list_cache;
mod materialize;
mod pages;
mod read;
mod scan;
mod shape;
mod store;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Bucket;
use after_large::AfterLarge;
use at_hand::AtHand;
use list::List;
use list_cache::Cache;
use pages::Pages;

pub use error::ValueError;
pub use follow::Following;
pub use growing::Growing;
pub use materialize::Accepted;
pub use store::{Copied, Effort, Writer};

/// Size of the indexes of pages that are kept in memory.
const INDEXES_BYTES_MAX: u64 = 16 << 20;

/// Limits of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueLimits {
    /// Values up to this size travel inside references; larger ones are objects in the bucket.
    pub inline_bytes_max: u64,
    /// Largest value.
    pub value_bytes_max: u64,
    /// Disk space for lists that elements are cut out of. One list is kept even where it alone is larger.
    pub lists_bytes_max: u64,
    /// Disk space for tables that were stored or read last, as processes read them: whoever takes one next need not have it fetched.
    /// None is kept while the disk has less than this left.
    pub tables_bytes_max: u64,
}

impl Default for ValueLimits {
    fn default() -> Self {
        Self {
            inline_bytes_max: 8 << 10,
            value_bytes_max: 1 << 30,
            lists_bytes_max: 2 << 30,
            tables_bytes_max: 512 << 20,
        }
    }
}

/// Reads and writes values; clones share one bucket and one cache of each kind.
#[derive(Debug, Clone)]
pub struct Values {
    bucket: Bucket,
    /// Where files of lists and tables may lie.
    folder: PathBuf,
    lists: Arc<Cache<List>>,
    tables: Arc<Cache<AtHand>>,
    indexes: Arc<Cache<Pages>>,
    limits: ValueLimits,
    after_large: Arc<AfterLarge>,
    lends: bool,
}

impl Values {
    /// Values in `bucket`. Files that it needs for itself lie in `cache_folder`, which must exist: lists without names, tables under
    /// names that go when they do.
    #[must_use]
    pub fn new(bucket: Bucket, cache_folder: &Path, limits: ValueLimits) -> Self {
        let lists = Arc::new(Cache::new(limits.lists_bytes_max));
        let tables = Arc::new(Cache::new(limits.tables_bytes_max));
        let indexes = Arc::new(Cache::new(INDEXES_BYTES_MAX));
        Self {
            bucket,
            folder: cache_folder.to_owned(),
            lists,
            tables,
            indexes,
            limits,
            after_large: Arc::new(AfterLarge::calling(|| ())),
            lends: false,
        }
    }

    /// Has `after_large` called a while after large tables have been read or written: a word to the allocator, for example.
    #[must_use]
    pub fn calling(self, after_large: fn()) -> Self {
        Self { after_large: Arc::new(AfterLarge::calling(after_large)), ..self }
    }

    /// Says whether no process can write to a file of ours that it can read: then it is given tables that are at hand themselves.
    #[must_use]
    pub fn lending(self, lends: bool) -> Self {
        Self { lends, ..self }
    }

    /// Says that a table of `bytes` bytes has been read or written.
    fn is_done_with(&self, bytes: u64) {
        self.after_large.schedule(bytes);
    }

    /// A table that is at hand from now on, where there is room for it.
    fn at_hand(&self, source: &File, bytes: u64) -> Option<AtHand> {
        self.kept(bytes, |room| AtHand::copy_of(source, bytes, &self.folder, room))
    }

    /// The same for a file at `path` to which nobody writes any more.
    fn taken(&self, source: &File, bytes: u64, path: &Path) -> Option<AtHand> {
        self.kept(bytes, |room| AtHand::taken(source, bytes, path, &self.folder, room))
    }

    fn kept(&self, bytes: u64, keep: impl FnOnce(u64) -> io::Result<AtHand>) -> Option<AtHand> {
        let bytes_max = self.limits.tables_bytes_max;
        if bytes > bytes_max {
            return None;
        }
        let kept = keep(bytes_max);
        if kept.is_err() {
            self.forget_tables();
        }
        kept.ok()
    }

    /// Gives up the tables that are at hand: the disk may have no room for what is needed.
    pub fn forget_tables(&self) {
        self.tables.clear();
    }

    /// The bucket they are in.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

/// Runs work that computes or waits for a disk where it does not hold up others. A panic in it is an error: the
/// libraries that decode tables have them for input that is wrong enough.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ValueError> + Send + 'static,
) -> Result<T, ValueError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ValueError::Table(crate::table::TableError::Malformed("it cannot be decoded".to_owned()))),
    }
}
