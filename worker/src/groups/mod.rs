//! Control groups: a bound for all steps of a worker together, which no limit of a process is.
//!
//! Everything that a worker starts for steps begins in a group of its own. When the steps have more memory between them than that
//! may have, the kernel ends one of them, and neither the worker nor anything else of the machine; what they start comes to an end,
//! too. Groups are made where this process may: [`v2`] below a group that is its own to divide, [`v1`] mostly as root.

mod v1;
mod v2;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Limits;
use crate::memory::{self, Memory};

/// Where the system has its groups.
const ROOT: &str = "/sys/fs/cgroup";
/// Names of the groups that workers make, with the worker's process behind them.
const STEPS_PREFIX: &str = "bue-steps-";
const WORKER_PREFIX: &str = "bue-worker-";

/// With less than this no step could begin: several interpreters, and their sandboxes.
pub const MEMORY_MIN: u64 = 64 << 20;
const PROCESSES_MIN: u64 = 32;

/// What all steps of a worker may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Memory in bytes, files in memory included.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
}

impl Shares {
    /// Those of the settings, where 0 stands for what there is: the memory of this machine, or of the group that the worker is in,
    /// but the reserve, and seven eighths of the processes that the system can have.
    fn of(limits: &Limits, memory: Memory, processes: u64) -> Self {
        let or = |set: u64, there_is: u64| if set == 0 { there_is } else { set };
        Self {
            memory_bytes: or(
                limits.steps_memory_bytes_max,
                memory.total.saturating_sub(limits.memory_reserve_bytes).max(MEMORY_MIN),
            ),
            processes: or(limits.steps_processes_max, processes - processes / 8)
                .clamp(PROCESSES_MIN, processes.max(PROCESSES_MIN)),
        }
    }
}

/// The groups of a worker. Dropped, they are removed, when all that was in them has ended.
#[derive(Debug)]
pub struct Groups {
    shares: Shares,
    /// Folders of the steps, one for each controller that has a tree of its own.
    steps: Vec<PathBuf>,
    /// Whether processes are bounded as well.
    bounds_processes: bool,
    /// What the worker did to its own group.
    divided: Option<v2::Divided>,
}

impl Groups {
    /// Makes them, where this process may.
    ///
    /// # Errors
    /// Why there are none, and what to do.
    pub fn make(limits: &Limits) -> Result<Self, String> {
        let memory = memory::now().ok_or("this machine does not say how much memory it has")?;
        let tree = Tree::own();
        let most = tree.most_processes().map_or_else(most_processes, |bound| bound.min(most_processes()));
        Self::make_in(&tree, Shares::of(limits, memory, most))
    }

    fn make_in(tree: &Tree, shares: Shares) -> Result<Self, String> {
        match (v2::own_group(tree), v1::own_group(tree, "memory")) {
            (Some(folder), _) if v2::has_controllers(&folder) => v2::make(tree, &folder, shares),
            (_, Some(memory)) => v1::make(tree, &memory, shares),
            (Some(folder), None) => {
                Err(format!("the control group {} has no controller of memory; {DELEGATE}", folder.display()))
            }
            (None, None) => Err("this machine has no control groups for memory".to_owned()),
        }
    }

    /// What steps have together, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let memory = format!("{:.1} GiB of memory", self.shares.memory_bytes as f64 / f64::from(1 << 30));
        if self.bounds_processes {
            format!("at most {memory} and {} processes", self.shares.processes)
        } else {
            format!("at most {memory}")
        }
    }

    /// Files to which a process writes `0` to enter the groups.
    pub(crate) fn doors(&self) -> io::Result<Vec<File>> {
        self.steps.iter().map(|folder| OpenOptions::new().write(true).open(folder.join("cgroup.procs"))).collect()
    }

    /// The groups of which one bounds the memory of steps.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.steps
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.steps {
            remove_emptied(folder);
        }
        if let Some(divided) = self.divided.take() {
            divided.undo();
        }
    }
}

/// What to do where a worker may make no groups.
const DELEGATE: &str =
    "run the worker as a service with `Delegate=yes`, or as root where the system has groups of version 1";

/// Where the groups of a process are looked up.
struct Tree {
    /// The lines of `/proc/self/cgroup`.
    own: String,
    root: PathBuf,
    /// The number of this process.
    pid: u32,
}

impl Tree {
    fn own() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { own, root: PathBuf::from(ROOT), pid: std::process::id() }
    }

    /// The tightest bound on processes of the groups that this process is in.
    fn most_processes(&self) -> Option<u64> {
        let own = v2::own_group(self).into_iter().chain(v1::own_group(self, "pids"));
        let around = own.flat_map(|folder| folder.ancestors().map(Path::to_owned).collect::<Vec<_>>());
        let inside = around.filter(|folder| folder.starts_with(&self.root));
        inside.filter_map(|folder| fs::read_to_string(folder.join("pids.max")).ok()?.trim().parse().ok()).min()
    }

    /// The path of this process in the tree with these controllers: the third part of a line such as `9:memory:/a`.
    fn path(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        self.own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let controllers = parts.next()?;
            parts.next().filter(|_| is_meant(controllers))
        })
    }
}

/// Makes a group below `parent` after removing those that workers left behind which were killed.
fn make_group(parent: &Path, prefix: &str, pid: u32) -> Result<PathBuf, String> {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // One in which something still runs stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
    let folder = parent.join(format!("{prefix}{pid}"));
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(refused(&folder, &error)),
        _ => Ok(folder),
    }
}

