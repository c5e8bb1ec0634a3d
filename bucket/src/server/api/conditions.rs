//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime};

use hyper::header::{ETAG, HeaderMap, HeaderValue};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::server::folder::{Condition, ObjectInfo};

/// What a reader wants an object to be.
#[derive(Debug, Default)]
pub(super) struct ReadConditions {
    pub if_match: Option<ETagCondition>,
    pub if_none_match: Option<ETagCondition>,
    pub if_modified_since: Option<Timestamp>,
    pub if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// Decides in the order of RFC 9110, section 13.2.2.
    pub(super) fn check(&self, info: &ObjectInfo) -> S3Result<()> {
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == info.etag,
        };
        let modified = modified(info);
        // Dates of HTTP have whole seconds.
        let modified_after = |since: &Timestamp| modified_seconds(&modified) > modified_seconds(since);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if modified_after(since) => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches(condition) => Err(not_modified(info)),
            (None, Some(since)) if !modified_after(since) => Err(not_modified(info)),
            _ => Ok(()),
        }
    }
}

/// What a writer wants to be there.
pub(super) fn write_condition(
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::IfAbsent),
        (Some(ETagCondition::Any), None) => Ok(Condition::IfPresent),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::IfMatch(etag.value().to_owned())),
        _ => Err(s3_error!(NotImplemented, "writes take If-Match, or If-None-Match with `*`")),
    }
}

/// What is to be there for being deleted.
pub(super) fn delete_condition(if_match: Option<ETagCondition>, has_others: bool) -> S3Result<Condition> {
    if has_others {
        return Err(s3_error!(NotImplemented, "a deletion takes If-Match, and neither a size nor a time"));
    }
    write_condition(if_match, None)
}

/// Refuses to give a part of an object: where its parts began is not kept.
pub(super) fn check_part(number: Option<i32>, info: &ObjectInfo) -> S3Result {
    let has_one = info.etag.rsplit_once('-').is_none_or(|(_, parts)| parts == "1");
    match number {
        None => Ok(()),
        Some(1) if has_one => Ok(()),
        Some(_) => Err(s3_error!(NotImplemented, "parts of an object are not kept apart; ask for a range of it")),
    }
}

pub(super) fn etag(info: &ObjectInfo) -> ETag {
    ETag::Strong(info.etag.clone())
}

pub(super) fn modified(info: &ObjectInfo) -> Timestamp {
    milliseconds(info.modified_ms)
}

/// A time of S3 from a Unix time in milliseconds.
pub(super) fn milliseconds(unix_ms: i64) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0)))
}

fn modified_seconds(timestamp: &Timestamp) -> i64 {
    time::OffsetDateTime::from(timestamp.clone()).unix_timestamp()
}

fn not_modified(info: &ObjectInfo) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", info.etag)) {
        error.set_headers(HeaderMap::from_iter([(ETAG, value)]));
    }
    error
}
