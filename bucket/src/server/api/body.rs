//! Contents on their way in and out: in pieces, so that memory does not grow with them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};

use super::Api;
use super::checksums::Expected;
use crate::gathered::Gathered;
use crate::server::folder::{Draft, Folder, FolderError, Object, ObjectInfo, Target};

/// Bytes that are gathered before they go to the disk.
const GATHERED_BYTES: usize = 1 << 20;
/// Contents up to this size are read at once.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// A content that was received in full.
pub(super) struct Received {
    pub draft: Draft,
    pub etag: String,
    /// The checksums that came with it, verified.
    pub checksum: Checksum,
}

/// A draft and the checksums of what is in it.
struct Incoming {
    draft: Draft,
    hasher: ChecksumHasher,
    md5: Option<Md5>,
}

impl Incoming {
    fn new(draft: Draft, expected: &Expected) -> Self {
        let (mut hasher, md5) = expected.hashers();
        // It is part of the ETag anyway.
        hasher.crc64nvme = None;
        Self { draft, hasher, md5 }
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), FolderError> {
        for piece in pieces {
            self.hasher.update(piece);
            if let Some(md5) = &mut self.md5 {
                md5.update(piece);
            }
            self.draft.write(piece)?;
        }
        Ok(())
    }
}

impl Api {
    /// Receives a content into the draft that `begin` begins, by the length that is announced and the largest there may be, and
    /// verifies it.
    pub(super) async fn receive(
        &self,
        body: Option<StreamingBlob>,
        content_length: Option<i64>,
        expected: Expected,
        begin: impl FnOnce(&Folder, (Option<u64>, u64)) -> Result<Draft, FolderError> + Send + 'static,
    ) -> S3Result<Received> {
        let bytes_max = self.limits.object_bytes_max;
        let announced = content_length.and_then(|length| u64::try_from(length).ok());
        if announced.is_some_and(|length| length > bytes_max) {
            return Err(FolderError::TooLarge { bytes_max }.into());
        }
        let begun = self.with_folder(move |folder| begin(folder, (announced, bytes_max))).await?;
        let mut incoming = Incoming::new(begun, &expected);
        let (mut body, mut bytes, mut gathered) = (body, 0, Gathered::default());
        loop {
            let piece = self.next_piece(&mut body).await?;
            let ended = piece.is_none();
            if let Some(piece) = piece {
                bytes += piece.len() as u64;
                gathered.push(piece);
            }
            if announced.is_some_and(|announced| bytes > announced) {
                return Err(s3_error!(IncompleteBody));
            }
            if !ended && gathered.bytes() < GATHERED_BYTES {
                continue;
            }
            let pieces = gathered.take();
            let written = tokio::task::spawn_blocking(move || {
                incoming.write(&pieces)?;
                Ok::<_, FolderError>(incoming)
            });
            incoming = written.await.map_err(S3Error::internal_error)??;
            if ended {
                return finish(incoming, announced, expected);
            }
        }
    }

    /// Receives a content that is small and writes it as the object of its target, at one go.
    pub(super) async fn receive_small(
        &self,
        mut body: Option<StreamingBlob>,
        announced: u64,
        expected: Expected,
        target: Target,
    ) -> S3Result<(ObjectInfo, Checksum)> {
        let mut content = Gathered::default();
        while let Some(piece) = self.next_piece(&mut body).await? {
            content.push(piece);
            if content.bytes() as u64 > announced {
                return Err(s3_error!(IncompleteBody));
            }
        }
        let (folder, bytes_max) = (Arc::clone(&self.folder), self.limits.object_bytes_max);
        let written = tokio::task::spawn_blocking(move || {
            folder.check_target(&target.bucket, &target.key)?;
            let mut incoming = Incoming::new(folder.draft(bytes_max)?, &expected);
            incoming.write(&content.take())?;
            let Received { draft, etag, checksum } = finish(incoming, Some(announced), expected)?;
            Ok((folder.publish(draft, &target, etag)?, checksum))
        });
        written.await.map_err(S3Error::internal_error)?
    }

    async fn next_piece(&self, body: &mut Option<StreamingBlob>) -> S3Result<Option<Bytes>> {
        let Some(body) = body else { return Ok(None) };
        match tokio::time::timeout(self.limits.body_timeout, body.next()).await {
            Err(_) => Err(s3_error!(RequestTimeout, "no more of the content came in time")),
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(error))) => Err(broken_body(error)),
        }
    }
}

fn finish(received: Incoming, announced: Option<u64>, expected: Expected) -> S3Result<Received> {
    if announced.is_some_and(|length| length != received.draft.bytes()) {
        return Err(s3_error!(IncompleteBody));
    }
    let Incoming { mut draft, hasher, md5 } = received;
    let summed = draft.take_sum();
    let mut computed = hasher.finalize();
    computed.checksum_crc64nvme = Some(STANDARD.encode(summed.crc64nvme));
    let checksum = expected.verify(md5.map(Md5::finalize), computed)?;
    Ok(Received { draft, etag: summed.etag(1), checksum })
}

/// A content that does not have the checksum it was signed with, or that broke off.
fn broken_body(error: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    match error.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(error) => S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, error),
    }
}

/// The length of a content that is received at one go.
pub(super) fn small(content_length: Option<i64>) -> Option<u64> {
    let length = content_length.and_then(|length| u64::try_from(length).ok())?;
    (length <= GATHERED_BYTES as u64).then_some(length)
}

/// Opens an object, and reads its content where that is small.
pub(super) fn open_and_read(folder: &Folder, bucket: &str, key: &str) -> Result<(Object, Option<Bytes>), FolderError> {
    let object = folder.read(bucket, key)?;
    let is_small = object.bytes <= WHOLE_BYTES_MAX;
    let content = is_small.then(|| object.read_range(0, object.bytes as usize)).transpose()?;
    Ok((object, content.map(Bytes::from)))
}

/// A range of an object's content, which may have been read, as a body.
pub(super) async fn send(object: &Object, read: Option<Bytes>, start: u64, length: u64) -> S3Result<StreamingBlob> {
    if let Some(content) = read {
        let piece = content.slice(start as usize..(start + length) as usize);
        return Ok(StreamingBlob::from(s3s::Body::from(piece)));
    }
    if length <= WHOLE_BYTES_MAX {
        let object = object.clone();
        let piece = tokio::task::spawn_blocking(move || object.read_range(start, length as usize)).await;
        let piece = Bytes::from(piece.map_err(S3Error::internal_error)??);
        return Ok(StreamingBlob::from(s3s::Body::from(piece)));
    }
    let end = start + length;
    let object = object.clone();
    let read = move |place: u64| {
        let object = object.clone();
        let length = (end - place).min(GATHERED_BYTES as u64) as usize;
        tokio::task::spawn_blocking(move || object.read_range(place, length).map(Bytes::from))
    };
    // One piece is read while the one before is on its way.
    let pieces = futures::stream::iter((start..end).step_by(GATHERED_BYTES)).map(read).buffered(2);
    let pieces = pieces.map(|piece| piece.map_err(S3Error::internal_error)?.map_err(S3Error::from));
    Ok(StreamingBlob::wrap(pieces))
}
