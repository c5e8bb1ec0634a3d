//! All scripts of the tests, as raw material.

use std::path::{Path, PathBuf};

/// The texts of all scripts in `tests/scripts`, in a fixed order.
pub fn scripts() -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"), &mut paths);
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a script can be read")).collect()
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "bue") {
            found.push(path);
        }
    }
}
