//! The memory of processes and all below them while something goes on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks at processes from its start to its end.
pub struct Watch {
    stop: Arc<AtomicBool>,
    watching: JoinHandle<Peaks>,
}

/// The most that was seen, in megabytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peaks {
    /// Of all of our processes together, without interpreters.
    pub ours_mb: f64,
    /// Of the first process that is watched and what is below it, without interpreters.
    pub first_mb: f64,
    /// Of the first process alone.
    pub first_alone_mb: f64,
}

impl Watch {
    /// Begins to look at these processes and all below them.
    pub fn start(processes: Vec<i32>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watching = std::thread::spawn(move || {
            let mut peaks = Peaks::default();
            while !stopped.load(Ordering::Relaxed) {
                peaks.look(&processes);
                std::thread::sleep(PAUSE);
            }
            peaks
        });
        Self { stop, watching }
    }

    /// What was seen.
    pub fn end(self) -> Peaks {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().expect("the watch ends")
    }
}

impl Peaks {
    fn look(&mut self, processes: &[i32]) {
        let families: Vec<f64> = processes.iter().map(|pid| family_mb(*pid)).collect();
        self.ours_mb = self.ours_mb.max(families.iter().sum());
        self.first_mb = self.first_mb.max(families.first().copied().unwrap_or(0.0));
        self.first_alone_mb = self.first_alone_mb.max(processes.first().map_or(0.0, |pid| ours_mb(*pid)));
    }
}

/// Memory now, without interpreters.
pub fn now_mb(processes: &[i32]) -> f64 {
    processes.iter().map(|pid| family_mb(*pid)).sum()
}

/// Memory of a process and all below it, without interpreters.
fn family_mb(pid: i32) -> f64 {
    family(pid).into_iter().map(ours_mb).sum()
}

/// A process and all below it.
fn family(pid: i32) -> Vec<i32> {
    let mut found = vec![pid];
    let mut place = 0;
    while place < found.len() {
        let threads = fs::read_dir(format!("/proc/{}/task", found[place])).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<i32> = lists
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        found.extend(children);
        place += 1;
    }
    found
}

/// Memory of a process that is ours, without what it shares with files; none of an interpreter. What forks share with the process that
/// they are copies of is divided among them.
fn ours_mb(pid: i32) -> f64 {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    if program.file_name().is_none_or(|name| !name.to_string_lossy().starts_with("bue")) {
        return 0.0;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss_Anon:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
