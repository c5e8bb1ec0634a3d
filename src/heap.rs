//! How the memory of this program's processes goes back to the system.

/// Has large blocks given back when they are free, by whichever thread.
///
/// By itself the C library takes the largest block that was freed, up to 32 MiB, for the size of those that are worth keeping, in each
/// thread's own heap: a worker that has seen a table goes on to hold several times its size.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        use nix::libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        /// Larger than pages of tables and buffers of files, which come again and again: their memory is used again.
        const LARGE_BYTES: i32 = 4 << 20;
        // SAFETY: each sets a number of the allocator; one that it refuses changes nothing.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
            mallopt(M_TRIM_THRESHOLD, LARGE_BYTES);
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    fn anonymous_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn a_large_block_goes_back_whatever_was_free_before_it() {
        give_back_large_blocks();
        let before = anonymous_kib();
        drop(black_box(vec![1_u8; 24 << 20]));
        let (block, kept_behind_it) = black_box((vec![1_u8; 20 << 20], vec![1_u8; 1 << 10]));
        assert!(anonymous_kib() > before + (15 << 10));
        drop(block);
        let after = anonymous_kib();
        drop(kept_behind_it);
        assert!(after < before + (10 << 10), "{after} KiB, {before} before");
    }
}
