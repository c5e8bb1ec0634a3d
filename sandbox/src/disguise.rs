//! How the launcher looks to others: to the programs in its cell, which see it as their first process, and to a kernel that
//! is out of memory.
//!
//! Neither is a wall of its own: where one of them cannot be done, the launcher goes on.

use std::path::Path;

/// What the launcher's arguments are replaced by: those tell where the worker keeps its data.
const NAME: &[u8] = b"bue sandbox";
/// Places of the addresses of the arguments among the fields of `/proc/PID/stat` that follow the program's name.
const ARGUMENTS: [usize; 2] = [45, 46];
/// From 0 to 1,000: how much sooner than others a process is ended for lack of memory. Before the worker, which only grows by
/// what steps return.
const OFFER: &str = "500";

/// Writes a name over the arguments of this process. Nothing may read them afterwards.
pub(crate) fn forget_arguments() {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some([first, end]) = arguments_in(&stat) else { return };
    let Some(length) = end.checked_sub(first).filter(|length| *length > 0) else { return };
    // SAFETY: the kernel says that the arguments are there, in writable memory at the bottom of this process's own stack. It
    // has one thread, and the standard library has copied what it needs of them.
    let arguments = unsafe { std::slice::from_raw_parts_mut(first as *mut u8, length) };
    arguments.fill(0);
    let shown = NAME.len().min(length - 1);
    arguments[..shown].copy_from_slice(&NAME[..shown]);
}

/// Addresses of the first byte of the arguments, and of the one after the last.
fn arguments_in(stat: &str) -> Option<[usize; 2]> {
    // The program's name stands in brackets, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [first, end] = ARGUMENTS.map(|place| fields.get(place).and_then(|field| field.parse().ok()));
    Some([first?, end?])
}

/// Has the kernel end this process, and what it starts, before others.
pub(crate) fn offer_for_lack_of_memory() {
    let _ = std::fs::write(Path::new("/proc/self/oom_score_adj"), OFFER);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_a_process_are_found_whatever_its_name_is() {
        let numbers: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        let stat = format!("7 (a) b) S {}", numbers[1..].join(" "));
        assert_eq!(arguments_in(&stat), Some([48, 49]));
        assert_eq!(arguments_in("7 (a) S 1"), None);
    }
}
