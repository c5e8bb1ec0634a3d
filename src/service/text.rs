//! Gives back the pages of the program that only its start needed: code, and tables that the loader reads.
//!
//! The kernel maps the text of a program in large pieces around whatever is run once: after its start a service has most of a large
//! program in its memory, and goes on to use a small part of it.

use std::fs;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};

/// How long the first looks take, mostly.
const FIRST_LOOKS: Duration = Duration::from_secs(5);

/// Lets go of what was never written of this program; what runs on is mapped again, from the page cache, when it runs.
pub fn give_back() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    let Some(program) = fs::read_link("/proc/self/exe").ok().and_then(|path| path.into_os_string().into_string().ok())
    else {
        return;
    };
    for (start, end) in maps.lines().filter_map(|line| text_of(line, &program)) {
        let (Some(place), Some(length)) = (NonZeroUsize::new(start), end.checked_sub(start)) else { continue };
        // SAFETY: these pages are read from the program's file and never written, so that each holds after its return exactly what
        // it held before.
        // A kernel that refuses leaves all as it is.
        let _ = unsafe { madvise(NonNull::without_provenance(place), length, MmapAdvise::MADV_DONTNEED) };
    }
}

/// The same once more when the first looks at queue and bucket are over, which are the start's, too.
pub async fn give_back_in_a_while() {
    tokio::time::sleep(FIRST_LOOKS).await;
    give_back();
}

/// Start and end of a mapping of the program's own that is never written: its text, and what its file begins with. Other
/// mappings that can only be read were written by the loader before.
fn text_of(line: &str, program: &str) -> Option<(usize, usize)> {
    let (range, rest) = line.split_once(' ')?;
    let is_unwritten = rest.starts_with("r-xp ") || rest.starts_with("r--p 00000000 ");
    if !is_unwritten || !rest.ends_with(&format!(" {program}")) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_the_program_itself_is_meant() {
        let text = "555b8c91e000-555b8dea4000 r-xp 00822000 08:01 77 /usr/bin/bue";
        assert_eq!(text_of(text, "/usr/bin/bue"), Some((0x555b_8c91_e000, 0x555b_8dea_4000)));
        assert_eq!(text_of(text, "/usr/bin/other"), None);
        let beginning = "555b8c0fc000-555b8c91e000 r--p 00000000 08:01 77 /usr/bin/bue";
        assert_eq!(text_of(beginning, "/usr/bin/bue"), Some((0x555b_8c0f_c000, 0x555b_8c91_e000)));
        for line in [
            "555b8dea4000-555b8df95000 r--p 01da8000 08:01 77 /usr/bin/bue",
            "555b8df95000-555b8df9e000 rw-p 01e99000 08:01 77 /usr/bin/bue",
            "7fa91045b000-7fa9105b1000 r-xp 00026000 08:01 9 /usr/lib/libc.so.6",
            "",
        ] {
            assert_eq!(text_of(line, "/usr/bin/bue"), None, "{line}");
        }
    }

    #[test]
    fn the_program_goes_on_as_before() {
        give_back();
        assert_eq!((1..=10).sum::<u32>(), 55);
    }
}
