//! The S3 API over a [`Folder`]: requests become its calls, its answers and errors S3's.
//!
//! Buckets, objects, listings and multipart uploads are here; what is not (versions, access lists, tags, encryption …)
//! is answered with `NotImplemented`.

#[macro_use]
mod alike;
mod body;
mod checksums;
mod conditions;
mod error;
mod listing;
mod multipart;
mod objects;

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};

use super::Limits;
use super::folder::{Folder, FolderError};
use checksums::Trailing;
use conditions::delete_condition;

/// Answers requests that were found to be signed.
#[derive(Debug, Clone)]
pub(super) struct Api {
    folder: Arc<Folder>,
    limits: Limits,
}

impl Api {
    pub(super) fn new(folder: Arc<Folder>, limits: Limits) -> Self {
        Self { folder, limits }
    }

    /// Does something with the folder where waiting for the disk does not hold up others.
    async fn with_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, FolderError> + Send + 'static,
    ) -> S3Result<T> {
        let folder = Arc::clone(&self.folder);
        let outcome = tokio::task::spawn_blocking(move || work(&folder)).await;
        outcome.map_err(S3Error::internal_error)?.map_err(S3Error::from)
    }
}

fn answer<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.create_bucket(req.input).await.and_then(answer)
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
        let bucket = req.input.bucket;
        self.with_folder(move |folder| folder.delete_bucket(&bucket)).await?;
        answer(DeleteBucketOutput {})
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = req.input.bucket;
        self.with_folder(move |folder| folder.bucket(&bucket)).await?;
        answer(HeadBucketOutput::default())
    }

    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.list_buckets().await.and_then(answer)
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let bucket = req.input.bucket;
        self.with_folder(move |folder| folder.bucket(&bucket)).await?;
        answer(GetBucketLocationOutput::default())
    }

    /// Nothing is said of it where versions have never been kept.
    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = req.input.bucket;
        self.with_folder(move |folder| folder.bucket(&bucket)).await?;
        answer(GetBucketVersioningOutput::default())
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let trailing = Trailing::of(&req.headers, req.trailing_headers);
        self.put_object(req.input, trailing).await.and_then(answer)
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.get_object(req.input).await.and_then(answer)
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.head_object(req.input).await.and_then(answer)
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy_object(req.input).await.and_then(answer)
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, if_match, if_match_last_modified_time, if_match_size, .. } = req.input;
        let condition = delete_condition(if_match, if_match_last_modified_time.is_some() || if_match_size.is_some())?;
        self.with_folder(move |folder| folder.delete(&bucket, &key, &condition)).await?;
        answer(DeleteObjectOutput::default())
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.delete_objects(req.input).await.and_then(answer)
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.list_objects(req.input).await.and_then(answer)
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list_objects_v2(req.input).await.and_then(answer)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.create_multipart_upload(req.input).await.and_then(answer)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let trailing = Trailing::of(&req.headers, req.trailing_headers);
        self.upload_part(req.input, trailing).await.and_then(answer)
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        self.upload_part_copy(req.input).await.and_then(answer)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete_multipart_upload(req.input).await.and_then(answer)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.abort_multipart_upload(req.input).await.and_then(answer)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.list_parts(req.input).await.and_then(answer)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.list_multipart_uploads(req.input).await.and_then(answer)
    }
}
