//! One element of a list, or one row of a table, wherever the list is.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use base64::Engine;
use protocol::{Format, PageIndex, Place, ValueKind};
use serde_json::value::RawValue;

use super::list::List;
use super::pages::{Page, Pages};
use super::shape::Shape;
use super::{ValueError, Values, blocking};
use crate::BucketError;
use crate::client::Stored;
use crate::table::{self, TableError};

impl Values {
    /// The JSON text of the element `index` of the list at `list`.
    pub(super) async fn element(&self, list: &Place, index: u64) -> Result<String, ValueError> {
        match list {
            Place::Json(text) => element_of_text(text.get(), index),
            Place::Arrow(encoded) => row_of_stream(&decode(encoded)?, index),
            Place::Object { key, format, bytes, sha256, pages } => {
                if let Some(pages) = pages {
                    match self.page(key, *format, *pages, index).await {
                        // The list itself may be whole.
                        Err(error) if is_of_index(&error, key) => {}
                        page => {
                            let (list, first) = page?;
                            return blocking(move || list.element(index - first)).await;
                        }
                    }
                }
                let expected = Stored { bytes: *bytes, sha256: *sha256 };
                let list = self.lists.get(*sha256, || self.fetch_list(key, *format, expected, index)).await?;
                blocking(move || list.element(index)).await
            }
            Place::Element { list, index: outer } => {
                let text = Box::pin(self.element(list, *outer)).await?;
                element_of_text(&text, index)
            }
        }
    }

    /// The page of a list that has an element, and the index of its first one.
    async fn page(
        &self,
        key: &str,
        format: Format,
        index_object: PageIndex,
        index: u64,
    ) -> Result<(Arc<List>, u64), ValueError> {
        let pages = self.pages(key, index_object).await?;
        let page = *pages.page_of(index)?;
        let list = self.lists.get(pages.name_of(&page), || self.fetch_page(key, format, &pages, page)).await?;
        Ok((list, page.first))
    }

    /// Where the pages of a list are.
    pub(super) async fn pages(&self, key: &str, index: PageIndex) -> Result<Arc<Pages>, ValueError> {
        self.indexes.get(index.sha256, || self.fetch_index(key, index)).await
    }

    async fn fetch_index(&self, key: &str, index: PageIndex) -> Result<Pages, ValueError> {
        let expected = Stored { bytes: index.bytes, sha256: index.sha256 };
        let content = self.bucket.get_verified(&index_key(key), expected).await?;
        serde_json::from_slice(&content).map_err(ValueError::NotJson)
    }

    async fn fetch_page(&self, key: &str, format: Format, pages: &Pages, page: Page) -> Result<List, ValueError> {
        let content = self.bucket.get_range(key, page.start..page.end, page.sha256).await?;
        let (head, folder) = (pages.head.clone(), self.folder.clone());
        blocking(move || match format {
            Format::Json => List::from_elements(&content, &folder),
            Format::Arrow => List::from_table(head.as_slice().chain(&*content), &folder),
        })
        .await
    }

    async fn fetch_list(&self, key: &str, format: Format, expected: Stored, index: u64) -> Result<List, ValueError> {
        let path = self.fetch(key, expected).await?;
        let folder = self.folder.clone();
        blocking(move || {
            let open = || File::open(&path).map_err(|source| ValueError::io(&path, source));
            match format {
                Format::Arrow => List::from_table(BufReader::new(open()?), &folder),
                Format::Json => match List::from_json(open()?, &path)? {
                    Some(list) => Ok(list),
                    None => Err(not_a_list(Shape::of_file(&open()?).map_err(ValueError::NotJson)?.kind, index)),
                },
            }
        })
        .await
    }
}

/// Where the index of the pages of the object `key` is.
pub(super) fn index_key(key: &str) -> String {
    format!("{key}.pages")
}

/// Whether it is the index of the list at `key` that is lost or damaged.
fn is_of_index(error: &ValueError, key: &str) -> bool {
    match error {
        ValueError::Bucket(BucketError::NotFound { key: lost } | BucketError::Corrupt { key: lost, .. }) => {
            *lost == index_key(key)
        }
        _ => false,
    }
}

fn element_of_text(text: &str, index: u64) -> Result<String, ValueError> {
    let shape = Shape::of_text(text).map_err(ValueError::NotJson)?;
    if shape.kind != ValueKind::List {
        return Err(not_a_list(shape.kind, index));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(ValueError::NotJson)?;
    let found = usize::try_from(index).ok().and_then(|index| elements.get(index));
    let length = elements.len() as u64;
    found.map(|element| element.get().to_owned()).ok_or(ValueError::NoElement { index, length })
}

fn row_of_stream(stream: &[u8], index: u64) -> Result<String, ValueError> {
    let mut before = 0;
    for batch in table::read_stream(stream)? {
        let batch = batch.map_err(TableError::from)?;
        let row = index - before;
        if row < batch.num_rows() as u64 {
            let record = table::row_to_record(&batch, row as usize)?;
            return String::from_utf8(record).map_err(|error| ValueError::NotJson(serde::de::Error::custom(error)));
        }
        before += batch.num_rows() as u64;
    }
    Err(ValueError::NoElement { index, length: before })
}

fn not_a_list(kind: ValueKind, index: u64) -> ValueError {
    ValueError::NotAList { index, kind: kind.with_article() }
}

/// The bytes of a table that travels inside its reference.
pub(super) fn decode(encoded: &str) -> Result<Vec<u8>, TableError> {
    let stream = base64::engine::general_purpose::STANDARD.decode(encoded);
    stream.map_err(|error| TableError::Malformed(error.to_string()))
}
