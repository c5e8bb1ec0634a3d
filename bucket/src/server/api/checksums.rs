//! Checksums that a writer sends along, in headers before the content or behind it.

use base64::Engine;
use hyper::header::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumAlgorithm, ChecksumType};
use s3s::{S3Result, TrailingHeaders, s3_error};

/// What the content must come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// In base64, as `Content-MD5` has it.
    pub md5: Option<String>,
    pub checksum: Checksum,
    /// The one that the writer says it uses.
    pub algorithm: Option<ChecksumAlgorithm>,
    pub trailing: Trailing,
}

/// Checksums that come behind a content.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailing {
    /// Where they come, in a content of chunks.
    headers: Option<TrailingHeaders>,
    /// What `x-amz-trailer` names, in small letters: these must come.
    announced: String,
}

impl Trailing {
    pub(super) fn of(headers: &HeaderMap, trailing: Option<TrailingHeaders>) -> Self {
        let announced = headers.get_all("x-amz-trailer").into_iter().filter_map(|value| value.to_str().ok());
        Self { headers: trailing, announced: announced.collect::<Vec<_>>().join(",").to_ascii_lowercase() }
    }

    /// Whether one by this algorithm may come.
    fn may_have(&self, name: &str, algorithm: Option<&ChecksumAlgorithm>) -> bool {
        match algorithm {
            _ if self.headers.is_none() => false,
            _ if !self.announced.is_empty() => self.announced.contains(name),
            Some(algorithm) => algorithm.as_str().eq_ignore_ascii_case(name),
            // Which one comes is known when it is there.
            None => true,
        }
    }
}

impl Expected {
    /// What an object of parts must come to as a whole; `None` where what is said is of the checksums of its parts. `begun_whole` says
    /// what holds where the request says nothing of it.
    pub(super) fn whole(checksum: Checksum, begun_whole: bool) -> S3Result<Option<Self>> {
        let kind = checksum.checksum_type.as_ref();
        let is_whole = kind.map_or(begun_whole, |kind| kind.as_str() == ChecksumType::FULL_OBJECT);
        if begun_whole && !is_whole {
            return Err(s3_error!(InvalidRequest, "the upload was begun with a checksum of the whole object"));
        }
        Ok(is_whole.then(|| Self { checksum, ..Self::default() }))
    }

