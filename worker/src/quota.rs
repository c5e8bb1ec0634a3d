//! The disk space of a running attempt, looked at now and then: what one file may hold, the kernel bounds at once; what
//! all of them hold, and how many there are, only counting tells.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time before the first look and between two: most attempts are over by then and cost nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause for each unit of time that a look took: many files are not looked at all the time.
const REST: u32 = 10;
/// What the system counts disk space in, in bytes.
const BLOCK_BYTES: u64 = 512;

/// What an attempt may fill.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    pub(crate) bytes_max: u64,
    pub(crate) files_max: u64,
}

/// What it has too much of, in a few words.
#[derive(Debug)]
pub(crate) struct Excess(pub(crate) String);

impl Quota {
    /// Waits until there is too much in `folder`, perhaps for ever.
    pub(crate) async fn exceeded(self, folder: &Path) -> Excess {
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let folder = folder.to_owned();
            let begun = std::time::Instant::now();
            if let Ok(Some(excess)) = tokio::task::spawn_blocking(move || self.excess(folder)).await {
                return excess;
            }
            pause = PAUSE.max(begun.elapsed() * REST);
        }
    }

    /// What there is too much of, counted until that is certain.
    fn excess(self, folder: PathBuf) -> Option<Excess> {
        let (mut bytes, mut files) = (0, 0);
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            // What is gone when it is looked at takes no place.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                files += 1;
                bytes += metadata.blocks() * BLOCK_BYTES;
                if files > self.files_max {
                    return Some(Excess(format!("more than {} files and folders", self.files_max)));
                }
                if bytes > self.bytes_max {
                    return Some(Excess(format!("more than {} bytes", self.bytes_max)));
                }
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_files_of_all_folders_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![1; 100_000]).unwrap();
        let excess = |bytes_max, files_max| Quota { bytes_max, files_max }.excess(folder.path().to_owned());
        assert!(excess(1 << 20, 2).is_none());
        assert_eq!(excess(90_000, 2).unwrap().0, "more than 90000 bytes");
        assert_eq!(excess(1 << 20, 1).unwrap().0, "more than 1 files and folders");
    }
}
