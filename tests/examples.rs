//! Every folder of `examples/` runs and comes to what it says.

mod fleet;

use std::fs;
use std::path::{Path, PathBuf};

use fleet::Fleet;
use serde_json::Value;

fn folders() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn script_of(folder: &Path) -> PathBuf {
    let mut scripts = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bue"));
    let script = scripts.next().unwrap_or_else(|| panic!("{} has no script", folder.display()));
    assert!(scripts.next().is_none(), "{} has several scripts", folder.display());
    script
}

#[test]
fn every_example_is_a_right_script() {
    let mut fleet = Fleet::empty();
    for folder in folders() {
        fleet.bue(&["check", script_of(&folder).to_str().unwrap()]).expect(0);
    }
}

#[test]
fn every_example_comes_to_what_it_says() {
    let mut fleet = Fleet::empty();
    let mut ran = 0;
    for folder in folders() {
        let Ok(expected) = fs::read_to_string(folder.join("expected.json")) else {
            assert!(folder.join("check.py").exists(), "{} does not say what it comes to", folder.display());
            continue;
        };
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let code = i32::try_from(expected["exit"].as_i64().unwrap()).unwrap();
        let ended = fleet.bue(&["run", script_of(&folder).to_str().unwrap(), "--json"]).expect(code);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_agrees(&expected["results"], &document["results"], &folder);
        ran += 1;
    }
    assert!(ran >= 5, "only {ran} examples ran");
}

/// Each expected result holds keys that must agree, in the order of the script.
fn assert_agrees(expected: &Value, found: &Value, folder: &Path) {
    let (expected, found) = (expected.as_array().unwrap(), found.as_array().unwrap());
    assert_eq!(expected.len(), found.len(), "{}: {found:#?}", folder.display());
    for (expected, found) in expected.iter().zip(found) {
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(value, &found[key], "{}: `{key}` of {found:#}", folder.display());
        }
    }
}
