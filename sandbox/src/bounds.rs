//! What an enclosed program may use up, kept by resource limits of the kernel.
//!
//! They hold for each process; the number of processes holds for the cell, whose user is counted in a namespace of its own.

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};

/// From the polite signal about too much time on a processor to the one that cannot be refused.
const CPU_GRACE_S: u64 = 3;

/// Bounds of one program; `None` leaves the worker's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Memory of one process, in bytes.
    pub memory_bytes: Option<u64>,
    /// Time on a processor of one process, in milliseconds; counted in whole seconds.
    pub cpu_ms: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Largest file, in bytes.
    pub file_bytes: Option<u64>,
    /// Open files and sockets of one process.
    pub open_files: Option<u64>,
}

impl Bounds {
    /// The same as pairs of a resource's name and its soft and hard limit. `helpers` further processes are in the cell.
    #[must_use]
    pub fn resources(&self, helpers: u64) -> Vec<(Resource, u64, u64)> {
        let mut resources = vec![(Resource::RLIMIT_CORE, 0, 0)];
        let mut bound = |resource, limit: Option<u64>| {
            resources.extend(limit.map(|limit| (resource, limit, limit)));
        };
        bound(Resource::RLIMIT_DATA, self.memory_bytes);
        bound(Resource::RLIMIT_NPROC, self.processes.map(|count| count.saturating_add(helpers)));
        bound(Resource::RLIMIT_FSIZE, self.file_bytes);
        bound(Resource::RLIMIT_NOFILE, self.open_files);
        // Memory that is shared between processes is no data: the address space bounds it, with room for libraries.
        bound(Resource::RLIMIT_AS, self.memory_bytes.map(address_space));
        if let Some(seconds) = self.cpu_ms.map(|cpu_ms| cpu_ms.div_ceil(1_000).max(1)) {
            resources.push((Resource::RLIMIT_CPU, seconds, seconds.saturating_add(CPU_GRACE_S)));
        }
        resources
    }

    /// Sets them for this process and all it starts.
    pub(crate) fn apply(&self, helpers: u64) -> Result {
        for (resource, soft, hard) in self.resources(helpers) {
            let (_, most) = nix::sys::resource::getrlimit(resource).to("read a resource limit")?;
            setrlimit(resource, soft.min(most), hard.min(most)).to("set a resource limit")?;
        }
        Ok(())
    }
}

/// Address space for so much memory: reservations and mapped files cost none.
fn address_space(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_mul(2).saturating_add(2 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_bounded_is_left_as_it_is_but_for_core_dumps() {
        assert_eq!(Bounds::default().resources(1), [(Resource::RLIMIT_CORE, 0, 0)]);
    }

    #[test]
    fn helpers_of_the_cell_do_not_count_as_processes_of_the_program() {
        let bounds = Bounds { processes: Some(32), ..Bounds::default() };
        assert!(bounds.resources(1).contains(&(Resource::RLIMIT_NPROC, 33, 33)));
    }

    #[test]
    fn time_on_a_processor_is_whole_seconds_and_at_least_one() {
        for (cpu_ms, seconds) in [(1, 1), (1_000, 1), (1_001, 2)] {
            let bounds = Bounds { cpu_ms: Some(cpu_ms), ..Bounds::default() };
            assert!(bounds.resources(0).contains(&(Resource::RLIMIT_CPU, seconds, seconds + CPU_GRACE_S)));
        }
    }
}
