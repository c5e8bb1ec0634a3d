//! Steps that have no memory left, where they can still say so.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use protocol::ErrorKind;
use protocol::frame::ErrorFrame;

use super::failure;

/// The error of a step that met its bound on memory; `what` says where.
pub(super) fn without_memory(what: &str) -> ErrorFrame {
    let bound = match getrlimit(Resource::RLIMIT_DATA) {
        Ok((bytes, _)) if bytes != RLIM_INFINITY => {
            format!("the step may use {}: `!memory` sets how much", size(bytes))
        }
        _ => "nor has this machine".to_owned(),
    };
    failure(ErrorKind::Memory, format!("{what}; {bound}"))
}

/// A number of bytes as a script has it: in the unit that makes the shortest whole number of it.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 6] =
        [("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1_000)];
    let whole = UNITS.iter().filter(|(_, unit)| bytes.is_multiple_of(*unit));
    match whole.map(|(name, unit)| (bytes / unit, name)).min() {
        Some((number, name)) => format!("{number} {name}"),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_as_it_was_written() {
        for (bytes, told) in [
            (64_000_000, "64 MB"),
            (64 << 20, "64 MiB"),
            (1_500_000_000, "1500 MB"),
            (2 << 30, "2 GiB"),
            (1_024_000, "1000 KiB"),
            (16_000_001, "16000001 bytes"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }
}