/// Sets a bound of a group.
fn set(folder: &Path, file: &str, value: u64) -> Result<(), String> {
    let path = folder.join(file);
    fs::write(&path, value.to_string()).map_err(|error| refused(&path, &error))
}

fn refused(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}; {DELEGATE}", path.display())
}

/// Removes a group in which the last processes are about to end.
fn remove_emptied(folder: &Path) {
    const TRIES: u32 = 50;
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
    for _ in 0..TRIES {
        match fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => std::thread::sleep(PAUSE),
            _ => return,
        }
    }
}

/// Processes and threads that the system can have.
fn most_processes() -> u64 {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse::<u64>().ok();
    read("threads-max").into_iter().chain(read("pid_max")).min().unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: Shares = Shares { memory_bytes: 1 << 30, processes: 100 };

    /// A tree of groups that is only folders, with files in them.
    fn tree(own: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let tree = Tree { own: own.to_owned(), root: root.path().to_owned(), pid: 7 };
        (root, tree)
    }

    fn text(root: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(root.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[test]
    fn in_version_1_each_controller_has_a_group_below_that_of_the_worker() {
        let own = "4:memory:/job\n3:pids:/\n0::/\n";
        let (root, tree) = tree(own, &[("memory/job/memory.usage_in_bytes", "1"), ("pids/cgroup.procs", "1")]);
        let groups = Groups::make_in(&tree, SHARES).unwrap();
        assert_eq!(text(&root, "memory/job/bue-steps-7/memory.limit_in_bytes"), "1073741824");
        assert_eq!(text(&root, "pids/bue-steps-7/pids.max"), "100");
        assert_eq!(groups.summary(), "at most 1.0 GiB of memory and 100 processes");
        assert_eq!(groups.folders().len(), 2);
    }

    #[test]
    fn in_version_2_a_group_that_is_given_to_the_worker_is_divided() {
        let own = "0::/system.slice/bue.service\n";
        let folder = "system.slice/bue.service";
        let controllers = format!("{folder}/cgroup.controllers");
        let (root, tree) =
            tree(own, &[(&controllers, "cpu memory pids\n"), (&format!("{folder}/cgroup.type"), "domain")]);
        let refused = Groups::make_in(&tree, SHARES);
        if nix::unistd::geteuid().is_root() {
            assert!(refused.unwrap_err().contains("Delegate=yes"), "what root may is not what is given to it");
            let place = root.path().join(folder);
            rustix::fs::setxattr(&place, "user.delegate", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        }
        let groups = Groups::make_in(&tree, SHARES).unwrap();
        assert_eq!(text(&root, &format!("{folder}/bue-worker-7/cgroup.procs")), "0");
        assert_eq!(text(&root, &format!("{folder}/cgroup.subtree_control")), "+memory +pids");
        assert_eq!(text(&root, &format!("{folder}/bue-steps-7/memory.max")), "1073741824");
        assert_eq!(text(&root, &format!("{folder}/bue-steps-7/pids.max")), "100");
        drop(groups);
        assert_eq!(text(&root, &format!("{folder}/cgroup.subtree_control")), "-memory -pids");
        assert_eq!(text(&root, &format!("{folder}/cgroup.procs")), "0");
    }

    #[test]
    fn processes_are_bounded_by_the_groups_around_the_worker() {
        let files =
            [("a/b/cgroup.controllers", ""), ("a/b/pids.max", "max\n"), ("a/pids.max", "500\n"), ("pids.max", "900\n")];
        assert_eq!(tree("0::/a/b\n", &files).1.most_processes(), Some(500));
        assert_eq!(tree("3:pids:/c\n", &[("pids/c/pids.max", "70\n")]).1.most_processes(), Some(70));
        assert_eq!(tree("0::/\n", &[("cgroup.controllers", "")]).1.most_processes(), None);
    }

    #[test]
    fn where_there_are_none_it_is_said_why() {
        let (_root, bare) = tree("", &[]);
        assert!(Groups::make_in(&bare, SHARES).unwrap_err().contains("no control groups for memory"));
        let (_root, bare) = tree("0::/a\n", &[("a/cgroup.controllers", "hugetlb\n")]);
        assert!(Groups::make_in(&bare, SHARES).unwrap_err().contains("no controller of memory"));
    }

    #[test]
    fn shares_are_those_of_the_settings_or_what_there_is() {
        let memory = Memory { available: 1, total: 1_000 << 20 };
        let mut limits = Limits { memory_reserve_bytes: 300 << 20, ..Limits::default() };
        assert_eq!(Shares::of(&limits, memory, 800), Shares { memory_bytes: 700 << 20, processes: 700 });
        (limits.steps_memory_bytes_max, limits.steps_processes_max) = (90 << 20, 60);
        assert_eq!(Shares::of(&limits, memory, 800), Shares { memory_bytes: 90 << 20, processes: 60 });
        // What cannot be is brought to what can.
        (limits.steps_memory_bytes_max, limits.steps_processes_max) = (0, 9_999);
        limits.memory_reserve_bytes = 1 << 40;
        assert_eq!(Shares::of(&limits, memory, 800), Shares { memory_bytes: MEMORY_MIN, processes: 800 });
    }
}
