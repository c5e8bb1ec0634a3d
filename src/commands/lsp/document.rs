//! An open script: its text as the editor has it, the files beside it as the disk has them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use language::Files;
use language::text::{Lines, Place, Span};
use serde_json::{Value, json};

/// Files that are looked at for "did you mean".
const LISTED_FILES_MAX: usize = 1_000;
/// Folders inside folders that are looked into.
const LISTED_DEPTH_MAX: usize = 4;
/// The most that is read of a step's file.
const STEP_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// An open script.
pub struct Document {
    /// Its address.
    pub uri: String,
    /// The editor's number for this text.
    pub version: Option<i64>,
    /// Its text.
    pub text: String,
    path: Option<PathBuf>,
}

impl Document {
    /// A script, as the editor has it.
    pub fn new(uri: &str, version: Option<i64>, text: &str) -> Self {
        Self { uri: uri.to_owned(), version, text: text.to_owned(), path: path_of(uri) }
    }

    /// Its name in its folder.
    pub fn name(&self) -> String {
        let name = self.path.as_deref().and_then(Path::file_name);
        name.map_or_else(|| "script.bue".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The file that is written in the script as `written`.
    pub fn file(&self, written: &str) -> Option<PathBuf> {
        let relative = language::resolve(&self.name(), written).ok()?;
        Some(self.path.as_ref()?.parent()?.join(relative))
    }

    /// The text of a step's file.
    pub fn read(path: &Path) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(STEP_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The byte at a position of the editor.
    pub fn offset(&self, position: &Value) -> Option<usize> {
        let line = u32::try_from(position["line"].as_u64()?).ok()?.checked_add(1)?;
        let lines = Lines::of(&self.text);
        let start = lines.offset(Place { line, column: 1 })?;
        Some(start + utf16_prefix(lines.text(line)?, position["character"].as_u64()?))
    }
}

/// The editor's range for a stretch of a text.
pub fn range(text: &str, span: Span) -> Value {
    let lines = Lines::of(text);
    json!({"start": position(text, &lines, span.start()), "end": position(text, &lines, span.end())})
}

fn position(text: &str, lines: &Lines<'_>, place: usize) -> Value {
    let line = lines.line(place);
    let start = lines.offset(Place { line, column: 1 }).unwrap_or(place);
    let before = text.get(start..place).unwrap_or("");
    json!({"line": line - 1, "character": before.encode_utf16().count()})
}

/// The bytes of the first `units` UTF-16 units of a line.
fn utf16_prefix(line: &str, units: u64) -> usize {
    let mut left = units;
    for (at, letter) in line.char_indices() {
        if left == 0 {
            return at;
        }
        left = left.saturating_sub(letter.len_utf16() as u64);
    }
    line.len()
}

/// The local path of a `file:` address.
fn path_of(uri: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let encoded = uri.strip_prefix("file://")?;
    let encoded = &encoded[encoded.find('/')?..];
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// The address of a local path.
pub fn uri_of(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

impl Files for Document {
    /// A script that was never saved has no files beside it: none is said to be missing.
    fn has(&self, path: &str) -> bool {
        self.path.as_ref().and_then(|script| script.parent()).is_none_or(|folder| folder.join(path).is_file())
    }

    fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(folder) = self.path.as_ref().and_then(|script| script.parent()) {
            list(folder, "", 0, &mut found);
        }
        found
    }
}

fn list(folder: &Path, before: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || found.len() >= LISTED_FILES_MAX {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < LISTED_DEPTH_MAX => {
                list(&entry.path(), &format!("{before}{name}/"), depth + 1, found);
            }
            Ok(kind) if kind.is_file() => found.push(format!("{before}{name}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_in_utf_16() {
        let document = Document::new("untitled:1", None, "a\n😀ü(x)\n");
        let place = document.text.find('x').unwrap();
        assert_eq!(document.offset(&json!({"line": 1, "character": 4})), Some(place));
        let range = range(&document.text, Span::new(place, place + 1));
        assert_eq!(range, json!({"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 5}}));
        assert_eq!(document.offset(&json!({"line": 1, "character": 99})), Some(document.text.len() - 1));
        assert_eq!(document.offset(&json!({"line": 9, "character": 0})), None);
    }

    #[test]
    fn addresses_of_files_become_paths_and_back() {
        let path = path_of("file:///a%20b/%C3%BC.bue").unwrap();
        assert_eq!(path, PathBuf::from("/a b/ü.bue"));
        assert_eq!(uri_of(&path), "file:///a%20b/%C3%BC.bue");
        assert_eq!(path_of("untitled:1"), None);
        assert_eq!(path_of("file:///100%"), Some(PathBuf::from("/100%")));
    }
}
