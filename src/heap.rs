//! How the memory of this program's processes goes back to the system.

#[cfg(target_env = "gnu")]
use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD};

/// What becomes of free memory.
///
/// By itself the C library takes the largest block that was freed, up to 32 MiB, for the size of those that are worth keeping, in each
/// thread's own heap: a worker that has seen a table goes on to hold several times its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Large blocks go back when they are free, by whichever thread.
    GiveBack,
    /// Blocks that come again and again, as pages of tables do, are used again, until [`give_back`] is called: what comes from the
    /// system is cleared first, which takes as long as to compress it.
    UseAgain,
    /// For a process that does one thing and ends.
    Keep,
}

/// Sets it, for all threads.
pub fn set(policy: Policy) {
    #[cfg(target_env = "gnu")]
    {
        // Blocks from the first size on are given back by themselves, and free ends of heaps from the second one on.
        let (large, free) = match policy {
            Policy::GiveBack => (512 << 10, 128 << 10),
            Policy::UseAgain => (4 << 20, 4 << 20),
            Policy::Keep => (1 << 30, 1 << 30),
        };
        // SAFETY: each sets a number of the allocator; one that it refuses changes nothing.
        unsafe {
            nix::libc::mallopt(M_MMAP_THRESHOLD, large);
            nix::libc::mallopt(M_TRIM_THRESHOLD, free);
            if policy == Policy::UseAgain {
                // The free end of any heap but the first one would stay, whatever is asked for.
                nix::libc::mallopt(M_ARENA_MAX, 1);
            }
        }
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = policy;
}

/// Gives back what is free now.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the locks that it needs, and touches memory only that nobody has.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;
    use std::process::Command;

    use super::*;

    /// Names the case that a process of its own goes through: a policy is that of a whole process.
    const CASE: &str = "BUE_TEST_HEAP";

    fn anonymous_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// MiB that are held when blocks of this size are free again, behind each of which one was kept.
    fn held_mib(policy: Policy, block_bytes: usize) -> u64 {
        set(policy);
        let before = anonymous_kib();
        drop(black_box(vec![1_u8; 24 << 20]));
        let blocks: Vec<(Vec<u8>, Vec<u8>)> =
            (0..(20 << 20) / block_bytes).map(|_| black_box((vec![1_u8; block_bytes], vec![1_u8; 1 << 10]))).collect();
        assert!(anonymous_kib() > before + (15 << 10));
        let kept: Vec<Vec<u8>> = blocks.into_iter().map(|(_, kept)| kept).collect();
        let held = anonymous_kib().saturating_sub(before) >> 10;
        drop(kept);
        held
    }

    #[test]
    fn large_blocks_go_back_by_themselves_or_when_they_are_asked_for() {
        match std::env::var(CASE).as_deref() {
            Ok("give back") => assert!(held_mib(Policy::GiveBack, 1 << 20) < 10),
            Ok("use again") => {
                assert!(held_mib(Policy::UseAgain, 20 << 20) < 10, "larger than pages of tables");
                let before = anonymous_kib();
                assert!(held_mib(Policy::UseAgain, 1 << 20) > 15);
                give_back();
                assert!(anonymous_kib() < before + (10 << 10));
            }
            Ok("keep") => assert!(held_mib(Policy::Keep, 20 << 20) > 15),
            _ => {
                let name = "heap::tests::large_blocks_go_back_by_themselves_or_when_they_are_asked_for";
                for case in ["give back", "use again", "keep"] {
                    let program = std::env::current_exe().unwrap();
                    let ended = Command::new(program).args(["--exact", name]).env(CASE, case).output().unwrap();
                    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
                    assert!(ended.status.success() && said.contains("1 passed"), "{case}: {said}");
                }
            }
        }
    }
}
