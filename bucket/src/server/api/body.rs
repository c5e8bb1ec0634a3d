//! Contents on their way in and out: in pieces, so that memory does not grow with them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3Result, s3_error};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Api;
use super::checksums::Expected;
use crate::server::folder::{Draft, Folder, FolderError, Object, ObjectInfo, Target};

/// Bytes that are gathered before they go to the disk.
const GATHERED_BYTES: usize = 1 << 20;
/// Pieces from this size on are written as they came. Smaller ones are copied: each would hold on to what was read with it.
const PIECE_BYTES_MIN: usize = 16 << 10;
/// Contents up to this size are read at once.
const WHOLE_BYTES_MAX: u64 = 256 << 10;

/// A content that was received in full.
pub(super) struct Received {
    pub draft: Draft,
    /// The checksums that came with it, verified.
    pub checksum: Checksum,
}

/// A draft and the checksums of what is in it.
struct Incoming {
    draft: Draft,
    hasher: ChecksumHasher,
    md5: Option<Md5>,
}

/// Pieces of a content that go to the disk together.
#[derive(Default)]
struct Gathered {
    pieces: Vec<Bytes>,
    small: BytesMut,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() < PIECE_BYTES_MIN {
            self.small.extend_from_slice(&piece);
        } else {
            self.end_small();
            self.pieces.push(piece);
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    /// All of them, in their order.
    fn take(&mut self) -> Vec<Bytes> {
        self.end_small();
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }
}

impl Incoming {
    fn new(draft: Draft, expected: &Expected) -> Self {
        let (hasher, md5) = expected.hashers();
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
            if !ended && gathered.bytes < GATHERED_BYTES {
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
            if content.bytes as u64 > announced {
                return Err(s3_error!(IncompleteBody));
            }
        }
        let (folder, bytes_max) = (Arc::clone(&self.folder), self.limits.object_bytes_max);
        let written = tokio::task::spawn_blocking(move || {
            folder.check_target(&target.bucket, &target.key)?;
            let mut incoming = Incoming::new(folder.draft(bytes_max)?, &expected);
            incoming.write(&content.take())?;
            let Received { draft, checksum } = finish(incoming, Some(announced), expected)?;
            Ok((publish(&folder, draft, &target)?, checksum))
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
    let Incoming { draft, hasher, md5 } = received;
    let checksum = expected.verify(md5.map(Md5::finalize), hasher.finalize())?;
    Ok(Received { draft, checksum })
}

/// Makes what was received an object.
pub(super) fn publish(folder: &Folder, mut draft: Draft, target: &Target) -> Result<ObjectInfo, FolderError> {
    let etag = draft.take_etag();
    folder.publish(draft, target, etag)
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
    let file = object.file.try_clone().map_err(S3Error::internal_error)?;
    let mut file = tokio::fs::File::from_std(file);
    file.seek(std::io::SeekFrom::Start(start)).await.map_err(S3Error::internal_error)?;
    Ok(StreamingBlob::wrap(ReaderStream::with_capacity(file.take(length), GATHERED_BYTES)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order_and_small_ones_become_one() {
        let large = |byte: u8| Bytes::from(vec![byte; PIECE_BYTES_MIN]);
        let given = [Bytes::from("a"), Bytes::from("b"), large(1), large(2), Bytes::new(), Bytes::from("c")];
        let mut gathered = Gathered::default();
        given.iter().for_each(|piece| gathered.push(piece.clone()));
        assert_eq!(gathered.bytes, given.iter().map(Bytes::len).sum::<usize>());
        let (taken, expected) = (gathered.take(), [Bytes::from("ab"), large(1), large(2), Bytes::from("c")]);
        assert_eq!(taken, expected);
        assert_eq!(taken[1].as_ptr(), given[2].as_ptr(), "a large one is not copied");
        assert!(gathered.bytes == 0 && gathered.take().is_empty());
    }
}
