//! Where settings come from: the environment and the `.env` of the current folder.
//!
//! `.env` is read, never put into the environment, so that steps and child processes do not inherit what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::table::Setting;
use super::unknown;
use super::value::Value;

/// Largest `.env` that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the environment and `.env` say.
#[derive(Debug, Default)]
pub struct Sources {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: PathBuf,
}

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The environment of this process.
    Environment,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// Its text is not what it should be.
    #[error("{name} from {origin} is {found}, expected {expected}")]
    Malformed {
        /// Its name.
        name: String,
        /// Where it was found.
        origin: Origin,
        /// Its text, in quotes; of secrets only that there is one.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Two times do not go together.
    #[error("{less} and {more}: {rule}")]
    Order {
        /// The name and the value of the one that is too large.
        less: String,
        /// The same of the one that is too small.
        more: String,
        /// What must hold.
        rule: String,
    },
    /// `.env` is there and cannot be read.
    #[error("cannot read settings from {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Sources {
    /// Reads the environment of this process and `.env` of `folder`, where there is one.
    pub fn load(folder: &Path) -> Result<Self, SettingError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        let path = folder.join(".env");
        Ok(Self { environment, file: read_file(&path)?, path })
    }

    /// What is doubtful about `.env`.
    pub fn warnings(&self) -> Vec<String> {
        let place = self.path.display();
        if self.path.is_dir() {
            return vec![format!("{place} is a folder: settings are read from a file of that name only")];
        }
        let unknown = self.file.keys().filter_map(|name| unknown::warning(name));
        unknown.map(|warning| format!("in {place}: {warning}")).collect()
    }

    /// Names in the environment that look like settings and are none.
    pub fn unknown(&self) -> Vec<String> {
        self.environment.keys().filter_map(|name| unknown::warning_of_environment(name)).collect()
    }

    /// The value of a setting, or `None` where it is not set. An empty text counts as not set.
    pub fn read<T: Value>(&self, setting: &Setting) -> Result<Option<T>, SettingError> {
        self.read_by(setting, |text| T::parse(text).ok_or_else(|| T::EXPECTED.to_owned()))
    }

    /// The same by a way of reading that says what it expected.
    pub fn read_by<T>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingError> {
        let Some((text, origin)) = self.find(setting.name) else { return Ok(None) };
        parse(text).map(Some).map_err(|expected| {
            let found = if setting.secret { "not usable".to_owned() } else { format!("`{}`", shorten(text)) };
            SettingError::Malformed { name: setting.name.to_owned(), origin, found, expected }
        })
    }

    /// Where the value of a setting was found, or `None` where it is not set.
    pub fn origin(&self, setting: &Setting) -> Option<Origin> {
        self.find(setting.name).map(|(_, origin)| origin)
    }

    /// The text of a variable that is no setting, or `None` where it is not set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|(text, _)| text)
    }

    /// All settings whose names begin with `prefix`: the rest of the name, the text, and where it was found.
    pub fn starting_with(&self, prefix: &str) -> Vec<(&str, &str, Origin)> {
        let names: BTreeSet<&str> = self.environment.keys().chain(self.file.keys()).map(String::as_str).collect();
        let found = |name: &'_ str| self.find(name);
        names
            .into_iter()
            .filter_map(|name| {
                let (text, origin) = found(name)?;
                Some((name.strip_prefix(prefix)?, text, origin))
            })
            .collect()
    }

    fn find(&self, name: &str) -> Option<(&str, Origin)> {
        let set = |values: &'_ BTreeMap<String, String>| values.get(name).is_some_and(|text| !text.trim().is_empty());
        if set(&self.environment) {
            Some((self.environment[name].trim(), Origin::Environment))
        } else if set(&self.file) {
            Some((self.file[name].trim(), Origin::File(self.path.clone())))
        } else {
            None
        }
    }

    /// Sources that hold just these, for tests.
    #[cfg(test)]
    pub fn of(environment: &[(&str, &str)], file: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        Self { environment: map(environment), file: map(file), path: PathBuf::from(".env") }
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, SettingError> {
    let wrong = |reason: String| SettingError::File { path: path.to_owned(), reason };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(wrong(error.to_string())),
        // Some projects keep a virtual environment or a pipe under this name; they hold no settings. A warning says so.
        Ok(metadata) if !metadata.is_file() => return Ok(BTreeMap::new()),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(wrong(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(_) => {}
    }
    let lines = dotenvy::from_path_iter(path).map_err(|error| wrong(error.to_string()))?;
    let mut values = BTreeMap::new();
    let mut last = None;
    for line in lines {
        let (name, value) = line.map_err(|error| wrong(explain(&error, last.as_deref())))?;
        last = Some(name.clone());
        values.insert(name, value);
    }
    Ok(values)
}

/// What is wrong with a line. It may hold a secret, so that its place is told and not its text.
fn explain(error: &dotenvy::Error, last: Option<&str>) -> String {
    match (error, last) {
        (dotenvy::Error::LineParse(..), Some(last)) => {
            format!("the line after `{last}` is not of the form NAME=value (values with blanks need quotes)")
        }
        (dotenvy::Error::LineParse(..), None) => {
            "its first line is not of the form NAME=value (values with blanks need quotes)".to_owned()
        }
        (other, _) => other.to_string(),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(79).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn the_environment_beats_the_file_and_an_empty_value_is_none() {
        let sources = Sources::of(&[("PIPELINE_PORT", "1")], &[("PIPELINE_PORT", "2"), ("PIPE_WORKER_PORT", "3")]);
        assert_eq!(sources.read::<u16>(&table::PIPELINE_PORT).unwrap(), Some(1));
        assert_eq!(sources.read::<u16>(&table::PIPE_WORKER_PORT).unwrap(), Some(3));
        let sources = Sources::of(&[("PIPELINE_PORT", " ")], &[("PIPELINE_PORT", "2")]);
        assert_eq!(sources.read::<u16>(&table::PIPELINE_PORT).unwrap(), Some(2));
    }

    #[test]
    fn a_malformed_value_names_the_variable_its_origin_and_what_was_expected() {
        let sources = Sources::of(&[], &[("PIPELINE_PORT", "eighty")]);
        let error = sources.read::<u16>(&table::PIPELINE_PORT).unwrap_err().to_string();
        assert_eq!(error, "PIPELINE_PORT from .env is `eighty`, expected a port (0 to 65535)");
    }

    #[test]
    fn a_secret_is_not_shown_by_its_error() {
        let sources = Sources::of(&[("BUE_TOKEN", "my secret")], &[]);
        let error = sources.read::<super::super::value::Token>(&table::BUE_TOKEN).err().unwrap().to_string();
        assert!(error.contains("BUE_TOKEN") && !error.contains("my secret"), "{error}");
    }

    #[test]
    fn a_file_is_read_with_comments_and_quotes_and_a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "# comment\nPIPELINE_HOST='a b' # why\nexport PIPELINE_PORT=9\n").unwrap();
        let values = read_file(&path).unwrap();
        assert_eq!((values["PIPELINE_HOST"].as_str(), values["PIPELINE_PORT"].as_str()), ("a b", "9"));
        std::fs::write(&path, "BUE_LOG=info\nBUE_TOKEN=a b c\n").unwrap();
        let error = read_file(&path).unwrap_err().to_string();
        assert!(error.contains("after `BUE_LOG`") && !error.contains("a b c"), "{error}");
    }
}
