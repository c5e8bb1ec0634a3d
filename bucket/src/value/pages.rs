//! Where the pages of a large list or table are in its object, so that single elements are read without the rest.
//!
//! A page is a range of the object that can be read by itself: some elements of a JSON list with the commas between
//! them, or one batch of a table. The index of the pages is an object beside it, as JSON, whose checksum is in the
//! reference; each page has its own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use protocol::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::list_cache::Weigh;
use super::scan::Scanner;
use super::{ValueError, hex_bytes};

/// Size of a page, if no element is larger.
pub(super) const PAGE_BYTES: u64 = crate::table::PAGE.bytes;

/// The index of a list's pages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Pages {
    /// Elements of all pages.
    pub(super) length: u64,
    /// What stands before each page of a table to make a stream of it: its schema. Empty for JSON.
    #[serde(with = "hex_bytes", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) head: Vec<u8>,
    /// In their order; together they have all elements.
    pub(super) pages: Vec<Page>,
}

/// A range of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    /// Index of its first element.
    pub(super) first: u64,
    /// Its first byte.
    pub(super) start: u64,
    /// The byte after its last.
    pub(super) end: u64,
    /// Checksum of its bytes.
    pub(super) sha256: Digest,
}

impl Pages {
    /// The page that has an element.
    pub(super) fn page_of(&self, index: u64) -> Result<&Page, ValueError> {
        let place = self.pages.partition_point(|page| page.first <= index);
        let page = place.checked_sub(1).and_then(|place| self.pages.get(place)).filter(|_| index < self.length);
        page.ok_or(ValueError::NoElement { index, length: self.length })
    }

    /// What names a page's content, with that which stands before it.
    pub(super) fn name_of(&self, page: &Page) -> Digest {
        if self.head.is_empty() {
            return page.sha256;
        }
        let mut hasher = Sha256::new_with_prefix(&self.head);
        hasher.update(page.sha256.0);
        Digest(hasher.finalize().into())
    }

    /// The pages of the JSON list in a file; `None` where it is no list, or one page would hold all of it.
    pub(super) fn of_json(file: &File, path: &Path) -> Result<Option<Self>, ValueError> {
        let in_file = |source| ValueError::io(path, source);
        let mut scanner = Scanner::default();
        let mut draft = Draft::default();
        let mut reader = file;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = reader.read(&mut buffer).map_err(in_file)?;
            if count == 0 {
                break;
            }
            scanner.add_all(&buffer[..count]);
            scanner.take().into_iter().for_each(|element| draft.add(element));
        }
        draft.close();
        if !scanner.is_list() || draft.ranges.len() < 2 {
            return Ok(None);
        }
        let page = |(first, start, end): (u64, u64, u64)| {
            Ok(Page { first, start, end, sha256: checksum(file, start, end).map_err(in_file)? })
        };
        let pages = draft.ranges.into_iter().map(page).collect::<Result<_, ValueError>>()?;
        Ok(Some(Self { length: draft.length, head: Vec::new(), pages }))
    }
}

impl Weigh for Pages {
    fn weight_bytes(&self) -> u64 {
        (size_of_val(self.pages.as_slice()) + self.head.len()) as u64
    }
}

/// Ranges of pages, as elements come.
#[derive(Default)]
struct Draft {
    length: u64,
    /// First element, first byte, byte after the last.
    ranges: Vec<(u64, u64, u64)>,
    open: Option<(u64, u64, u64)>,
}

impl Draft {
    fn add(&mut self, (start, end): (u64, u64)) {
        let (first, page_start, _) = self.open.unwrap_or((self.length, start, end));
        self.open = Some((first, page_start, end));
        self.length += 1;
        if end - page_start >= PAGE_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        self.ranges.extend(self.open.take());
    }
}

fn checksum(file: &File, start: u64, end: u64) -> std::io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut place = start;
    while place < end {
        let count = buffer.len().min((end - place) as usize);
        file.read_exact_at(&mut buffer[..count], place)?;
        hasher.update(&buffer[..count]);
        place += count as u64;
    }
    Ok(Digest(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn pages(text: &str) -> Option<Pages> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        Pages::of_json(&file, Path::new("test")).unwrap()
    }

    #[test]
    fn pages_end_between_elements_and_have_all_of_them() {
        let element = format!("\"{},]\"", "x".repeat(300_000));
        let text = format!("[ {} ]", [element.as_str(); 11].join(" , "));
        let pages = pages(&text).unwrap();
        assert_eq!((pages.length, pages.pages.len()), (11, 3));
        for page in &pages.pages {
            let part = format!("[{}]", &text[page.start as usize..page.end as usize]);
            let elements: Vec<String> = serde_json::from_str(&part).unwrap();
            assert_eq!(Digest::of(&part.as_bytes()[1..part.len() - 1]), page.sha256);
            assert!(elements.len() <= 4);
        }
        assert_eq!(pages.page_of(3).unwrap().first, 0);
        assert_eq!(pages.page_of(4).unwrap().first, 4);
        assert_eq!(pages.page_of(10).unwrap().first, 8);
        assert!(matches!(pages.page_of(11), Err(ValueError::NoElement { index: 11, length: 11 })));
    }

    #[test]
    fn what_is_small_or_no_list_has_no_pages() {
        assert_eq!(pages("[1, 2]"), None);
        assert_eq!(pages("[]"), None);
        assert_eq!(pages(&format!("\"{}\"", "x".repeat(3 << 20))), None);
    }

    #[test]
    fn the_index_reads_back() {
        let page = Page { first: 0, start: 8, end: 16, sha256: Digest::of(b"x") };
        let pages = Pages { length: 3, head: vec![1, 0xff], pages: vec![page] };
        let text = serde_json::to_string(&pages).unwrap();
        assert_eq!(serde_json::from_str::<Pages>(&text).unwrap(), pages);
        assert_ne!(pages.name_of(&page), page.sha256);
    }
}
