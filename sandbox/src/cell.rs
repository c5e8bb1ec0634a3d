//! What an enclosed program may reach: pure data, handed to the launcher as JSON.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;

/// Where the folder of an attempt is, as seen from inside a cell with a root of its own.
pub const STEP_FOLDER: &str = "/run/step";
/// Where programs are that a worker brings along, so that they need no place of the machine's own.
const BROUGHT_ALONG: &str = "/run/bue";
/// Where a broker keeps the folders of all attempts; covered in the cells of the attempts themselves.
pub(crate) const ATTEMPTS_FOLDER: &str = "/.attempts";
/// An empty folder, to cover others with.
pub(crate) const EMPTY_FOLDER: &str = "/.empty";

/// What is built around a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Which layers are built.
    pub walls: Walls,
    /// An empty folder, over which the cell's root is built; nothing of it stays.
    pub mountpoint: PathBuf,
    /// The folder that can be written: of one attempt, or for a broker the one that holds those of all attempts.
    pub scratch: PathBuf,
    /// Further files and folders that can be read; the system's programs and libraries always can.
    pub readable: Vec<Readable>,
    /// Folders of the machine that can be written as its users can, at their own place.
    #[serde(default)]
    pub writable: Vec<PathBuf>,
    /// The program's current directory, as seen from inside.
    pub folder: PathBuf,
    /// Who the program runs as.
    pub identity: Identity,
    /// Whether it may make sockets of the system's own family, by which services of this machine are reached.
    pub unix_sockets: bool,
    /// What it may use up.
    pub bounds: Bounds,
}

/// A file or folder that can be read in a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Readable {
    /// Where it is on this machine.
    pub from: PathBuf,
    /// Where it is in a cell with a root of its own.
    pub at: PathBuf,
}

impl Readable {
    /// At its own place.
    #[must_use]
    pub fn in_place(path: PathBuf) -> Self {
        Self { from: path.clone(), at: path }
    }

    /// Under `name` in the folder of what a worker brings along.
    #[must_use]
    pub fn brought_along(path: PathBuf, name: &str) -> Self {
        Self { from: path, at: Path::new(BROUGHT_ALONG).join(name) }
    }
}

/// Layers of a cell that a machine may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Walls {
    /// Users, processes, files and System V objects of its own.
    pub namespaces: bool,
    /// No network but a loopback of its own; needs the namespaces.
    pub network: bool,
    /// Rules on files, kept by Landlock.
    pub fence: bool,
    /// A filter on system calls.
    pub syscalls: bool,
    /// None of the rights that the worker has over others: no capabilities.
    pub rights: bool,
}

/// A user and a group by their numbers on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

impl Identity {
    /// Who this process is.
    #[must_use]
    pub fn own() -> Self {
        Self { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw() }
    }
}
