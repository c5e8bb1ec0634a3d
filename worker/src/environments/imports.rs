//! Modules that a step imports, as its text says, and those that the modules of its bundle import: what an interpreter may have
//! loaded before it is forked for the step.
//!
//! The text alone decides, no attempt. It is read line by line, which takes an import in a string for one; what is named and is not
//! there, or is never reached, does no harm but to be looked for once.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Modules beyond these are imported by each attempt.
const MODULES_MAX: usize = 200;
/// Files of a bundle that are read for one step.
const FILES_MAX: usize = 100;
/// Larger ones are data.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Entries of a folder of modules. In one with more, nobody looks for names that could hide others.
const ENTRIES_MAX: usize = 1_000;
/// What a source has in it that looks for modules in other places: nobody else knows what it finds there.
const OTHER_PLACES: [&str; 2] = ["sys.path", "addsitedir"];
/// What a source has in it that sets variables of the environment: libraries look at theirs when they are loaded.
const SETTING_VARIABLES: [&str; 4] = ["environ.setdefault(", "environ.update(", "putenv(", "load_dotenv("];
/// Longest name of a module.
const NAME_BYTES_MAX: usize = 200;

/// Modules that come from the interpreter and its packages, and names that belong to the bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Imports {
    /// Names with dots, sorted: those of modules, and of what is taken out of them, which may be modules as well.
    pub(crate) modules: Vec<String>,
    /// First parts of names that a step finds in its bundle first, sorted.
    pub(crate) own: Vec<String>,
}

impl Imports {
    /// What a step with this source imports. `folders` are those where it finds the modules of its bundle, in their order.
    pub(super) fn of(source: &str, folders: &[PathBuf]) -> Self {
        let Some(own) = own_names(folders) else { return Self::default() };
        let mut reader = Reader { folders, ..Reader::default() };
        reader.take(source, None);
        while let Some(path) = reader.unread.pop() {
            if let Some(text) = read(&path) {
                reader.take(&text, path.parent());
            }
        }
        if reader.decides_itself {
            return Self::default();
        }
        let modules: Vec<String> = reader.modules.into_iter().take(MODULES_MAX).collect();
        let own = if modules.is_empty() { Vec::new() } else { own.into_iter().collect() };
        Self { modules, own }
    }

    /// Whether there is nothing to load.
    pub(crate) fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

/// First parts of the names of modules in these folders; `None`: there are too many.
fn own_names(folders: &[PathBuf]) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let name = name.split('.').next().unwrap_or_default();
        if is_identifier(name) {
            names.insert(name.to_owned());
        }
        if names.len() > ENTRIES_MAX {
            return None;
        }
    }
    Some(names)
}

fn read(path: &Path) -> Option<String> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > FILE_BYTES_MAX { None } else { std::fs::read_to_string(path).ok() }
}

#[derive(Default)]
struct Reader<'f> {
    folders: &'f [PathBuf],
    modules: BTreeSet<String>,
    /// Whether one of the sources looks for modules in other places, or sets variables before it imports them.
    decides_itself: bool,
    /// Files of the bundle that are read or will be.
    seen: HashSet<PathBuf>,
    unread: Vec<PathBuf>,
}

impl Reader<'_> {
    /// Takes what a source imports; `folder` is that of its file, where it is a module of the bundle.
    fn take(&mut self, source: &str, folder: Option<&Path>) {
        let words = OTHER_PLACES.iter().chain(&SETTING_VARIABLES);
        self.decides_itself |= words.into_iter().any(|word| source.contains(word)) || assigns_variable(source);
        for line in logical_lines(source) {
            for name in imported(&line) {
                self.name(&name, folder);
            }
        }
    }

    fn name(&mut self, name: &str, folder: Option<&Path>) {
        let dots = name.bytes().take_while(|byte| *byte == b'.').count();
        let parts: Vec<&str> = name[dots..].split('.').filter(|part| !part.is_empty()).collect();
        if name.len() > NAME_BYTES_MAX || !parts.iter().all(|part| is_identifier(part)) {
            return;
        }
        if dots > 0 {
            // One dot is the folder of the file itself.
            if let Some(base) = folder.and_then(|folder| folder.ancestors().nth(dots - 1)) {
                let base = base.to_owned();
                self.follow(&base, &parts);
            }
            return;
        }
        let Some(first) = parts.first() else { return };
        let folders = self.folders;
        match folders.iter().find(|folder| is_module(folder, first)) {
            Some(folder) => self.follow(folder, &parts),
            None if matches!(*first, "__future__" | "__main__") => {}
            None => {
                self.modules.insert(parts.join("."));
            }
        }
    }

    /// Notes the files of the modules on the way to one of the bundle.
    fn follow(&mut self, folder: &Path, parts: &[&str]) {
        // Nobody is led out of the bundle by dots.
        if !self.folders.iter().any(|root| folder.starts_with(root)) {
            return;
        }
        let mut place = folder.to_owned();
        self.note(place.join("__init__.py"));
        for part in parts {
            self.note(place.join(format!("{part}.py")));
            place.push(part);
            self.note(place.join("__init__.py"));
        }
    }

    fn note(&mut self, path: PathBuf) {
        if self.seen.len() < FILES_MAX && path.is_file() && self.seen.insert(path.clone()) {
            self.unread.push(path);
        }
    }
}

