//! Every folder of `examples/` runs and comes to what it says.

mod fleet;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::{Fleet, eventually};
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

#[test]
fn the_ads_report_loads_every_account_without_a_server_too() {
    let mut fleet = Fleet::empty();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ads-report");
    for entry in fs::read_dir(source).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), fleet.path().join(entry.file_name())).unwrap();
        }
    }
    let mut api = Command::new("python3");
    api.args(["ads_api.py", "--port", "0", "--port-file", "port", "--accounts", "4", "--seconds", "1"]);
    let api = fleet.spawn_command(in_folder(api, &fleet), "api");
    let port = eventually("the API", || fs::read_to_string(fleet.path().join("port")).ok());
    let database = fleet.path().join("warehouse.sqlite");
    let settings = serde_json::json!({
        "api": format!("http://127.0.0.1:{port}"), "database": database, "patience_s": 100,
    });
    fleet.write("settings.json", &settings.to_string());

    fleet.bue(&["run", "ads_report.bue"]).expect(0);
    let mut check = Command::new("python3");
    check.arg("check.py");
    let checked = fleet.spawn_command(in_folder(check, &fleet), "check").end().expect(0);
    assert!(checked.stdout.contains("4 accounts are loaded, each exactly once"), "{}", checked.stdout);
    drop(api);
}

fn in_folder(mut command: Command, fleet: &Fleet) -> Command {
    command.current_dir(fleet.path());
    command
}
