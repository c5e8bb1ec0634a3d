//! What a step asks for, from its settings and from its source.

use protocol::{Digest, Step};

use super::EnvironmentError;
use super::script_block;
use crate::python::Python;

/// How deep files of requirements may name each other.
const NESTING_MAX: usize = 8;

/// An interpreter and packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A version or bounds of one: `3.12`, `>=3.11,<3.14`. `None`: the worker's own.
    pub(crate) python: Option<String>,
    /// Lines as an installer takes them, sorted.
    pub(crate) requirements: Vec<String>,
}

impl Wanted {
    /// What a step with this source asks for; `read` gives the text of a file of its bundle.
    pub(crate) fn of(
        step: &Step,
        source: &str,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, EnvironmentError> {
        let runtime = &step.settings.runtime;
        let block = script_block::read(source).map_err(EnvironmentError::Wrong)?.unwrap_or_default();
        let mut requirements = block.dependencies;
        for word in &runtime.requirements {
            match word.strip_prefix("-r ") {
                Some(path) => add_file(path.trim(), &read, NESTING_MAX, &mut requirements)?,
                None => requirements.push(word.clone()),
            }
        }
        requirements.sort();
        requirements.dedup();
        Ok(Self { python: runtime.python.clone().or(block.requires_python), requirements })
    }

    /// Whether the worker's own interpreter is all it needs.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The name of the environment.
    pub(super) fn digest(&self, python: &Python) -> Digest {
        let all = format!("{}\n{}\n{}", python.path.display(), python.version, self.requirements.join("\n"));
        Digest::of(all.as_bytes())
    }
}

/// The lines of a file of requirements, and of those it names.
fn add_file(
    path: &str,
    read: &impl Fn(&str) -> Result<String, String>,
    nesting_left: usize,
    requirements: &mut Vec<String>,
) -> Result<(), EnvironmentError> {
    if nesting_left == 0 {
        return Err(EnvironmentError::Wrong(format!("{path}: files of requirements name each other too deep")));
    }
    let text = read(path).map_err(EnvironmentError::Wrong)?;
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("-r ").or_else(|| line.strip_prefix("--requirement ")) {
            Some(other) => add_file(&beside(path, other.trim()), read, nesting_left - 1, requirements)?,
            None => requirements.push(line.to_owned()),
        }
    }
    Ok(())
}

/// A path that is written in the file at `path`.
fn beside(path: &str, other: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in other.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use protocol::{Language, Settings};

    use super::*;

    fn step(python: Option<&str>, requirements: &[&str]) -> Step {
        let mut settings = Settings::default();
        settings.runtime.python = python.map(str::to_owned);
        settings.runtime.requirements = requirements.iter().map(|word| (*word).to_owned()).collect();
        let (name, function) = ("work".to_owned(), "work".to_owned());
        Step { name, language: Language::Python, function, source: 0, settings, line: 1 }
    }

    fn read(path: &str) -> Result<String, String> {
        match path {
            "deps/all.txt" => Ok("# ours\nrequests==2.32 # pinned\n-r ./more.txt\n\npandas \\\n  >=2\n".to_owned()),
            "deps/more.txt" => Ok("rich\n".to_owned()),
            "loop.txt" => Ok("-r loop.txt\n".to_owned()),
            other => Err(format!("no file {other}")),
        }
    }

    #[test]
    fn packages_come_from_settings_files_and_the_source() {
        let source = "# /// script\n# dependencies = [\"httpx\"]\n# requires-python = \">=3.10\"\n# ///\n";
        let wanted = Wanted::of(&step(None, &["attrs", "-r deps/all.txt", "attrs"]), source, read).unwrap();
        assert_eq!(wanted.requirements, ["attrs", "httpx", "pandas    >=2", "requests==2.32", "rich"]);
        assert_eq!(wanted.python.as_deref(), Some(">=3.10"));
        let wanted = Wanted::of(&step(Some("3.12"), &[]), source, read).unwrap();
        assert_eq!(wanted.python.as_deref(), Some("3.12"));
        assert!(Wanted::of(&step(None, &[]), "import os\n", read).unwrap().is_default());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (requirement, word) in [("-r gone.txt", "gone.txt"), ("-r loop.txt", "loop.txt")] {
            let error = Wanted::of(&step(None, &[requirement]), "", read).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
