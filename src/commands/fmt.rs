//! `bue fmt`: writes scripts in their form, or says which are not in it.

use std::io::Write as _;
use std::path::Path;

use language::FormatError;

use crate::cli::FmtArguments;
use crate::error::{Error, Kind, Result};
use crate::output;

/// Formats all files; fails when one cannot be, or with `--check` when one is not in its form.
pub fn run(arguments: &FmtArguments) -> Result {
    let (mut wrong, mut differs) = (false, false);
    for path in &arguments.files {
        match format(path)? {
            Formatted::Same => {}
            Formatted::Wrong => wrong = true,
            Formatted::Different(_) if arguments.check => {
                differs = true;
                output::note(&format!("{}: not formatted", path.display()));
            }
            Formatted::Different(text) => {
                replace(path, &text)?;
                output::note(&format!("{}: formatted", path.display()));
            }
        }
    }
    match (wrong, differs) {
        (true, _) => Err(Error::told(Kind::Usage)),
        (_, true) => Err(Error::told(Kind::Failed)),
        _ => Ok(()),
    }
}

enum Formatted {
    Same,
    Different(String),
    Wrong,
}

fn format(path: &Path) -> Result<Formatted> {
    let read = std::fs::read(path);
    let bytes = read.map_err(|error| Error::usage(format_args!("cannot read {}: {error}", path.display())))?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Error::usage(format_args!("{} is not valid UTF-8", path.display())).hint("save it as UTF-8"));
    };
    match language::format(&text) {
        Ok(formatted) if formatted == text => Ok(Formatted::Same),
        Ok(formatted) => Ok(Formatted::Different(formatted)),
        Err(FormatError::Syntax(mut diagnostics)) => {
            for diagnostic in &mut diagnostics {
                diagnostic.file = path.display().to_string();
            }
            output::note_coloured(language::render(&diagnostics, &text, output::colours()).trim_end());
            Ok(Formatted::Wrong)
        }
        Err(error) => Err(Error::usage(format_args!("cannot format {}: {error}", path.display()))),
    }
}

/// Puts the new text in place at once, so that a crash leaves the old one or the new one. A link stays a link, and
/// permissions stay as they are.
fn replace(path: &Path, text: &str) -> Result {
    let failed = |error: std::io::Error| Error::machine(format_args!("cannot write {}: {error}", path.display()));
    let target = path.canonicalize().map_err(failed)?;
    let folder = target.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let permissions = std::fs::metadata(&target).map_err(failed)?.permissions();
    file.as_file().set_permissions(permissions).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}
