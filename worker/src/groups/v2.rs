//! Groups of version 2: one tree, in which a group that has others below it can have no processes itself. So the worker goes into one
//! of its own beside that of the steps.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DELEGATE, Groups, STEPS_PREFIX, Shares, Tree, WORKER_PREFIX, make_group, refused, remove_emptied, set};

/// What systemd writes on a group that is a service's own to divide.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// The group of this process.
pub(super) fn own_group(tree: &Tree) -> Option<PathBuf> {
    let path = tree.path(str::is_empty)?;
    let roots = [tree.root.clone(), tree.root.join("unified")];
    let root = roots.into_iter().find(|root| root.join("cgroup.controllers").is_file() || is_below(root, path))?;
    Some(root.join(path.trim_start_matches('/'))).filter(|folder| folder.is_dir())
}

fn is_below(root: &Path, path: &str) -> bool {
    root.join(path.trim_start_matches('/')).join("cgroup.controllers").is_file()
}

/// Whether memory and processes can be bounded below a group.
pub(super) fn has_controllers(folder: &Path) -> bool {
    let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    ["memory", "pids"].iter().all(|name| controllers.split_whitespace().any(|controller| controller == *name))
}

/// What a worker did to the group it was in.
#[derive(Debug)]
pub(super) struct Divided {
    parent: PathBuf,
    /// Where the worker is now; `None` where it could stay: only the first group of all may have processes and groups.
    worker: Option<PathBuf>,
}

impl Divided {
    /// Puts everything back as it was.
    pub(super) fn undo(self) {
        // What cannot be undone goes with the group itself.
        let _ = fs::write(self.parent.join("cgroup.subtree_control"), "-memory -pids");
        if let Some(worker) = self.worker {
            let _ = fs::write(self.parent.join("cgroup.procs"), "0");
            remove_emptied(&worker);
        }
    }
}

pub(super) fn make(tree: &Tree, own: &Path, shares: Shares) -> Result<Groups, String> {
    let is_first = !own.join("cgroup.type").exists();
    if !is_first && !is_given(tree, own) {
        return Err(format!("the control group {} is not this worker's to divide; {DELEGATE}", own.display()));
    }
    let worker = if is_first { None } else { Some(make_group(own, WORKER_PREFIX, tree.pid)?) };
    if let Some(folder) = &worker {
        let procs = folder.join("cgroup.procs");
        fs::write(&procs, "0").map_err(|error| {
            remove_emptied(folder);
            refused(&procs, &error)
        })?;
    }
    // From here on it is put back where something fails.
    let divided = Some(Divided { parent: own.to_owned(), worker });
    let mut groups = Groups { shares, steps: Vec::new(), bounds_processes: true, divided };
    let control = own.join("cgroup.subtree_control");
    fs::write(&control, "+memory +pids").map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EBUSY) => {
            format!(
                "the control group {} has other processes beside this worker; start it as the only one (from a shell by `exec`), or \
                 {DELEGATE}",
                own.display()
            )
        }
        _ => refused(&control, &error),
    })?;
    let steps = make_group(own, STEPS_PREFIX, tree.pid)?;
    groups.steps.push(steps.clone());
    set(&steps, "memory.max", shares.memory_bytes)?;
    // What is swapped out is beside it, where that is counted at all.
    let _ = set(&steps, "memory.swap.max", 0);
    set(&steps, "pids.max", shares.processes)?;
    Ok(groups)
}

/// Whether whoever manages the groups has given this one to the worker: systemd says so, a container has its own tree, and
/// an ordinary user can write in no other.
fn is_given(tree: &Tree, own: &Path) -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    let is_of_a_container = tree.path(str::is_empty) == Some("/");
    !is_root || is_of_a_container || DELEGATED.iter().any(|name| has_mark(own, name))
}

fn has_mark(folder: &Path, name: &str) -> bool {
    let mut value = [0; 8];
    rustix::fs::getxattr(folder, name, &mut value).is_ok_and(|length| value[..length].starts_with(b"1"))
}
