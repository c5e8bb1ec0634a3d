//! Lists the files of the Python package, so that the binary can carry them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Relative paths: a target folder that several checkouts share must not remember one of them.
    let root = Path::new("../runner-python");
    let out = PathBuf::from(variable("OUT_DIR")?);
    let mut files = Vec::new();
    collect(&root.join("buelon"), &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(root).map_err(io::Error::other)?;
        let copy = out.join(name);
        fs::create_dir_all(copy.parent().unwrap_or(&out))?;
        fs::write(&copy, fs::read(file)?)?;
        let (name, copy) = (name.display().to_string(), copy.display().to_string());
        writeln!(list, "    ({name:?}, include_bytes!({copy:?})),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(out.join("package.rs"), list)
}

/// Python files only: caches of an interpreter that ran here do not belong to the package.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "__pycache__" {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            println!("cargo:rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}
