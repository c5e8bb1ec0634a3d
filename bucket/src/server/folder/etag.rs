//! ETags: what tells a content from others of its key.
//!
//! It is a checksum of the content and its length, and not its MD5, which takes longer than to write the content to a disk. S3 leaves
//! open what an ETag is; with a number of parts behind it, as here in every case, no client takes it for an MD5.

use s3s::crypto::{Checksum, Crc64Nvme};

/// Sums up a content, or the ETags of its parts.
pub(super) struct Sum {
    crc: Crc64Nvme,
    bytes: u64,
}

/// What a content comes to.
pub(crate) struct Summed {
    pub crc64nvme: [u8; 8],
    bytes: u64,
}

impl Summed {
    /// The ETag of what came in so many parts.
    pub(crate) fn etag(&self, parts: usize) -> String {
        format!("{}{:016x}-{parts}", hex::encode(self.crc64nvme), self.bytes)
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self { crc: Crc64Nvme::new(), bytes: 0 }
    }
}

impl Sum {
    pub(super) fn update(&mut self, piece: &[u8]) {
        self.crc.update(piece);
        self.bytes += piece.len() as u64;
    }

    pub(super) fn end(self) -> Summed {
        Summed { crc64nvme: self.crc.finalize(), bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_contents_apart_however_they_come() {
        let etag = |pieces: &[&str]| {
            let mut sum = Sum::default();
            pieces.iter().for_each(|piece| sum.update(piece.as_bytes()));
            sum.end().etag(1)
        };
        // The checksum of these digits is part of the definition of CRC-64/NVME.
        assert_eq!(etag(&["123456789"]), "ae8b14860a7998880000000000000009-1");
        assert_eq!(etag(&["123", "", "456789"]), etag(&["123456789"]));
        let others = [etag(&[]), etag(&["\0"]), etag(&["\0\0"]), etag(&["123456788"])];
        for (place, one) in others.iter().enumerate() {
            assert!(!others[..place].contains(one), "{one}");
        }
    }
}
