//! Python environments, made for real from a wheel on this disk: no index is asked.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use protocol::ErrorKind;

use crate::fake_hub::{Fleet, Work, log_text, python};

/// Writes a wheel of a package `tiny` with one module, as a program that makes wheels does.
const MAKE_WHEEL: &str = "
import sys, zipfile
folder, version = sys.argv[1:]
info = f'tiny-{version}.dist-info'
files = {
    'tiny.py': f'VERSION = {version!r}\\n',
    f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: tiny\\nVersion: {version}\\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
}
files[f'{info}/RECORD'] = ''.join(f'{name},,\\n' for name in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(f'{folder}/tiny-{version}-py3-none-any.whl', 'w') as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
";

fn make_wheel(folder: &Path, version: &str) {
    let made = Command::new("python3").args(["-c", MAKE_WHEEL]).arg(folder).arg(version).status().unwrap();
    assert!(made.success());
}

/// A step that needs a version of `tiny`.
fn needing(fleet: &Fleet, version: &str, code: &str) -> Work {
    let list = format!("--no-index\n--find-links {}\ntiny=={version}\n", fleet.folder.path().display());
    python(code)
        .file("needs.txt", &list)
        .set(|settings| settings.runtime.requirements = vec!["-r needs.txt".to_owned()])
}

const CODE: &str = "import tiny, sys\ndef step():\n    return [tiny.VERSION, sys.prefix != sys.base_prefix]\n";

#[tokio::test]
async fn steps_with_other_packages_run_in_other_environments_and_each_is_made_once() {
    let fleet = Fleet::start();
    make_wheel(fleet.folder.path(), "1.0");
    make_wheel(fleet.folder.path(), "2.0");
    let (one, again) =
        tokio::join!(fleet.value(needing(&fleet, "1.0", CODE)), fleet.value(needing(&fleet, "1.0", CODE)),);
    assert_eq!((one.as_str(), again.as_str()), ("[\"1.0\",true]", "[\"1.0\",true]"));
    assert_eq!(fleet.value(needing(&fleet, "2.0", CODE)).await, "[\"2.0\",true]");
    let plain = "import sys\ndef step():\n    return 'tiny' in sys.modules\n";
    assert_eq!(fleet.value(python(plain)).await, "false");
    let begun = Instant::now();
    assert_eq!(fleet.value(needing(&fleet, "1.0", CODE)).await, "[\"1.0\",true]");
    assert!(begun.elapsed() < Duration::from_secs(2), "it was not made again");
    let made = std::fs::read_dir(fleet.folder.path().join("worker/environments")).unwrap();
    let made = made.filter(|entry| entry.as_ref().unwrap().path().join("made").is_file()).count();
    assert_eq!(made, 2);
}

#[tokio::test]
async fn an_environment_that_cannot_be_made_fails_its_steps_with_the_installers_words() {
    let fleet = Fleet::start();
    let error = fleet.error(needing(&fleet, "9.9", CODE)).await;
    assert_eq!(error.kind, ErrorKind::Environment);
    for word in ["step `work`", "pip install ended with exit code", "tiny==9.9"] {
        assert!(error.message.contains(word), "{word} is not in {}", error.message);
    }
    let begun = Instant::now();
    let again = fleet.error(needing(&fleet, "9.9", CODE)).await;
    assert_eq!(again.message, error.message);
    assert!(begun.elapsed() < Duration::from_secs(2), "the installer is not asked again at once");
}

#[tokio::test]
async fn a_version_of_python_that_is_not_here_is_named() {
    let fleet = Fleet::start();
    let work = python("def step():\n    pass\n").set(|settings| settings.runtime.python = Some("2.7".to_owned()));
    let error = fleet.error(work).await;
    assert_eq!(error.kind, ErrorKind::Environment);
    assert!(error.message.contains("no Python 2.7 on this worker"), "{error:?}");
    let block = "# /// script\n# requires-python = \">=3.9\"\n# ///\nimport sys\ndef step():\n    print('here')\n    return 1\n";
    assert!(log_text(&fleet.run(python(block)).await).contains("here"));
}

#[tokio::test]
async fn a_step_can_have_an_interpreter_of_its_own() {
    let fleet = Fleet::start();
    let code = "import sys\ndef step():\n    return 'buelon.runner.warm' in sys.modules\n";
    assert_eq!(fleet.value(python(code)).await, "true");
    let fresh = python(code).set(|settings| settings.runtime.isolation = Some(protocol::Isolation::Fresh));
    assert_eq!(fleet.value(fresh).await, "false");
}
