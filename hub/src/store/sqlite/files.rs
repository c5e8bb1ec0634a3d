//! Content-addressed files of bundles.

use protocol::{Digest, Manifest};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use crate::error::QueueError;

impl SqliteStore {
    /// Which of a manifest's files have never been stored, each once.
    ///
    /// # Errors
    /// The database failed.
    pub async fn missing_files(&self, manifest: &Manifest) -> Result<Vec<Digest>, QueueError> {
        let digests: Vec<Digest> = manifest.files.iter().map(|file| file.digest).collect();
        self.read(move |connection| Ok(missing(connection, &digests)?)).await
    }

    /// Stores one file. Storing it again changes nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_file(&self, digest: Digest, content: bytes::Bytes) -> Result<(), QueueError> {
        self.write(move |change| {
            change
                .connection
                .prepare_cached("INSERT OR IGNORE INTO files (digest, content) VALUES (?1, ?2)")?
                .execute(params![digest.0, &content[..]])?;
            Ok(())
        })
        .await
    }

    /// The content of one file.
    ///
    /// # Errors
    /// There is no such file.
    pub async fn file(&self, digest: Digest) -> Result<Vec<u8>, QueueError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT content FROM files WHERE digest = ?1")?
                .query_row([digest.0], |row| row.get(0))
                .optional()?
                .ok_or_else(|| QueueError::not_found(format!("file {digest}")))
        })
        .await
    }

    /// The files of a bundle.
    ///
    /// # Errors
    /// There is no such bundle.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, QueueError> {
        self.read(move |connection| {
            let text: String = connection
                .prepare_cached("SELECT manifest FROM bundles WHERE digest = ?1")?
                .query_row([digest.0], |row| row.get(0))
                .optional()?
                .ok_or_else(|| QueueError::not_found(format!("bundle {digest}")))?;
            serde_json::from_str(&text).map_err(|error| QueueError::Unreadable(format!("bundle {digest}: {error}")))
        })
        .await
    }
}

/// Those of `digests` that are not stored, each once, in order.
pub(super) fn missing(connection: &Connection, digests: &[Digest]) -> rusqlite::Result<Vec<Digest>> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM files WHERE digest = ?1")?;
    let mut seen = std::collections::HashSet::new();
    let mut absent = Vec::new();
    for digest in digests {
        if seen.insert(*digest) && !statement.exists([digest.0])? {
            absent.push(*digest);
        }
    }
    Ok(absent)
}
