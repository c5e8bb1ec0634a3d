//! Fields that several requests have alike, each in a type of its own.

/// What the writer of an object says of it.
macro_rules! attributes {
    ($input:ident) => {
        $crate::server::folder::Attributes {
            content_type: $input.content_type,
            content_encoding: $input.content_encoding,
            content_disposition: $input.content_disposition,
            content_language: $input.content_language,
            cache_control: $input.cache_control,
            user: $input.metadata.unwrap_or_default().into_iter().collect(),
        }
    };
}

/// The checksums that come with a request, of this type.
macro_rules! checksum {
    ($input:ident, $kind:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32,
            checksum_crc32c: $input.checksum_crc32c,
            checksum_crc64nvme: $input.checksum_crc64nvme,
            checksum_sha1: $input.checksum_sha1,
            checksum_sha256: $input.checksum_sha256,
            checksum_type: $kind,
        }
    };
}

/// What a content must come to that comes with a request.
macro_rules! expected {
    ($input:ident, $trailing:ident) => {
        $crate::server::api::checksums::Expected {
            md5: $input.content_md5,
            checksum: checksum!($input, None),
            algorithm: $input.checksum_algorithm,
            trailing: $trailing,
        }
    };
}