    /// Whether an upload that is begun like this has a checksum of the whole: there is no other of CRC-64/NVME, and none of digests.
    pub(super) fn begins_whole(algorithm: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> S3Result<bool> {
        let is_whole = kind.map(|kind| kind.as_str() == ChecksumType::FULL_OBJECT);
        match (algorithm.map(ChecksumAlgorithm::as_str), is_whole) {
            (Some(ChecksumAlgorithm::CRC64NVME), Some(false))
            | (Some(ChecksumAlgorithm::SHA1 | ChecksumAlgorithm::SHA256), Some(true)) => {
                Err(s3_error!(InvalidRequest, "there is no checksum of this type by this algorithm"))
            }
            (Some(ChecksumAlgorithm::CRC64NVME), None) => Ok(true),
            (_, is_whole) => Ok(is_whole.unwrap_or(false)),
        }
    }

    /// They compute what will be compared, and nothing else.
    pub(super) fn hashers(&self) -> (ChecksumHasher, Option<Md5>) {
        let wanted = |value: &Option<String>, name: &str| {
            value.is_some() || self.trailing.may_have(name, self.algorithm.as_ref())
        };
        let mut hasher = ChecksumHasher::default();
        if wanted(&self.checksum.checksum_crc32, "crc32") {
            hasher.crc32 = Some(Crc32::new());
        }
        if wanted(&self.checksum.checksum_crc32c, "crc32c") {
            hasher.crc32c = Some(Crc32c::new());
        }
        if wanted(&self.checksum.checksum_crc64nvme, "crc64nvme") {
            hasher.crc64nvme = Some(Crc64Nvme::new());
        }
        if wanted(&self.checksum.checksum_sha1, "sha1") {
            hasher.sha1 = Some(Sha1::new());
        }
        if wanted(&self.checksum.checksum_sha256, "sha256") {
            hasher.sha256 = Some(Sha256::new());
        }
        (hasher, self.md5.as_ref().map(|_| Md5::new()))
    }

    /// Compares; gives the checksums that were asked for.
    pub(super) fn verify(mut self, md5: Option<[u8; 16]>, computed: Checksum) -> S3Result<Checksum> {
        self.take_trailing()?;
        let decoded = self.md5.as_ref().map(|md5| base64::engine::general_purpose::STANDARD.decode(md5));
        if decoded.is_some_and(|md5| md5.map_or(true, |md5| md5.len() != 16)) {
            return Err(s3_error!(InvalidDigest, "the Content-MD5 is none: 16 bytes in base64"));
        }
        let md5_base64 = md5.map(|md5| base64::engine::general_purpose::STANDARD.encode(md5));
        let expected = self.checksum;
        let pairs = [
            ("Content-MD5", &self.md5, &md5_base64),
            ("crc32", &expected.checksum_crc32, &computed.checksum_crc32),
            ("crc32c", &expected.checksum_crc32c, &computed.checksum_crc32c),
            ("crc64nvme", &expected.checksum_crc64nvme, &computed.checksum_crc64nvme),
            ("sha1", &expected.checksum_sha1, &computed.checksum_sha1),
            ("sha256", &expected.checksum_sha256, &computed.checksum_sha256),
        ];
        match pairs.iter().find(|(_, expected, computed)| expected.is_some() && expected != computed) {
            Some((name, Some(sent), Some(computed))) if decoded_length(sent) != decoded_length(computed) => {
                Err(s3_error!(InvalidRequest, "the {} that was sent is none: it has another length in base64", name))
            }
            Some((name, ..)) => {
                Err(s3_error!(BadDigest, "the content does not have the {} that was sent with it", name))
            }
            None => Ok(expected),
        }
    }

    fn take_trailing(&mut self) -> S3Result<()> {
        let headers = self.trailing.headers.take().and_then(|trailing| trailing.take()).unwrap_or_default();
        let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (checksum, announced) = (&mut self.checksum, self.trailing.announced.split(',').map(str::trim));
        let announced: Vec<&str> = announced.collect();
        for (slot, name) in [
            (&mut checksum.checksum_crc32, "x-amz-checksum-crc32"),
            (&mut checksum.checksum_crc32c, "x-amz-checksum-crc32c"),
            (&mut checksum.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
            (&mut checksum.checksum_sha1, "x-amz-checksum-sha1"),
            (&mut checksum.checksum_sha256, "x-amz-checksum-sha256"),
        ] {
            match value(name) {
                Some(sent) => *slot = Some(sent),
                None if announced.contains(&name) => {
                    return Err(s3_error!(
                        InvalidRequest,
                        "{} was announced and did not come behind the content",
                        name
                    ));
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// How many bytes a text in base64 stands for; `None` where it is none.
fn decoded_length(text: &str) -> Option<usize> {
    base64::engine::general_purpose::STANDARD.decode(text).ok().map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_held_to_the_md5_that_came_with_it_and_else_none_is_computed() {
        assert!(Expected::default().hashers().1.is_none());
        let verified = |md5: &str, content: &[u8]| {
            let expected = Expected { md5: Some(md5.to_owned()), ..Expected::default() };
            let (hasher, md5) = expected.hashers();
            let mut md5 = md5.unwrap();
            md5.update(content);
            expected.verify(Some(md5.finalize()), hasher.finalize())
        };
        // That of the empty content, as RFC 1321 gives it.
        assert!(verified("1B2M2Y8AsgTpgAmY7PhCfg==", b"").is_ok());
        let error = verified("1B2M2Y8AsgTpgAmY7PhCfg==", b"other").unwrap_err();
        assert_eq!(error.code(), &s3s::S3ErrorCode::BadDigest);
        assert!(error.message().unwrap().contains("Content-MD5"), "{error:?}");
        assert_eq!(verified("abc", b"").unwrap_err().code(), &s3s::S3ErrorCode::InvalidDigest);
    }

    #[test]
    fn a_checksum_that_was_announced_must_come() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-trailer", "X-Amz-Checksum-CRC32".parse().unwrap());
        let expected = Expected { trailing: Trailing::of(&headers, None), ..Expected::default() };
        let error = expected.verify(None, Checksum::default()).unwrap_err();
        assert!(error.message().unwrap().contains("x-amz-checksum-crc32 was announced"), "{error:?}");
        assert!(Expected::default().verify(None, Checksum::default()).is_ok());
    }

    #[test]
    fn only_a_checksum_of_the_whole_is_compared_with_the_whole() {
        let of = |kind: Option<&'static str>| Checksum {
            checksum_crc32: Some("AAAAAA==".to_owned()),
            checksum_type: kind.map(ChecksumType::from_static),
            ..Checksum::default()
        };
        let whole = |kind, begun_whole| Expected::whole(of(kind), begun_whole);
        assert!(whole(None, false).unwrap().is_none() && whole(None, true).unwrap().is_some());
        assert!(whole(Some(ChecksumType::COMPOSITE), false).unwrap().is_none());
        assert!(whole(Some(ChecksumType::COMPOSITE), true).is_err());
        let expected = whole(Some(ChecksumType::FULL_OBJECT), false).unwrap().unwrap();
        let (mut hasher, _) = expected.hashers();
        hasher.update(b"content");
        assert_eq!(expected.verify(None, hasher.finalize()).unwrap_err().code(), &s3s::S3ErrorCode::BadDigest);
    }
}
