//! Plans, manifests and files that steps need: fetched once, named by digest, verified, kept.
//!
//! Plans and manifests are kept in memory, files on disk, where workers of one machine may share them.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use lru::LruCache;
use protocol::api::PlanAnswer;
use protocol::{Digest, Manifest};
use tokio::sync::OnceCell;

use crate::config::Limits;
use crate::hub::{Hub, HubError};

/// Files of one bundle that are fetched at once.
const FETCHES_MAX: usize = 8;

/// A bundle whose files are all on disk.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its files.
    pub(crate) manifest: Manifest,
}

/// Why something of a bundle is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// The hub gave no answer that can be used.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// This machine's disk failed.
    #[error("the cache folder {} cannot be used: {source}", path.display())]
    Disk {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What the hub sent is not what was asked for.
    #[error("what the hub sent for {name} is wrong: {reason}")]
    Wrong {
        /// What was asked for.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

type Cache<T> = Mutex<LruCache<Digest, Arc<OnceCell<Arc<T>>>>>;

/// Everything this worker has fetched.
pub(crate) struct Bundles<H> {
    hub: Arc<H>,
    files: PathBuf,
    bytes_max: u64,
    plans: Cache<PlanAnswer>,
    bundles: Cache<Bundle>,
}

impl<H: Hub> Bundles<H> {
    /// The cache under `folder`; removes the files longest unused where there are too many.
    pub(crate) fn open(hub: Arc<H>, folder: &Path, limits: &Limits) -> io::Result<Self> {
        let files = folder.join("files");
        std::fs::create_dir_all(&files)?;
        trim(&files, limits.cache_bytes_max)?;
        let count = NonZeroUsize::new(limits.plans_max).unwrap_or(NonZeroUsize::MIN);
        let (plans, bundles) = (Mutex::new(LruCache::new(count)), Mutex::new(LruCache::new(count)));
        Ok(Self { hub, files, bytes_max: limits.cache_bytes_max, plans, bundles })
    }

    /// Removes the files longest unused where there are too many by now. What is needed again is fetched again.
    pub(crate) fn tidy(&self) {
        if let Err(error) = trim(&self.files, self.bytes_max) {
            tracing::warn!("the cache folder {} cannot be looked through: {error}", self.files.display());
        }
    }

    /// The plan with this digest.
    pub(crate) async fn plan(&self, plan: Digest) -> Result<Arc<PlanAnswer>, FetchError> {
        let cell = cell(&self.plans, plan);
        let answer = cell.get_or_try_init(|| async { self.hub.plan(plan).await.map(Arc::new) }).await?;
        Ok(Arc::clone(answer))
    }

    /// The bundle with this digest, its files on disk and verified.
    pub(crate) async fn bundle(&self, bundle: Digest) -> Result<Arc<Bundle>, FetchError> {
        let cell = cell(&self.bundles, bundle);
        Ok(Arc::clone(cell.get_or_try_init(|| self.fetch(bundle)).await?))
    }

    /// Forgets that a bundle is on disk: somebody removed a file of it.
    pub(crate) fn forget(&self, bundle: Digest) {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner).pop(&bundle);
    }

    /// Where a file of a bundle that was fetched is.
    pub(crate) fn path(&self, file: Digest) -> PathBuf {
        let name = file.to_string();
        self.files.join(&name[..2]).join(name)
    }

    async fn fetch(&self, digest: Digest) -> Result<Arc<Bundle>, FetchError> {
        let manifest = self.hub.manifest(digest).await?;
        let wrong = |reason| FetchError::Wrong { name: format!("bundle {digest}"), reason };
        if let Some(defect) = manifest.defect() {
            return Err(wrong(defect));
        }
        if manifest.digest() != digest {
            return Err(wrong("its files do not have this digest".to_owned()));
        }
        for files in manifest.files.chunks(FETCHES_MAX) {
            let fetches = files.iter().map(|file| self.fetch_file(file.digest, file.bytes, &file.path));
            futures::future::try_join_all(fetches).await?;
        }
        Ok(Arc::new(Bundle { manifest }))
    }

    async fn fetch_file(&self, digest: Digest, bytes: u64, name: &str) -> Result<(), FetchError> {
        let path = self.path(digest);
        if blocking(&path, move |path| is_intact(path, digest, bytes)).await? {
            return Ok(());
        }
        let content = self.hub.file(digest).await?;
        if content.len() as u64 != bytes || Digest::of(&content) != digest {
            let reason = "its content does not have its digest".to_owned();
            return Err(FetchError::Wrong { name: format!("file `{name}` ({digest})"), reason });
        }
        blocking(&path, move |path| store(path, &content)).await
    }
}

fn cell<T>(cache: &Cache<T>, digest: Digest) -> Arc<OnceCell<Arc<T>>> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(cache.get_or_insert(digest, || Arc::new(OnceCell::new())))
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, FetchError> {
    let moved = path.to_owned();
    let done = tokio::task::spawn_blocking(move || work(&moved)).await.map_err(io::Error::other);
    done.and_then(|result| result).map_err(|source| FetchError::Disk { path: path.to_owned(), source })
}

/// Whether the file is there with the right content; marks it as used.
fn is_intact(path: &Path, digest: Digest, bytes: u64) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() != bytes => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    if Digest::of(&std::fs::read(path)?) != digest {
        return Ok(false);
    }
    std::fs::File::open(path)?.set_modified(SystemTime::now())?;
    Ok(true)
}

/// Writes beside and renames, so that no reader sees half a file.
fn store(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    let mut permissions = file.as_file().metadata()?.permissions();
    permissions.set_readonly(true);
    file.as_file().set_permissions(permissions)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes the files longest unused until all together are small enough.
fn trim(files: &Path, bytes_max: u64) -> io::Result<()> {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(files)? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            for file in std::fs::read_dir(folder.path())? {
                let file = file?;
                // Another worker may be at the same; what is gone needs no removing.
                if let Ok(metadata) = file.metadata() {
                    found.push((metadata.modified()?, metadata.len(), file.path()));
                }
            }
        }
    }
    let mut bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
    found.sort();
    for (_, size, path) in found {
        if bytes <= bytes_max {
            break;
        }
        bytes -= size;
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_content_is_not_intact() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ab").join("file");
        let digest = Digest::of(b"right");
        assert!(!is_intact(&path, digest, 5).unwrap());
        store(&path, b"right").unwrap();
        assert!(is_intact(&path, digest, 5).unwrap());
        store(&path, b"wrong").unwrap();
        assert!(!is_intact(&path, digest, 5).unwrap());
    }

    #[test]
    fn the_files_longest_unused_are_removed_first() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("aa/old"), folder.path().join("bb/new"));
        store(&old, &[0; 100]).unwrap();
        store(&new, &[0; 100]).unwrap();
        std::fs::File::open(&old).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        trim(folder.path(), 150).unwrap();
        assert!(!old.exists() && new.exists());
    }
}
