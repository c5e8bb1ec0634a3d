//! Where a table that is taken out goes: a file, or standard output, named `-`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::cli::Export;
use crate::error::{Error, Result};
use crate::output;

/// The name of standard output.
const STANDARD_OUTPUT: &str = "-";

/// Whether a name is that of standard output.
pub fn is_standard_output(target: &Path) -> bool {
    target.as_os_str() == STANDARD_OUTPUT
}

/// Whether a table can go where it is asked for: one form to standard output, and one that is no text not to a terminal.
pub fn check(export: &Export) -> Result {
    check_for(export, io::stdout().is_terminal())
}

fn check_for(export: &Export, is_terminal: bool) -> Result {
    let to_standard_output = |target: &Option<std::path::PathBuf>| target.as_deref().is_some_and(is_standard_output);
    let [csv, parquet, arrow] = [&export.csv, &export.parquet, &export.arrow].map(to_standard_output);
    if [csv, parquet, arrow].into_iter().filter(|is_asked_for| *is_asked_for).count() > 1 {
        return Err(Error::usage("only one form can go to standard output").hint("name files for the others"));
    }
    if is_terminal && (parquet || arrow) {
        let (flag, name) = if parquet { ("--parquet", "Parquet") } else { ("--arrow", "Arrow") };
        return Err(Error::usage(format_args!("{name} is no text and cannot go to a terminal"))
            .hint(format_args!("name a file, or send it on: `{flag} - > FILE`, `{flag} - | …`")));
    }
    Ok(())
}

/// Where whoever writes a table writes to.
pub enum Out {
    /// A file, and its name.
    File(BufWriter<File>, PathBuf),
    /// Standard output, to a program or into a file.
    Pipe(BufWriter<Pipe>),
    /// Standard output that a person looks at: what is shown cannot command the terminal.
    Terminal(Vec<u8>),
}

impl Out {
    /// Opens a target.
    pub fn open(target: &Path) -> Result<Self> {
        if !is_standard_output(target) {
            return Ok(Self::File(BufWriter::new(create(target)?), target.to_owned()));
        }
        let is_terminal = io::stdout().is_terminal();
        Ok(if is_terminal { Self::Terminal(Vec::new()) } else { Self::Pipe(BufWriter::new(Pipe { is_closed: false })) })
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result {
        self.flush().map_err(Error::machine)?;
        match self {
            Self::File(..) | Self::Pipe(_) => Ok(()),
            Self::Terminal(text) => output::print(&String::from_utf8_lossy(&text)),
        }
    }
}

impl Write for Out {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file, name) => file.write(content).map_err(|error| not_written(name, &error)),
            Self::Pipe(pipe) => pipe.write(content),
            Self::Terminal(text) => text.write(content),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file, name) => file.flush().map_err(|error| not_written(name, &error)),
            Self::Pipe(pipe) => pipe.flush(),
            Self::Terminal(_) => Ok(()),
        }
    }
}

/// Standard output of which the reader may go away early (`| head`), which is no error.
pub struct Pipe {
    is_closed: bool,
}

impl Write for Pipe {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(content.len());
        }
        match io::stdout().lock().write(content) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(content.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().lock().flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

fn create(target: &Path) -> Result<File> {
    File::create(target).map_err(|error| Error::machine(not_written(target, &error)))
}

fn not_written(target: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_goes_to_standard_output_and_no_bytes_to_a_terminal() {
        let here = || Some(STANDARD_OUTPUT.into());
        let export = |csv, parquet, arrow| Export { csv, parquet, arrow };
        let told = |export: Export, is_terminal| check_for(&export, is_terminal).err().map(|error| error.to_string());
        assert_eq!(told(export(here(), Some("a".into()), Some("b".into())), true), None);
        assert_eq!(told(export(None, here(), None), false), None);
        assert!(told(export(here(), None, here()), false).unwrap().contains("only one form"));
        assert!(told(export(None, here(), None), true).unwrap().contains("`--parquet - > FILE`"));
        assert!(told(export(None, None, here()), true).unwrap().contains("`--arrow - > FILE`"));
    }
}
