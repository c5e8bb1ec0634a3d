//! The data folder: where each service keeps its state, and how commands on the same machine find token, keys and addresses.
//!
//! ```text
//! .bue/hub/token            the hub's token
//! .bue/hub/address          where it listens, while it runs
//! .bue/hub/…                the queue
//! .bue/bucket/credentials   the bucket's key pair, in the form of an AWS credentials file
//! .bue/bucket/address       where it listens, while it runs
//! .bue/bucket/objects/      values
//! .bue/worker/…             cache and scratch
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::address::{Address, PartialAddress};
use crate::error::Error;

/// The folder of all state.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Services with a folder of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `bue hub`
    Hub,
    /// `bue bucket`
    Bucket,
    /// `bue worker`
    Worker,
}

impl Service {
    /// Its name, which is also its folder's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Bucket => "bucket",
            Self::Worker => "worker",
        }
    }
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct DataDirError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl DataDirError {
    /// `action` failed at `path`.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

impl From<DataDirError> for Error {
    fn from(error: DataDirError) -> Self {
        Self::machine(&error).hint("choose a folder that you may write to with --data-dir or BUE_DATA_DIR")
    }
}

impl DataDir {
    /// The folder at `path`, which need not exist.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of a service, which need not exist.
    pub fn of(&self, service: Service) -> PathBuf {
        self.0.join(service.name())
    }

    /// Makes the folder of a service, for this user alone, and makes sure that it can be written to.
    pub fn create(&self, service: Service) -> Result<PathBuf, DataDirError> {
        let folder = self.of(service);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&folder).map_err(|error| DataDirError::new("make the folder", &folder, error))?;
        tempfile::tempfile_in(&folder).map_err(|error| DataDirError::new("write to the folder", &folder, error))?;
        // It may have been made by hand, open to everybody; to let others pass through it shows them nothing. The data folder itself may be anything: it is left as it is.
        let private = fs::metadata(&folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o066 == 0);
        if !private {
            let closed = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
            closed.map_err(|error| DataDirError::new("close to other users the folder", &folder, error))?;
        }
        keep_to_itself(&folder).map_err(|error| DataDirError::new("write to the folder", &folder, error))?;
        Ok(folder)
    }

    /// Notes where a service listens; the note goes away when the service ends by itself.
    pub fn note_address(&self, service: Service, address: &Address) -> Result<AddressNote, DataDirError> {
        let path = self.create(service)?.join("address");
        let text = format!("{address}\n");
        fs::write(&path, &text).map_err(|error| DataDirError::new("write", &path, error))?;
        Ok(AddressNote { path, text })
    }

    /// Where a service of this data folder listens, or listened before it was killed.
    pub fn noted_address(&self, service: Service) -> Option<Address> {
        let text = fs::read_to_string(self.of(service).join("address")).ok()?;
        let PartialAddress { host, port } = text.trim().parse().ok()?;
        Some(Address { host, port: port? })
    }
}

/// Keeps a folder with keys out of version control, and out of the bundles of scripts that lie around it.
fn keep_to_itself(folder: &Path) -> io::Result<()> {
    let made = fs::File::create_new(folder.join(".gitignore")).and_then(|mut file| file.write_all(b"*\n"));
    made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

/// The note of where a service listens; dropping it removes it.
#[derive(Debug)]
pub struct AddressNote {
    path: PathBuf,
    text: String,
}

impl Drop for AddressNote {
    fn drop(&mut self) {
        // Another service may have written its own by now; one that is gone already is as good as removed.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_for_their_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().join("state"));
        let hub = data_dir.create(Service::Hub).unwrap();
        for path in [data_dir.path(), &hub] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = DataDir::new(folder.path().join("file")).create(Service::Hub).unwrap_err();
        assert!(error.to_string().contains("file/hub"), "{error}");
    }

    #[test]
    fn the_note_of_an_address_ends_with_its_service() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::new(folder.path().to_owned());
        let note = data_dir.note_address(Service::Bucket, &Address::loopback(80)).unwrap();
        assert_eq!(data_dir.noted_address(Service::Bucket), Some(Address::loopback(80)));
        drop(note);
        assert_eq!(data_dir.noted_address(Service::Bucket), None);
    }
}
