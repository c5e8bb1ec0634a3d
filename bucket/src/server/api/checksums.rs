//! Checksums that a writer sends along, in headers before the content or behind it.

use base64::Engine;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::Checksum;
use s3s::{S3Result, TrailingHeaders, s3_error};

/// What the content must come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// In base64, as `Content-MD5` has it.
    pub md5: Option<String>,
    pub checksum: Checksum,
    /// Where checksums come behind the content.
    pub trailing: Option<TrailingHeaders>,
    /// Names of the algorithms whose checksums come behind the content; empty where none is announced.
    pub announced: String,
}

impl Expected {
    /// They compute what will be compared, and nothing else.
    pub(super) fn hashers(&self) -> (ChecksumHasher, Option<Md5>) {
        let wanted = |value: &Option<String>, name: &str| value.is_some() || self.announced.contains(name);
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
        self.take_trailing();
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
            Some((name, ..)) => {
                Err(s3_error!(BadDigest, "the content does not have the {} that was sent with it", name))
            }
            None => Ok(expected),
        }
    }

    fn take_trailing(&mut self) {
        let Some(headers) = self.trailing.take().and_then(|trailing| trailing.take()) else { return };
        let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let checksum = &mut self.checksum;
        for (slot, name) in [
            (&mut checksum.checksum_crc32, "x-amz-checksum-crc32"),
            (&mut checksum.checksum_crc32c, "x-amz-checksum-crc32c"),
            (&mut checksum.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
            (&mut checksum.checksum_sha1, "x-amz-checksum-sha1"),
            (&mut checksum.checksum_sha256, "x-amz-checksum-sha256"),
        ] {
            if let Some(sent) = value(name) {
                *slot = Some(sent);
            }
        }
    }
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
    }
}
