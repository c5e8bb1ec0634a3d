//! `bue example`: writes a script, its Python file and a commented `.env` into the current folder.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::cli::ExampleArguments;
use crate::data_dir::DataDirError;
use crate::error::{Error, Result};
use crate::output;

/// Names and contents.
const FILES: [(&str, &str); 3] = [
    ("example.bue", include_str!("../templates/example.bue")),
    ("example.py", include_str!("../templates/example.py")),
    (".env", include_str!("../templates/env")),
];

/// Writes the files, all or none.
pub fn run(arguments: &ExampleArguments) -> Result {
    write(Path::new("."), arguments.force)?;
    output::print(
        "wrote example.bue, example.py and .env\n\
         next: `bue run example.bue` runs it on this machine, without a server; \
         `bue hub`, `bue bucket`, `bue worker` and `bue upload example.bue` run it on a fleet",
    )
}

fn write(folder: &Path, force: bool) -> Result {
    // A name that exists as anything counts, also as a link that leads nowhere.
    let there: Vec<&str> =
        FILES.iter().map(|(name, _)| *name).filter(|name| fs::symlink_metadata(folder.join(name)).is_ok()).collect();
    if !there.is_empty() && !force {
        let (verb, them) = if there.len() == 1 { ("exists", "it") } else { ("exist", "them") };
        return Err(Error::usage(format_args!("{} {verb} already; nothing was written", there.join(", ")))
            .hint(format_args!("--force overwrites {them}")));
    }
    for (name, content) in FILES {
        let path = folder.join(name);
        let written = if force { fs::write(&path, content) } else { create(&path, content) };
        written.map_err(|error| Error::machine(DataDirError::new("write", &path, error)))?;
    }
    Ok(())
}

/// Writes a file that must not be there, even if somebody makes it at this moment.
fn create(path: &Path, content: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_overwritten_by_force_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".env"), "MINE=1").unwrap();
        let error = write(folder.path(), false).unwrap_err().to_string();
        assert!(error.contains(".env exists already") && error.contains("--force"), "{error}");
        assert!(!folder.path().join("example.bue").exists());
        write(folder.path(), true).unwrap();
        for (name, content) in FILES {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), content);
        }
    }
}
