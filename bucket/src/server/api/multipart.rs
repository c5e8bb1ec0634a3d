//! Multipart uploads.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::Api;
use super::body::Received;
use super::checksums::{Expected, Trailing};
use super::conditions::{ReadConditions, etag, milliseconds, write_condition};
use super::listing::page_length;
use crate::server::folder::{Folder, PartName, Upload};

/// Highest number of a part, as in S3.
const PART_NUMBER_MAX: i32 = 10_000;

impl Api {
    pub(super) async fn create_multipart_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let attributes = attributes!(input);
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let is_whole = Expected::begins_whole(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        let begin =
            move |folder: &Folder| folder.begin_upload(Upload { bucket: &bucket, key: &key }, attributes, is_whole);
        let id = self.with_folder(begin).await?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..Default::default()
        })
    }

    pub(super) async fn upload_part(&self, input: UploadPartInput, trailing: Trailing) -> S3Result<UploadPartOutput> {
        let number = part_number(input.part_number)?;
        let expected = expected!(input, trailing);
        let (id, bucket, key) = (input.upload_id, input.bucket, input.key);
        let of = (id.clone(), bucket.clone(), key.clone());
        let begin = move |folder: &Folder, sizes| {
            let (id, bucket, key) = &of;
            folder.part_draft(id, Upload { bucket, key }, number, sizes)
        };
        let received = self.receive(input.body, input.content_length, expected, begin).await?;
        let Received { draft, etag, checksum } = received;
        let e_tag = Some(ETag::Strong(etag.clone()));
        self.with_folder(move |folder| {
            folder.add_part(&id, Upload { bucket: &bucket, key: &key }, number, draft, etag)
        })
        .await?;
        Ok(UploadPartOutput {
            e_tag,
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        })
    }

    pub(super) async fn upload_part_copy(&self, input: UploadPartCopyInput) -> S3Result<UploadPartCopyOutput> {
        let number = part_number(input.part_number)?;
        let source = self.open_source(input.copy_source).await?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        conditions.check(&source.info).map_err(|_| s3_error!(PreconditionFailed))?;
        let range = match input.copy_source_range {
            None => 0..source.bytes,
            Some(range) => {
                let range = Range::parse(&range).map_err(|_| s3_error!(InvalidArgument, "the range cannot be read"))?;
                if matches!(range, Range::Int { last: Some(last), .. } if last >= source.bytes) {
                    return Err(s3_error!(InvalidRange, "the range ends behind the object"));
                }
                range.check(source.bytes)?
            }
        };
        let bytes_max = self.limits.object_bytes_max;
        let (id, bucket, key) = (input.upload_id, input.bucket, input.key);
        let etag = self
            .with_folder(move |folder| {
                let mut draft = folder.draft(bytes_max)?;
                // Read rather than copied by the kernel, because the part needs its own ETag.
                draft.write_range(&source, range.start, range.end - range.start)?;
                let etag = draft.take_sum().etag(1);
                folder.add_part(&id, Upload { bucket: &bucket, key: &key }, number, draft, etag.clone())?;
                Ok(etag)
            })
            .await?;
        let now = std::time::SystemTime::now().into();
        let result = CopyPartResult { e_tag: Some(ETag::Strong(etag)), last_modified: Some(now), ..Default::default() };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts: S3Result<Vec<_>> = parts.into_iter().map(part_name).collect();
        let parts = parts?;
        let bytes_max = self.limits.object_bytes_max;
        let (id, bucket, key) = (input.upload_id, input.bucket.clone(), input.key.clone());
        let sizes = (input.mpu_object_size.and_then(|bytes| u64::try_from(bytes).ok()), bytes_max);
        let checksum = checksum!(input, input.checksum_type);
        let completed = self.with_folder(move |folder| {
            let name = Upload { bucket: &bucket, key: &key };
            let expected = match Expected::whole(checksum, folder.has_whole_checksum(&id, name)) {
                Ok(expected) => expected,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(expected) = expected {
                let (mut hasher, _) = expected.hashers();
                // One that is complete was held to it then.
                if folder.read_parts(&id, name, &parts, |piece| hasher.update(piece))?
                    && let Err(error) = expected.verify(None, hasher.finalize())
                {
                    return Ok(Err(error));
                }
            }
            folder.complete_upload(&id, name, &parts, condition, sizes).map(Ok)
        });
        let info = completed.await??;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&info)),
            ..Default::default()
        })
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        input: AbortMultipartUploadInput,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let (id, bucket, key) = (input.upload_id, input.bucket, input.key);
        self.with_folder(move |folder| folder.abort_upload(&id, Upload { bucket: &bucket, key: &key })).await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) async fn list_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let length_max = page_length(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let (id, bucket, key) = (input.upload_id.clone(), input.bucket.clone(), input.key.clone());
        let parts =
            self.with_folder(move |folder| folder.list_parts(&id, Upload { bucket: &bucket, key: &key })).await?;
        let mut rest = parts.into_iter().filter(|part| i64::from(part.number) > i64::from(after));
        let parts: Vec<Part> = rest
            .by_ref()
            .take(length_max)
            .map(|part| Part {
                part_number: Some(part.number as i32),
                size: Some(part.bytes as i64),
                e_tag: Some(ETag::Strong(part.etag)),
                last_modified: Some(milliseconds(part.modified_ms)),
                ..Default::default()
            })
            .collect();
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(length_max as i32),
            part_number_marker: Some(after),
            is_truncated: Some(rest.next().is_some()),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            ..Default::default()
        })
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let length_max = page_length(input.max_uploads)?;
        let bucket = input.bucket.clone();
        let uploads = self.with_folder(move |folder| folder.list_uploads(&bucket)).await?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let marker = input.key_marker.clone().unwrap_or_default();
        let is_after = |key: &str, id: &str| match &input.upload_id_marker {
            _ if marker.is_empty() => true,
            None => key > marker.as_str(),
            Some(id_marker) => (key, id) > (marker.as_str(), id_marker.as_str()),
        };
        let (mut listed, mut prefixes) = (Vec::new(), Vec::<String>::new());
        let (mut is_truncated, mut next) = (false, (None, None));
        for (id, info) in uploads {
            let Some(rest) = info.key.strip_prefix(&prefix) else { continue };
            // Keys that begin alike up to the delimiter are one entry, and come one after the other.
            let end = delimiter.as_ref().and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
            let common = end.map(|end| &info.key[..prefix.len() + end]);
            let is_listed = match common {
                Some(common) => {
                    (marker.is_empty() || common > marker.as_str()) && prefixes.last().is_none_or(|last| last != common)
                }
                None => is_after(&info.key, &id),
            };
            if !is_listed {
                continue;
            }
            if listed.len() + prefixes.len() == length_max {
                is_truncated = true;
                break;
            }
            if let Some(common) = common {
                next = (Some(common.to_owned()), None);
                prefixes.push(common.to_owned());
                continue;
            }
            next = (Some(info.key.clone()), Some(id.clone()));
            listed.push(MultipartUpload {
                key: Some(info.key),
                upload_id: Some(id),
                initiated: Some(milliseconds(info.initiated_ms)),
                ..Default::default()
            });
        }
        let common_prefixes = prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) }).collect();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            delimiter,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            max_uploads: Some(length_max as i32),
            is_truncated: Some(is_truncated),
            next_key_marker: next.0,
            next_upload_id_marker: next.1,
            uploads: Some(listed),
            common_prefixes: Some(common_prefixes),
            ..Default::default()
        })
    }
}

fn part_number(number: i32) -> S3Result<u32> {
    match u32::try_from(number) {
        Ok(part) if part >= 1 && number <= PART_NUMBER_MAX => Ok(part),
        _ => Err(s3_error!(InvalidArgument, "parts have numbers from 1 to {}", PART_NUMBER_MAX)),
    }
}

fn part_name(part: CompletedPart) -> S3Result<PartName> {
    let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
    let etag = part.e_tag.map(|etag| etag.value().to_owned());
    Ok(PartName { number: part_number(number)?, etag })
}
