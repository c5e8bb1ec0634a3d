//! The pipeline of the demo: `examples/ads-report`, carried by this program and written into a fresh folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::data_dir::DataDirError;

/// Name of the script.
pub const SCRIPT: &str = "ads_report.bue";
/// The simulated API.
pub const API: &str = "ads_api.py";
/// What compares the loaded rows with the API's figures.
pub const CHECK: &str = "check.py";

/// Names and contents of its files; `settings.json` is the demo's own.
const FILES: [(&str, &str); 7] = [
    ("README.md", include_str!("../../examples/ads-report/README.md")),
    (API, include_str!("../../examples/ads-report/ads_api.py")),
    ("ads_client.py", include_str!("../../examples/ads-report/ads_client.py")),
    (SCRIPT, include_str!("../../examples/ads-report/ads_report.bue")),
    (CHECK, include_str!("../../examples/ads-report/check.py")),
    ("steps.py", include_str!("../../examples/ads-report/steps.py")),
    ("warehouse.py", include_str!("../../examples/ads-report/warehouse.py")),
];

/// How long the pipeline's summary waits for all accounts, in seconds.
const PATIENCE_S: u64 = 600;

/// Writes the files into `folder`.
pub fn write(folder: &Path) -> Result<(), DataDirError> {
    fs::create_dir_all(folder).map_err(|error| DataDirError::new("make the folder", folder, error))?;
    for (name, content) in FILES {
        write_file(&folder.join(name), content)?;
    }
    Ok(())
}

/// Writes where its steps find the API and the database.
pub fn write_settings(folder: &Path, api: &str, database: &Path) -> Result<(), DataDirError> {
    let settings = serde_json::json!({ "api": api, "database": database, "patience_s": PATIENCE_S });
    write_file(&folder.join("settings.json"), &format!("{settings:#}\n"))
}

fn write_file(path: &PathBuf, content: &str) -> Result<(), DataDirError> {
    fs::write(path, content).map_err(|error| DataDirError::new("write", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_example_is_carried() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ads-report");
        let mut there: Vec<String> = fs::read_dir(source)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| name != "settings.json" && !name.starts_with('.') && !name.ends_with(".pyc"))
            .collect();
        there.sort();
        let mut carried: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        carried.sort_unstable();
        assert_eq!(carried, there);
    }

    #[test]
    fn its_settings_are_those_of_the_example() {
        let folder = tempfile::tempdir().unwrap();
        write_settings(folder.path(), "http://127.0.0.1:1", Path::new("/x/y.sqlite")).unwrap();
        let written: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.path().join("settings.json")).unwrap()).unwrap();
        let original: serde_json::Value =
            serde_json::from_str(include_str!("../../examples/ads-report/settings.json")).unwrap();
        let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&written), names(&original));
    }
}
