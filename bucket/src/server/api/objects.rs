//! Buckets and single objects.

use hyper::header::{CONTENT_RANGE, HeaderMap, HeaderValue};
use s3s::dto::*;
use s3s::{S3Error, S3Result, s3_error};

use super::Api;
use super::body::{Received, open_and_read, send, small};
use super::checksums::Trailing;
use super::conditions::{ReadConditions, check_part, delete_condition, etag, modified, write_condition};
use crate::server::folder::{Folder, Object, Target};

/// Most objects of one bulk delete, as in S3.
const DELETE_OBJECTS_MAX: usize = 1_000;

impl Api {
    pub(super) async fn create_bucket(&self, input: CreateBucketInput) -> S3Result<CreateBucketOutput> {
        let location = format!("/{}", input.bucket);
        let is_new = self.with_folder(move |folder| folder.create_bucket(&input.bucket)).await?;
        if !is_new {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) async fn list_buckets(&self) -> S3Result<ListBucketsOutput> {
        let buckets = self.with_folder(|folder| folder.list_buckets()).await?;
        let buckets = buckets.into_iter().map(|(name, created)| Bucket {
            name: Some(name),
            creation_date: Some(created.into()),
            ..Default::default()
        });
        Ok(ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() })
    }

    pub(super) async fn put_object(&self, input: PutObjectInput, trailing: Trailing) -> S3Result<PutObjectOutput> {
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let attributes = attributes!(input);
        let target = Target { bucket: input.bucket, key: input.key, attributes, condition, upload: None };
        let expected = expected!(input, trailing);
        let (info, checksum) = match small(input.content_length) {
            Some(length) => self.receive_small(input.body, length, expected, target).await?,
            None => {
                self.check_target(&target).await?;
                let begin = |folder: &Folder, (_, bytes_max)| folder.draft(bytes_max);
                let received = self.receive(input.body, input.content_length, expected, begin).await?;
                let Received { draft, etag, checksum } = received;
                let info = self.with_folder(move |folder| folder.publish(draft, &target, etag)).await?;
                (info, checksum)
            }
        };
        Ok(PutObjectOutput {
            e_tag: Some(etag(&info)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        })
    }

    /// Refuses what cannot succeed before its content is received.
    async fn check_target(&self, target: &Target) -> S3Result<()> {
        let (bucket, key) = (target.bucket.clone(), target.key.clone());
        self.with_folder(move |folder| folder.check_target(&bucket, &key)).await
    }

    async fn open(&self, bucket: String, key: String) -> S3Result<Object> {
        self.with_folder(move |folder| folder.read(&bucket, &key)).await
    }

    pub(super) async fn get_object(&self, input: GetObjectInput) -> S3Result<GetObjectOutput> {
        let (bucket, key) = (input.bucket, input.key);
        let (object, content) = self.with_folder(move |folder| open_and_read(folder, &bucket, &key)).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object.info)?;
        check_part(input.part_number, &object.info)?;
        let range = range(input.range, &object)?;
        let body = send(&object, content, range.start, range.length).await?;
        let attributes = object.info.attributes.clone();
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            content_length: Some(range.length as i64),
            content_range: range.header,
            e_tag: Some(etag(&object.info)),
            last_modified: Some(modified(&object.info)),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            metadata: Some(attributes.user.into_iter().collect()),
            ..Default::default()
        })
    }

    pub(super) async fn head_object(&self, input: HeadObjectInput) -> S3Result<HeadObjectOutput> {
        let object = self.open(input.bucket, input.key).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&object.info)?;
        check_part(input.part_number, &object.info)?;
        let range = range(input.range, &object)?;
        let attributes = object.info.attributes.clone();
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(range.length as i64),
            content_range: range.header,
            e_tag: Some(etag(&object.info)),
            last_modified: Some(modified(&object.info)),
            content_type: attributes.content_type,
            content_encoding: attributes.content_encoding,
            content_disposition: attributes.content_disposition,
            content_language: attributes.content_language,
            cache_control: attributes.cache_control,
            metadata: Some(attributes.user.into_iter().collect()),
            ..Default::default()
        })
    }

    pub(super) async fn copy_object(&self, input: CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let source = self.open_source(input.copy_source).await?;
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        // A copy answers 412 where a read would answer 304.
        conditions.check(&source.info).map_err(|_| s3_error!(PreconditionFailed))?;
        let replaces =
            input.metadata_directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        let attributes = if replaces { attributes!(input) } else { source.info.attributes.clone() };
        let condition = crate::server::folder::Condition::None;
        let target = Target { bucket: input.bucket, key: input.key, attributes, condition, upload: None };
        let bytes_max = self.limits.object_bytes_max;
        let info = self
            .with_folder(move |folder| {
                folder.check_target(&target.bucket, &target.key)?;
                let mut draft = folder.draft(bytes_max)?;
                draft.append(&source.file, 0, source.bytes)?;
                folder.publish(draft, &target, source.info.etag)
            })
            .await?;
        let result =
            CopyObjectResult { e_tag: Some(etag(&info)), last_modified: Some(modified(&info)), ..Default::default() };
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    pub(super) async fn open_source(&self, source: CopySource) -> S3Result<Object> {
        match source {
            CopySource::Bucket { bucket, key, version_id: None } => self.open(bucket.into(), key.into()).await,
            _ => Err(s3_error!(NotImplemented, "a copy takes `bucket/key` as its source")),
        }
    }

    pub(super) async fn delete_objects(&self, input: DeleteObjectsInput) -> S3Result<DeleteObjectsOutput> {
        if input.delete.objects.len() > DELETE_OBJECTS_MAX {
            return Err(s3_error!(MalformedXML, "at most {} objects are deleted at once", DELETE_OBJECTS_MAX));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (bucket, objects) = (input.bucket, input.delete.objects);
        let outcomes = self
            .with_folder(move |folder| {
                folder.bucket(&bucket)?;
                let delete = |object: ObjectIdentifier| {
                    let has_others = object.last_modified_time.is_some() || object.size.is_some();
                    let condition = delete_condition(object.e_tag.map(ETagCondition::ETag), has_others);
                    let outcome = condition.and_then(|condition| {
                        folder.delete(&bucket, &object.key, &condition).map_err(s3s::S3Error::from)
                    });
                    (outcome, object.key)
                };
                Ok(objects.into_iter().map(delete).collect::<Vec<_>>())
            })
            .await?;
        let mut output = DeleteObjectsOutput::default();
        for (outcome, key) in outcomes {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => {
                    let deleted = DeletedObject { key: Some(key), ..Default::default() };
                    output.deleted.get_or_insert_default().push(deleted);
                }
                Err(error) => {
                    output.errors.get_or_insert_default().push(Error {
                        key: Some(key),
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        version_id: None,
                    });
                }
            }
        }
        Ok(output)
    }
}

/// The part of a content that is asked for.
struct Wanted {
    start: u64,
    length: u64,
    /// Only where a part was asked for.
    header: Option<String>,
}

fn range(range: Option<Range>, object: &Object) -> S3Result<Wanted> {
    let Some(range) = range else { return Ok(Wanted { start: 0, length: object.bytes, header: None }) };
    let range = range.check(object.bytes).map_err(|_| beyond(object.bytes))?;
    let length = range.end - range.start;
    if length == 0 {
        return Err(beyond(object.bytes));
    }
    let header = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.bytes);
    Ok(Wanted { start: range.start, length, header: Some(header) })
}

/// None of the bytes that are asked for are there.
fn beyond(bytes: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the range begins behind the object, which has {} bytes", bytes);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{bytes}")) {
        error.set_headers(HeaderMap::from_iter([(CONTENT_RANGE, value)]));
    }
    error
}
