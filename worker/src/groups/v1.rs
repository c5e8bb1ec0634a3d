//! Groups of version 1: a tree for each controller.

use std::path::{Path, PathBuf};

use super::{Groups, STEPS_PREFIX, Shares, Tree, make_group, set};

/// The group of this process in the tree of a controller.
pub(super) fn own_group(tree: &Tree, controller: &str) -> Option<PathBuf> {
    let path = tree.path(|controllers| controllers.split(',').any(|name| name == controller))?;
    Some(tree.root.join(controller).join(path.trim_start_matches('/'))).filter(|folder| folder.is_dir())
}

pub(super) fn make(tree: &Tree, own: &Path, shares: Shares) -> Result<Groups, String> {
    let memory = make_group(own, STEPS_PREFIX, tree.pid)?;
    let mut groups = Groups { shares, steps: vec![memory], bounds_processes: false, divided: None };
    set(&groups.steps[0], "memory.limit_in_bytes", shares.memory_bytes)?;
    // With what is swapped out, where that is counted at all.
    let _ = set(&groups.steps[0], "memory.memsw.limit_in_bytes", shares.memory_bytes);
    if let Some(own) = own_group(tree, "pids")
        && let Ok(folder) = make_group(&own, STEPS_PREFIX, tree.pid)
    {
        groups.bounds_processes = set(&folder, "pids.max", shares.processes).is_ok();
        groups.steps.push(folder);
    }
    Ok(groups)
}
