//! Rules on files and signals, kept by Landlock: a second wall where there is a root of its own, the only one where not.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, Scope,
};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, STEP_FOLDER};
use crate::error::{Context, Result, SandboxError, answered};
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

/// Steps into a fence that was prepared. New privileges must have been refused before.
pub(crate) fn enter(fence: &OwnedFd) -> Result {
    // SAFETY: a plain system call with a descriptor that is open.
    answered(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fence.as_raw_fd(), 0) })
        .to("step into its fence")
        .map(drop)
}

/// The same for a process that steps into a fence by itself: what is there of the paths, with the rights that each gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRules {
    /// Rights that nothing gives but a rule, as the kernel counts them.
    pub handled: u64,
    /// Paths with the rights on all that is below them.
    pub rules: Vec<(PathBuf, u64)>,
}

impl FenceRules {
    /// Those of a cell, as far as this kernel knows them; `None`: it knows none, or the cell has no fence.
    #[must_use]
    pub fn of(cell: &Cell) -> Option<Self> {
        let known = AccessFs::from_all(known_rights(version().filter(|_| cell.walls.fence)?));
        let rules = rules(cell).into_iter().filter(|(path, _)| path.exists());
        let rules = rules.map(|(path, access)| {
            let bits = (of_kind(&path, access) & known).bits();
            (path, bits)
        });
        Some(Self { handled: known.bits(), rules: rules.filter(|(_, bits)| *bits != 0).collect() })
    }
}

/// Fences this process in by rules that were worked out elsewhere.
pub(crate) fn step_into(rules: &FenceRules) -> Result {
    let access = |bits| BitFlags::<AccessFs>::from_bits_truncate(bits);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(access(rules.handled))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    let mut fence = Fence(ruleset);
    for (path, bits) in &rules.rules {
        fence.allow(path, access(*bits))?;
    }
    fence.close()
}

fn known_rights(version: i64) -> ABI {
    match version {
        1 => ABI::V1,
        2 => ABI::V2,
        3 | 4 => ABI::V3,
        _ => ABI::V5,
    }
}

fn build(cell: &Cell) -> Result<Fence> {
    let mut fence = Fence::new()?;
    for (path, access) in rules(cell) {
        fence.allow(&path, access)?;
    }
    Ok(fence)
}

/// What may be done where.
fn rules(cell: &Cell) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    let mut rules: Vec<_> = cell.writable.iter().map(|path| (path.clone(), all)).collect();
    if cell.walls.namespaces {
        // Such a root holds nothing that may not be read. What is mounted later belongs to the folder above its place.
        let folder = Path::new(STEP_FOLDER).parent().unwrap_or(Path::new("/run")).to_owned();
        rules.extend([("/".into(), read), ("/dev".into(), all), (folder, all)]);
        return rules;
    }
    let of_system = root::SYSTEM.iter().chain(&root::ETC).chain(&["/etc/passwd", "/etc/group", "/proc"]);
    rules.extend(of_system.map(|path| (path.into(), read)));
    rules.extend(cell.readable.iter().map(|readable| (readable.from.clone(), read)));
    let of_devices = read | AccessFs::WriteFile | AccessFs::Truncate;
    rules.extend(root::DEVICES.map(|name| (Path::new("/dev").join(name), of_devices)));
    rules.push((cell.scratch.clone(), all));
    rules
}

/// Rights on a file are fewer than those on a folder.
fn of_kind(path: &Path, access: BitFlags<AccessFs>) -> BitFlags<AccessFs> {
    if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) }
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

    /// What is not there needs no rule.
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result {
        let Ok(descriptor) = PathFd::new(path) else { return Ok(()) };
        (&mut self.0).add_rule(PathBeneath::new(descriptor, of_kind(path, access))).map(drop).map_err(failed)
    }

    fn close(self) -> Result {
        self.0.restrict_self().map(drop).map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> SandboxError {
    let source = std::io::Error::other(error.to_string());
    SandboxError::Kernel { what: "set up Landlock".to_owned(), source }
}
