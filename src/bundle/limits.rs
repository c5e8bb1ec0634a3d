//! What to say when a script's folder holds more than may travel: which limit, how much there is, and where it is.

use std::collections::BTreeMap;

use super::BundleError;
use crate::output::{bytes, grouped, plural};
use crate::settings::limits::BundleLimits;

/// How many offenders are named.
const OFFENDERS_MAX: usize = 5;

/// Checks the files of a bundle against its limits.
pub fn check(files: &BTreeMap<String, u64>, limits: &BundleLimits) -> Result<(), BundleError> {
    let large: Vec<(&str, u64)> = files
        .iter()
        .filter(|(_, size)| **size > limits.file_bytes_max)
        .map(|(path, size)| (path.as_str(), *size))
        .collect();
    if !large.is_empty() {
        let message = format!(
            "{} of the script's folder is over the limit of {} a file: {}",
            plural(large.len() as u64, "file", "files"),
            bytes(limits.file_bytes_max),
            largest(large, bytes)
        );
        return Err(BundleError::TooLarge { message, setting: "BUE_FILE_BYTES_MAX" });
    }
    let count = files.len() as u64;
    if count > limits.files_max {
        let message = format!(
            "the script's folder holds {} files, the limit is {}: {}",
            grouped(count),
            grouped(limits.files_max),
            largest(by_top_folder(files, |_| 1), |count| plural(count, "file", "files"))
        );
        return Err(BundleError::TooLarge { message, setting: "BUE_BUNDLE_FILES_MAX" });
    }
    let total: u64 = files.values().sum();
    if total > limits.bytes_max {
        let message = format!(
            "the script's folder holds {}, the limit is {}: {}",
            bytes(total),
            bytes(limits.bytes_max),
            largest(by_top_folder(files, |size| size), bytes)
        );
        return Err(BundleError::TooLarge { message, setting: "BUE_BUNDLE_BYTES_MAX" });
    }
    Ok(())
}

/// Sums up by first folder; files directly in the root stand for themselves.
fn by_top_folder(files: &BTreeMap<String, u64>, measure: impl Fn(u64) -> u64) -> Vec<(&str, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, size) in files {
        let top = path.find('/').map_or(path.as_str(), |slash| &path[..=slash]);
        *sums.entry(top).or_default() += measure(*size);
    }
    sums.into_iter().collect()
}

fn largest(mut offenders: Vec<(&str, u64)>, show: impl Fn(u64) -> String) -> String {
    offenders.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let more = offenders.len().saturating_sub(OFFENDERS_MAX);
    let mut text = offenders
        .iter()
        .take(OFFENDERS_MAX)
        .map(|(name, size)| format!("{name} ({})", show(*size)))
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text.push_str(&format!(" and {} more", grouped(more as u64)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[(&str, u64)]) -> BTreeMap<String, u64> {
        sizes.iter().map(|(path, size)| ((*path).to_owned(), *size)).collect()
    }

    fn limits(files_max: u64, file_bytes_max: u64, bytes_max: u64) -> BundleLimits {
        BundleLimits { files_max, file_bytes_max, bytes_max, ..BundleLimits::default() }
    }

    fn message(files: &BTreeMap<String, u64>, limits: &BundleLimits) -> String {
        check(files, limits).unwrap_err().to_string()
    }

    #[test]
    fn each_limit_names_the_largest_offenders() {
        let files = files(&[("x.bue", 1), ("data/a", 5_000), ("data/b", 3_000), ("big.bin", 4_000)]);
        assert!(check(&files, &limits(4, 5_000, 13_000)).is_ok());
        let text = message(&files, &limits(4, 3_999, 99_999));
        assert!(text.contains("data/a (4.9 KiB), big.bin (3.9 KiB)") && !text.contains("data/b"), "{text}");
        let text = message(&files, &limits(3, 5_000, 99_999));
        assert!(text.contains("holds 4 files, the limit is 3: data/ (2 files)"), "{text}");
        let text = message(&files, &limits(4, 5_000, 12_000));
        assert!(text.contains("data/ (7.8 KiB), big.bin (3.9 KiB)"), "{text}");
    }
}
