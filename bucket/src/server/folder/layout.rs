//! Where the object of a key lies.
//!
//! A key is cut at its slashes: what is before the last one names folders, what is after it names the file
//! `<segment>.object`. So `a` and `a/b` do not get in each other's way, nothing outside of the bucket can be named, and
//! the files are easily found by a person. Bytes that a file name should not have are percent-encoded.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::percent;

/// What the files of objects end with; no folder does.
const OBJECT_SUFFIX: &str = ".object";
/// Name of the folder of an empty segment, as in `a//b`; no encoded segment looks like it.
const EMPTY_FOLDER: &str = "%";
/// Longest encoded segment: file systems take names of 255 bytes.
const SEGMENT_BYTES_MAX: usize = 240;
/// Longest key, as in S3.
const KEY_BYTES_MAX: usize = 1024;

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyProblem {
    #[error("it is empty")]
    Empty,
    #[error("it has more than {KEY_BYTES_MAX} bytes")]
    TooLong,
    #[error("the part between two slashes takes more than {SEGMENT_BYTES_MAX} bytes as a file name")]
    SegmentTooLong,
    #[error("it has control characters, which listings cannot show")]
    ControlCharacter,
}

/// What keeps `key` from being used, if anything.
fn key_problem(key: &str) -> Option<KeyProblem> {
    // XML 1.0 has no way to write the last two.
    let unwritable = |character: char| character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}');
    if key.is_empty() {
        Some(KeyProblem::Empty)
    } else if key.len() > KEY_BYTES_MAX {
        Some(KeyProblem::TooLong)
    } else if key.contains(unwritable) {
        Some(KeyProblem::ControlCharacter)
    } else if key.split('/').any(|segment| encode(segment).len() > SEGMENT_BYTES_MAX) {
        Some(KeyProblem::SegmentTooLong)
    } else {
        None
    }
}

/// The file of `key`'s object, from the folder of its bucket.
pub(super) fn object_path(key: &str) -> Result<PathBuf, KeyProblem> {
    if let Some(problem) = key_problem(key) {
        return Err(problem);
    }
    let (folders, name) = match key.rsplit_once('/') {
        Some((folders, name)) => (Some(folders), name),
        None => (None, key),
    };
    let mut path: PathBuf = folders.into_iter().flat_map(|folders| folders.split('/')).map(folder_name).collect();
    path.push(format!("{}{OBJECT_SUFFIX}", encode(name)));
    Ok(path)
}

/// The name of the folder of a segment.
pub(super) fn folder_name(segment: &str) -> String {
    if segment.is_empty() {
        return EMPTY_FOLDER.to_owned();
    }
    let name = encode(segment);
    match name.strip_suffix(OBJECT_SUFFIX) {
        Some(rest) => format!("{rest}%2e{}", &OBJECT_SUFFIX[1..]),
        None => name,
    }
}

/// The segment that a file of an object is named after; `None` for other files.
pub(super) fn object_segment(name: &OsStr) -> Option<String> {
    percent::decode(name.to_str()?.strip_suffix(OBJECT_SUFFIX)?)
}

/// The segment that a folder is named after; `None` for other folders.
pub(super) fn folder_segment(name: &OsStr) -> Option<String> {
    match name.to_str()? {
        EMPTY_FOLDER => Some(String::new()),
        name => percent::decode(name),
    }
}

fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.=+@,~".contains(&byte);
    match segment.strip_prefix('.') {
        // No segment is `.`, `..` or a hidden file.
        Some(rest) => format!("%2e{}", percent::encode(rest, plain)),
        None => percent::encode(segment, plain),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use super::*;

    /// The key that a path stands for, as a listing finds it.
    fn key_of(path: &std::path::Path) -> String {
        let name = object_segment(path.file_name().unwrap()).unwrap();
        let folders = path.parent().unwrap().iter().map(|folder| folder_segment(folder).unwrap() + "/");
        folders.collect::<String>() + &name
    }

    #[test]
    fn every_key_has_a_path_of_its_own_inside_the_bucket() {
        let keys = [
            "a",
            "a/b",
            "a/",
            "/a",
            "//",
            "/",
            "a//b",
            ".",
            "..",
            "../../etc/passwd",
            "a/../b",
            "./a",
            ".hidden",
            "a.object",
            "a.object/b",
            "a%2eobject/b",
            "a/b.object",
            "with blank",
            "100%",
            "%",
            "%/x",
            "Größe/日本",
            "a\\b",
            "a:b*c?\"<>|",
            "CON",
            "~",
            "-rf",
        ];
        let mut paths = std::collections::HashSet::new();
        for key in keys {
            let path = object_path(key).unwrap();
            assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{key}: {path:?}");
            assert_eq!(key_of(&path), key);
            assert!(paths.insert(path.clone()), "{key}: {path:?}");
        }
        // No file of an object is where another object needs a folder.
        for path in &paths {
            assert!(path.ancestors().skip(1).all(|folder| !paths.contains(folder)), "{path:?}");
        }
    }

    #[test]
    fn keys_without_a_path_are_refused() {
        for (key, problem) in [
            (String::new(), KeyProblem::Empty),
            ("a".repeat(241), KeyProblem::SegmentTooLong),
            ("é".repeat(41), KeyProblem::SegmentTooLong),
            ("a/".repeat(513), KeyProblem::TooLong),
            ("a\nb".to_owned(), KeyProblem::ControlCharacter),
            ("a\0b".to_owned(), KeyProblem::ControlCharacter),
        ] {
            assert_eq!(object_path(&key), Err(problem), "{key}");
        }
        object_path(&"a/".repeat(512)).unwrap();
    }
}
