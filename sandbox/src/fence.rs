//! Rules on files and signals, kept by Landlock: a second wall where there is a root of its own, the only one where not.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::libc;

use crate::cell::{Cell, STEP_FOLDER};
use crate::error::{Result, SandboxError};
use crate::root;

/// The newest version whose rights are asked for; an older kernel keeps those it knows.
const NEWEST: ABI = ABI::V7;
const CREATE_RULESET_VERSION: libc::c_uint = 1;

/// The version of Landlock this kernel has; `None`: it has none.
pub(crate) fn version() -> Option<i64> {
    // SAFETY: with this flag the kernel reads neither of the other arguments.
    let answer = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, CREATE_RULESET_VERSION)
    };
    (answer > 0).then_some(answer)
}

/// Fences this process in, with all it starts.
pub(crate) fn apply(cell: &Cell) -> Result {
    build(cell)?.close()
}

/// A fence for others to step into: one descriptor serves any number of processes.
pub(crate) fn prepare(cell: &Cell) -> Result<OwnedFd> {
    Option::from(build(cell)?.0).ok_or_else(|| failed(io::Error::from(io::ErrorKind::Unsupported)))
}

fn build(cell: &Cell) -> Result<Fence> {
    let mut fence = Fence::new()?;
    for path in &cell.writable {
        fence.allow_all(path)?;
    }
    if cell.walls.namespaces {
        // Such a root holds nothing that may not be read. What is mounted later belongs to the folder above its place.
        fence.allow_read(Path::new("/"))?;
        fence.allow_all(Path::new("/dev"))?;
        fence.allow_all(Path::new(STEP_FOLDER).parent().unwrap_or(Path::new("/run")))?;
        return Ok(fence);
    }
    for path in root::SYSTEM.iter().chain(&root::ETC).chain(&["/etc/passwd", "/etc/group", "/proc"]) {
        fence.allow_read(Path::new(path))?;
    }
    for readable in &cell.readable {
        fence.allow_read(&readable.from)?;
    }
    for device in root::DEVICES {
        let access = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::from_read(NEWEST);
        fence.allow(&Path::new("/dev").join(device), access)?;
    }
    fence.allow_all(&cell.scratch)?;
    Ok(fence)
}

struct Fence(RulesetCreated);

impl Fence {
    fn new() -> Result<Self> {
        let all = AccessFs::from_all(NEWEST);
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .map_err(failed)?;
        Ok(Self(ruleset))
    }

    fn allow_read(&mut self, path: &Path) -> Result {
        self.allow(path, AccessFs::from_read(NEWEST))
    }

    fn allow_all(&mut self, path: &Path) -> Result {
        self.allow(path, AccessFs::from_all(NEWEST))
    }

    /// What is not there needs no rule.
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result {
        let Ok(descriptor) = PathFd::new(path) else { return Ok(()) };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        (&mut self.0).add_rule(PathBeneath::new(descriptor, access)).map(drop).map_err(failed)
    }

    fn close(self) -> Result {
        self.0.restrict_self().map(drop).map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> SandboxError {
    let source = std::io::Error::other(error.to_string());
    SandboxError::Kernel { what: "set up Landlock".to_owned(), source }
}
