//! How much memory there is for further attempts: a worker takes fewer jobs rather than being killed for them.
//!
//! What counts is the tightest bound: that of the machine, or that of a control group the worker is in.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Readings younger than this are used again.
const FRESH: Duration = Duration::from_millis(100);
/// A bound of a control group from which on it bounds nothing: version 1 writes a large number for none.
const NO_BOUND: u64 = 1 << 60;

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Memory {
    /// What can be used without anybody being ended for it.
    pub(crate) available: u64,
    /// All there is.
    pub(crate) total: u64,
}

impl Memory {
    fn tighter(self, other: Self) -> Self {
        if other.available < self.available { other } else { self }
    }

    /// Attempts there is room for when each needs `each`, and `reserve` is left alone.
    pub(crate) fn room(self, reserve: u64, each: u64) -> u32 {
        let free = self.available.saturating_sub(reserve);
        u32::try_from(free / each.max(1)).unwrap_or(u32::MAX)
    }
}

/// What there is now, for a process that asks once.
pub(crate) fn now() -> Option<Memory> {
    read(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
}

/// Looks at the memory, not more often than is worth it.
#[derive(Debug, Default)]
pub(crate) struct MemoryWatch {
    /// Groups that bound the steps.
    steps: Vec<PathBuf>,
    last: Mutex<Option<(Instant, Option<Memory>)>>,
}

impl MemoryWatch {
    pub(crate) fn new(steps: &[PathBuf]) -> Self {
        Self { steps: steps.to_owned(), last: Mutex::default() }
    }

    /// What there is; `None` where the system does not say.
    pub(crate) fn look(&self) -> Option<Memory> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, memory)) = *last
            && at.elapsed() < FRESH
        {
            return memory;
        }
        let steps = self.steps.iter().filter_map(|folder| bound_of(folder));
        let memory = now().map(|memory| steps.fold(memory, Memory::tighter));
        *last = Some((Instant::now(), memory));
        memory
    }
}

/// Notices that the kernel has ended processes because there was no memory left, in this machine or in a control group.
///
/// It does not say which ones, so this is for a process whose end was seen just now.
#[derive(Debug)]
pub(crate) struct KillWatch {
    seen: Mutex<Kills>,
}

#[derive(Debug)]
struct Kills {
    count: u64,
    last: Option<Instant>,
}

/// How long after it the end of a process is put down to it.
const LATELY: Duration = Duration::from_secs(5);

impl KillWatch {
    /// What happened before now does not count.
    pub(crate) fn begin() -> Self {
        Self { seen: Mutex::new(Kills { count: kills_so_far(), last: None }) }
    }

    /// Whether it has happened lately.
    pub(crate) fn struck_lately(&self) -> bool {
        let count = kills_so_far();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if count > seen.count {
            *seen = Kills { count, last: Some(Instant::now()) };
        }
        seen.last.is_some_and(|last| last.elapsed() < LATELY)
    }
}

fn kills_so_far() -> u64 {
    kills(&std::fs::read_to_string("/proc/vmstat").unwrap_or_default()).unwrap_or(0)
}

fn kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

fn read(proc: &Path, groups: &Path) -> Option<Memory> {
    let machine = machine(&std::fs::read_to_string(proc.join("meminfo")).ok()?)?;
    let own = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let bounds = own.lines().filter_map(|line| group_folder(line, groups)).filter_map(|folder| bound(&folder, groups));
    Some(bounds.fold(machine, Memory::tighter))
}

fn machine(meminfo: &str) -> Option<Memory> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some(Memory { available: kibibytes("MemAvailable")? * 1_024, total: kibibytes("MemTotal")? * 1_024 })
}

/// The folder of a control group that may bound memory, from a line such as `0::/a` or `9:memory:/a`.
fn group_folder(line: &str, groups: &Path) -> Option<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let root = match controllers {
        "" => groups.to_owned(),
        controllers if controllers.split(',').any(|name| name == "memory") => groups.join("memory"),
        _ => return None,
    };
    Some(root.join(path.trim_start_matches('/')))
}

/// The tightest bound of a group and of those around it.
fn bound(folder: &Path, groups: &Path) -> Option<Memory> {
    let around = folder.ancestors().take_while(|folder| folder.starts_with(groups));
    around.filter_map(bound_of).reduce(Memory::tighter)
}

fn bound_of(folder: &Path) -> Option<Memory> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    let total = number("memory.max").or_else(|| number("memory.limit_in_bytes")).filter(|bound| *bound < NO_BOUND)?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    // Files in memory count as used, and go when there is need.
    let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let of_files = |line: &str| {
        line.strip_prefix("total_inactive_file ").or(line.strip_prefix("inactive_file "))?.parse::<u64>().ok()
    };
    let files = stat.lines().filter_map(of_files).max().unwrap_or(0);
    Some(Memory { available: total.saturating_sub(used.saturating_sub(files)), total })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n";

    /// A file system with these files below `proc` and `groups`.
    fn read_of(files: &[(&str, &str)]) -> Option<Memory> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(&root.path().join("proc"), &root.path().join("groups"))
    }

    #[test]
    fn a_machine_says_what_is_available() {
        let memory = read_of(&[("proc/meminfo", MEMINFO)]);
        assert_eq!(memory, Some(Memory { available: 400 * 1_024, total: 1_000 * 1_024 }));
        assert_eq!(read_of(&[("proc/meminfo", "MemFree: 1 kB\n")]), None);
        assert!(MemoryWatch::default().look().is_some_and(|memory| memory.available > 0));
    }

    #[test]
    fn processes_ended_for_lack_of_memory_are_counted_by_the_kernel() {
        assert_eq!(kills("nr_free_pages 7\noom_kill 12\nnuma_hit 3\n"), Some(12));
        assert_eq!(kills("nr_free_pages 7\n"), None);
    }

    #[test]
    fn the_tightest_group_counts_and_files_in_memory_do_not() {
        let memory = read_of(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("groups/outer/memory.max", "300000\n"),
            ("groups/outer/memory.current", "250000\n"),
            ("groups/outer/memory.stat", "anon 1\ninactive_file 100000\n"),
            ("groups/outer/inner/memory.max", "max\n"),
            ("groups/outer/inner/memory.current", "1\n"),
        ]);
        assert_eq!(memory, Some(Memory { available: 150_000, total: 300_000 }));
    }

    #[test]
    fn groups_of_version_1_count_too() {
        let files = |limit: &'static str| {
            [
                ("proc/meminfo", MEMINFO),
                ("proc/self/cgroup", "9:cpu:/\n4:memory:/job\n"),
                ("groups/memory/job/memory.limit_in_bytes", limit),
                ("groups/memory/job/memory.usage_in_bytes", "150000\n"),
            ]
        };
        assert_eq!(read_of(&files("200000\n")), Some(Memory { available: 50_000, total: 200_000 }));
        assert_eq!(read_of(&files("9223372036854771712\n")).unwrap().total, 1_000 * 1_024);
    }

    #[test]
    fn there_is_room_for_what_is_left_beside_the_reserve() {
        let memory = Memory { available: 1_000, total: 2_000 };
        assert_eq!(memory.room(200, 100), 8);
        assert_eq!(memory.room(2_000, 100), 0);
        assert_eq!(memory.room(0, 0), 1_000);
    }
}
