//! A step that a test has a worker run.

use std::time::Duration;

use protocol::plan::Settings;
use protocol::{Language, Place, Source, ValueKind, ValueRef};
use serde_json::value::RawValue;

/// One step to be run.
pub struct Work {
    pub(super) language: Language,
    pub(super) function: String,
    pub(super) source: Source,
    pub(super) files: Vec<(String, String)>,
    pub(super) settings: Settings,
    pub(super) inputs: Vec<ValueRef>,
    pub(super) is_of_one_bundle: bool,
}

/// A Python step with its code on line 5 of the script.
pub fn python(code: &str) -> Work {
    Work {
        language: Language::Python,
        function: "step".to_owned(),
        source: Source::Code { text: code.to_owned(), line: 5 },
        files: Vec::new(),
        settings: Settings::default(),
        inputs: Vec::new(),
        is_of_one_bundle: false,
    }
}

/// A SQLite step with its code on line 5 of the script, and `orders` as its first input.
pub fn sqlite(code: &str) -> Work {
    Work { language: Language::Sqlite3, function: "orders".to_owned(), ..python(code) }
}

impl Work {
    /// As if all such steps were of one upload.
    pub fn of_one_bundle(self) -> Self {
        Self { is_of_one_bundle: true, ..self }
    }

    pub fn language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    pub fn in_file(mut self, path: &str) -> Self {
        self.source = Source::File(path.to_owned());
        self
    }

    pub fn function(&mut self, name: &str) {
        name.clone_into(&mut self.function);
    }

    /// Code on line 5 of the script, in the place of a file.
    pub fn code(&mut self, code: &str) {
        self.source = Source::Code { text: code.to_owned(), line: 5 };
    }

    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Changes the settings of the step.
    pub fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn input(mut self, json: &str) -> Self {
        let place = Place::Json(RawValue::from_string(json.to_owned()).unwrap());
        // The kind is for the hub; workers go by the bytes.
        self.inputs.push(ValueRef { kind: ValueKind::List, length: None, place });
        self
    }

    pub fn value(mut self, value: ValueRef) -> Self {
        self.inputs.push(value);
        self
    }
}
