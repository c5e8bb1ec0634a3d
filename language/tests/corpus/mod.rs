//! All scripts of the tests and of the fuzz targets, as raw material.
#![allow(dead_code, reason = "nobody who shares this module needs all of it")]

use std::path::{Path, PathBuf};

/// The texts of all scripts in `tests/scripts`, in a fixed order.
pub fn scripts() -> Vec<Vec<u8>> {
    read("tests/scripts", |path| path.extension().is_some_and(|extension| extension == "bue"))
}

/// What fuzzing has found, in a fixed order.
pub fn found() -> Vec<Vec<u8>> {
    read("fuzz/corpus", |_| true)
}

fn read(folder: &str, wanted: fn(&Path) -> bool) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut paths);
    paths.retain(|path| wanted(path));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file can be read")).collect()
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, found);
        } else {
            found.push(path);
        }
    }
}