/// Whether there is an assignment such as `os.environ["NAME"] = …` in it.
fn assigns_variable(source: &str) -> bool {
    source.split("environ[").skip(1).any(|rest| {
        let after = rest.split_once(']').map_or("", |(_, after)| after.trim_start());
        after.strip_prefix('=').is_some_and(|after| !after.starts_with('='))
    }) || source.contains("environ |=")
}

fn is_module(folder: &Path, name: &str) -> bool {
    folder.join(format!("{name}.py")).is_file() || folder.join(name).is_dir()
}

/// Lines without comments; one that goes on, behind a backslash or within parentheses, is one.
fn logical_lines(source: &str) -> impl Iterator<Item = String> {
    let mut lines = source.lines();
    std::iter::from_fn(move || {
        let mut line = without_comment(lines.next()?).to_owned();
        let is_import = line.starts_with("import ") || line.starts_with("from ");
        while is_import && (line.ends_with('\\') || (line.contains('(') && !line.contains(')'))) {
            let Some(next) = lines.next() else { break };
            line.truncate(line.trim_end_matches('\\').len());
            line.push(' ');
            line.push_str(without_comment(next));
        }
        Some(line)
    })
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// The names that a line imports: of `from a import b`, both `a` and `a.b`.
fn imported(line: &str) -> Vec<String> {
    // More statements may follow on the same line, few of them imports.
    let line = line.split(';').next().unwrap_or_default();
    if let Some(names) = line.strip_prefix("import ") {
        return names.split(',').map(name_of).map(str::to_owned).collect();
    }
    let Some((module, names)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import")) else {
        return Vec::new();
    };
    let module = module.trim();
    let separator = if module.ends_with('.') { "" } else { "." };
    let names = names.trim().trim_start_matches('(').trim_end_matches(')');
    let taken = names.split(',').map(name_of).filter(|name| is_identifier(name));
    std::iter::once(module.to_owned()).chain(taken.map(|name| format!("{module}{separator}{name}"))).collect()
}

/// `a.b` of `a.b as c`.
fn name_of(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, files: &[(&str, &str)]) -> Imports {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Imports::of(source, &[folder.path().to_owned()])
    }

    #[test]
    fn all_ways_to_write_an_import_are_understood() {
        let source = "\"\"\"Doc.\"\"\"\nfrom __future__ import annotations\nimport os, urllib.request as web # two\n\
            from a.b import (c as d, # first\n    e)\nfrom f import \\\n    g\n\ndef step():\n    import h.i; h.i.j()\n    from k import *\n\
            important = 'import'\nfrom_here = 1\nimport 1x\n";
        let modules = of(source, &[]).modules;
        assert_eq!(modules, ["a.b", "a.b.c", "a.b.e", "f", "f.g", "h.i", "k", "os", "urllib.request"]);
    }

    #[test]
    fn modules_of_the_bundle_are_read_and_what_they_import_counts() {
        let files = [
            ("helpers.py", "import requests\nimport package.part\n"),
            ("package/__init__.py", "from . import other\nfrom .. import outside\n"),
            ("package/part.py", "from .deeper.most import x\nfrom ...away import y\n"),
            ("package/other.py", "import boto3\nimport helpers\n"),
            ("package/deeper/most.py", "import rich\n"),
            ("notes.txt", ""),
        ];
        let imports = of("import helpers, json\n", &files);
        assert_eq!(imports.modules, ["boto3", "json", "requests", "rich"]);
        assert_eq!(imports.own, ["helpers", "notes", "package"]);
    }

    #[test]
    fn a_step_that_imports_nothing_has_nothing_loaded() {
        assert!(of("def step(x): return x\n", &[("helpers.py", "import json\n")]).is_empty());
        assert_eq!(of("import helpers\n", &[("helpers.py", "x = 1\n")]), Imports::default());
        assert!(
            of("import helpers, json\n", &[("helpers.py", "import sys\nsys.path.insert(0, 'vendor')\n")]).is_empty()
        );
        for sets in [
            "os.environ['A'] = 'b'",
            "os.environ[\"A\"]=\"b\"",
            "environ.setdefault('A', 'b')",
            "os.environ.update(A='b')",
            "os.environ |= {}",
        ] {
            assert!(of(&format!("import os\n{sets}\nimport json\n"), &[]).is_empty(), "{sets}");
        }
        for reads in ["x = os.environ['A']", "os.environ['A'] == 'b'", "os.environ.get('A', 'b')"] {
            assert!(!of(&format!("import os\n{reads}\nimport json\n"), &[]).is_empty(), "{reads}");
        }
        // Names that nobody counts could hide others.
        let many: Vec<(String, &str)> = (0..=ENTRIES_MAX).map(|number| (format!("m{number}.py"), "")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        assert!(of("import json\n", &many).is_empty());
    }
}
