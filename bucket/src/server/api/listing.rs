//! Listings, in S3's first and second version.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::Api;
use super::conditions::{etag, modified};
use crate::percent;
use crate::server::folder::{ListQuery, Listed, Page, Start};

/// Most entries of a page, as in S3; also what a request without a number gets.
const PAGE_LENGTH_MAX: i32 = 1_000;

impl Api {
    pub(super) async fn list_objects(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let length_max = page_length(input.max_keys)?;
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let start = match input.marker.clone().filter(|marker| !marker.is_empty()) {
            None => Start::Beginning,
            // A marker that is a prefix of the last page stands for all keys that begin like it.
            Some(marker) if delimiter.as_deref().is_some_and(|delimiter| marker.ends_with(delimiter)) => {
                Start::AfterPrefix(marker)
            }
            Some(marker) => Start::AfterKey(marker),
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let query = ListQuery { prefix, delimiter: delimiter.clone(), start, length_max };
        let page = self.page(&input.bucket, query).await?;
        let text = Text::new(input.encoding_type.as_ref());
        let next_marker = if page.truncated { page.entries.last().map(|entry| text.show(name(entry))) } else { None };
        let (contents, common_prefixes) = text.entries(&page);
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| text.show(&prefix)),
            marker: Some(text.show(&input.marker.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| text.show(&delimiter)),
            max_keys: Some(length_max as i32),
            is_truncated: Some(page.truncated),
            next_marker,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    pub(super) async fn list_objects_v2(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let length_max = page_length(input.max_keys)?;
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let start = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => read_token(token)?,
            (None, Some(key)) if !key.is_empty() => Start::AfterKey(key.clone()),
            _ => Start::Beginning,
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        let query = ListQuery { prefix, delimiter: delimiter.clone(), start, length_max };
        let page = self.page(&input.bucket, query).await?;
        let text = Text::new(input.encoding_type.as_ref());
        let next_continuation_token = if page.truncated { page.entries.last().map(write_token) } else { None };
        let (contents, common_prefixes) = text.entries(&page);
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| text.show(&prefix)),
            start_after: input.start_after.map(|key| text.show(&key)),
            delimiter: delimiter.map(|delimiter| text.show(&delimiter)),
            max_keys: Some(length_max as i32),
            key_count: Some(page.entries.len() as i32),
            is_truncated: Some(page.truncated),
            continuation_token: input.continuation_token,
            next_continuation_token,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    async fn page(&self, bucket: &str, query: ListQuery) -> S3Result<Page> {
        let bucket = bucket.to_owned();
        self.with_folder(move |folder| folder.list(&bucket, &query)).await
    }
}

pub(super) fn page_length(asked: Option<i32>) -> S3Result<usize> {
    let asked = asked.unwrap_or(PAGE_LENGTH_MAX).min(PAGE_LENGTH_MAX);
    usize::try_from(asked).map_err(|_| s3_error!(InvalidArgument, "the length of a page is not negative"))
}

fn name(entry: &Listed) -> &str {
    match entry {
        Listed::Object { key, .. } => key,
        Listed::Prefix(prefix) => prefix,
    }
}

/// Where the next page begins: `k` and a key, or `p` and a prefix.
fn write_token(entry: &Listed) -> String {
    let kind = match entry {
        Listed::Object { .. } => 'k',
        Listed::Prefix(_) => 'p',
    };
    URL_SAFE_NO_PAD.encode(format!("{kind}{}", name(entry)))
}

fn read_token(token: &str) -> S3Result<Start> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match text.split_at_checked(1) {
        Some(("k", key)) => Ok(Start::AfterKey(key.to_owned())),
        Some(("p", prefix)) => Ok(Start::AfterPrefix(prefix.to_owned())),
        _ => Err(s3_error!(InvalidArgument, "the continuation token is none of ours")),
    }
}

/// How keys are written in an answer.
#[derive(Debug, Clone, Copy)]
struct Text {
    encoded: bool,
}

impl Text {
    fn new(encoding: Option<&EncodingType>) -> Self {
        Self { encoded: encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL) }
    }

    fn show(self, text: &str) -> String {
        if !self.encoded {
            return text.to_owned();
        }
        percent::encode(text, |byte| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte))
    }

    fn entries(self, page: &Page) -> (Vec<Object>, Vec<CommonPrefix>) {
        let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
        for entry in &page.entries {
            match entry {
                Listed::Prefix(prefix) => prefixes.push(CommonPrefix { prefix: Some(self.show(prefix)) }),
                Listed::Object { key, bytes, info } => contents.push(Object {
                    key: Some(self.show(key)),
                    size: Some(*bytes as i64),
                    e_tag: Some(etag(info)),
                    last_modified: Some(modified(info)),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    ..Default::default()
                }),
            }
        }
        (contents, prefixes)
    }
}
