//! Python environments, made for real from wheels of an index on this machine.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bue_worker::{Config, find_python, find_uv};
use protocol::{ErrorKind, Outcome};

use crate::fake_hub::{Fleet, Work, log_text, python};
use crate::sandbox::here;

/// Writes a wheel of a package `tiny` with one module, as a program that makes wheels does. Its version 3.0 has every interpreter of
/// its environment start a thread.
const MAKE_WHEEL: &str = "
import sys, zipfile
folder, version = sys.argv[1:]
info = f'tiny-{version}.dist-info'
files = {
    'tiny.py': f'VERSION = {version!r}\\n',
    f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: tiny\\nVersion: {version}\\n',
    f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
}
if version == '3.0':
    files['tiny.pth'] = 'import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\\n'
files[f'{info}/RECORD'] = ''.join(f'{name},,\\n' for name in [*files, f'{info}/RECORD'])
with zipfile.ZipFile(f'{folder}/tiny-{version}-py3-none-any.whl', 'w') as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
";

/// An index with some versions of `tiny`: folders of wheels, as any web server lists them.
struct Index {
    _folder: tempfile::TempDir,
    server: Child,
    address: String,
}

impl Index {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("simple/tiny")).unwrap();
        for version in ["1.0", "2.0", "3.0"] {
            make_wheel(&folder.path().join("simple/tiny"), version);
        }
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.split(' ').skip_while(|word| *word != "port").nth(1).unwrap().to_owned();
        Self { _folder: folder, server, address: format!("http://127.0.0.1:{port}/simple") }
    }

    /// A step that needs a version of `tiny`.
    fn needing(&self, version: &str, code: &str) -> Work {
        asking(&format!("--index-url {}\ntiny=={version}", self.address), code)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn make_wheel(folder: &Path, version: &str) {
    let made = Command::new("python3").args(["-c", MAKE_WHEEL]).arg(folder).arg(version).status().unwrap();
    assert!(made.success());
}

/// A step with these lines in its file of requirements.
fn asking(lines: &str, code: &str) -> Work {
    python(code)
        .file("needs.txt", &format!("{lines}\n"))
        .set(|settings| settings.runtime.requirements = vec!["-r needs.txt".to_owned()])
}

/// A worker as a fleet has it: in its sandbox, with `uv`.
fn fleet_with_uv(set: impl FnOnce(&mut Config)) -> Fleet {
    Fleet::with(|config| {
        here(config);
        config.uv = Some(uv());
        set(config);
    })
}

/// `uv` of the tests' own packages, else the one on the `PATH`.
fn uv() -> PathBuf {
    let named = std::env::var_os("BUE_UV").map(PathBuf::from);
    named.or_else(find_uv).expect("uv is on the PATH, or BUE_UV names it: pip install uv")
}

fn environments_made(folder: &Path) -> usize {
    let made = std::fs::read_dir(folder).unwrap();
    made.filter(|entry| entry.as_ref().unwrap().path().join("made").is_file()).count()
}

const CODE: &str = "import tiny, sys\ndef step():\n    return [tiny.VERSION, sys.prefix != sys.base_prefix]\n";

#[tokio::test]
async fn steps_with_other_packages_run_in_other_environments_and_each_is_made_once() {
    let (fleet, index) = (fleet_with_uv(|_| {}), Index::start());
    let (one, again) = tokio::join!(fleet.value(index.needing("1.0", CODE)), fleet.value(index.needing("1.0", CODE)),);
    assert_eq!((one.as_str(), again.as_str()), ("[\"1.0\",true]", "[\"1.0\",true]"));
    assert_eq!(fleet.value(index.needing("2.0", CODE)).await, "[\"2.0\",true]");
    let plain = "import sys\ndef step():\n    return 'tiny' in sys.modules\n";
    assert_eq!(fleet.value(python(plain)).await, "false");
    assert_eq!(fleet.value(index.needing("1.0", CODE)).await, "[\"1.0\",true]");
    assert_eq!(environments_made(&fleet.folder.path().join("worker/environments")), 2);
}

#[tokio::test]
async fn without_uv_environments_are_made_by_venv_and_pip() {
    let index = Index::start();
    let fleet = Fleet::with(|config| {
        here(config);
        config.uv = None;
    });
    assert_eq!(fleet.value(index.needing("1.0", CODE)).await, "[\"1.0\",true]");
    let error = fleet.error(index.needing("9.9", CODE)).await;
    assert!(error.message.contains("pip install ended with exit code"), "{error:?}");
}

#[tokio::test]
async fn two_workers_that_share_a_folder_make_an_environment_once() {
    let (index, shared) = (Index::start(), tempfile::tempdir().unwrap());
    let workers = [(); 2].map(|()| fleet_with_uv(|config| config.environments = Some(shared.path().to_owned())));
    let [one, other] = &workers;
    let values = tokio::join!(one.value(index.needing("1.0", CODE)), other.value(index.needing("1.0", CODE)));
    assert_eq!((values.0.as_str(), values.1.as_str()), ("[\"1.0\",true]", "[\"1.0\",true]"));
    assert_eq!(environments_made(shared.path()), 1);
}

#[tokio::test]
async fn an_installer_that_takes_every_line_still_sees_no_more_than_it_needs() {
    let fleet = fleet_with_uv(|config| config.packages_from_source = true);
    let secret = fleet.folder.path().join("secret.txt");
    std::fs::write(&secret, "canary of the worker\n").unwrap();
    let error = fleet.error(asking(&format!("-c {}", secret.display()), "def step():\n    pass\n")).await;
    assert_eq!(error.kind, ErrorKind::Environment, "{error:?}");
    assert!(error.message.contains("uv pip install ended") && !error.message.contains("canary"), "{error:?}");
}

#[tokio::test]
async fn an_environment_that_cannot_be_made_fails_its_steps_with_the_installers_words() {
    let (fleet, index) = (fleet_with_uv(|_| {}), Index::start());
    let error = fleet.error(index.needing("9.9", CODE)).await;
    assert_eq!(error.kind, ErrorKind::Environment);
    for word in ["step `work`", "uv pip install ended with exit code", "tiny==9.9"] {
        assert!(error.message.contains(word), "{word} is not in {}", error.message);
    }
    let begun = Instant::now();
    let again = fleet.error(index.needing("9.9", CODE)).await;
    assert_eq!(again.message, error.message);
    assert!(begun.elapsed() < Duration::from_secs(2), "the installer is not asked again at once");
}

#[tokio::test]
async fn lines_by_which_an_installer_opens_files_or_runs_code_do_not_reach_it() {
    let fleet = Fleet::start();
    let secret = fleet.folder.path().join("secret.txt");
    std::fs::write(&secret, "canary of the worker\n").unwrap();
    let package = fleet.folder.path().join("evil");
    std::fs::create_dir(&package).unwrap();
    let ran = fleet.folder.path().join("ran");
    std::fs::write(package.join("setup.py"), format!("open({ran:?}, 'w')\n")).unwrap();
    for line in [
        format!("-c {}", secret.display()),
        format!("--requirement={}", secret.display()),
        package.display().to_string(),
        format!("evil @ file://{}", package.display()),
        "--no-binary :all:".to_owned(),
    ] {
        let error = fleet.error(asking(&line, "def step():\n    pass\n")).await;
        assert_eq!(error.kind, ErrorKind::Environment, "{line}: {error:?}");
        let named = line.split([' ', '=']).next().unwrap();
        assert!(error.message.contains(named) && error.message.contains("BUE_PACKAGES_FROM_SOURCE"), "{error:?}");
        assert!(!error.message.contains("canary"), "{error:?}");
    }
    assert!(!ran.exists());
    for path in [secret.display().to_string(), "../../secret.txt".to_owned()] {
        let work = python("def step():\n    pass\n")
            .set(|settings| settings.runtime.requirements = vec![format!("-r {path}")]);
        let error = fleet.error(work).await;
        assert!(error.message.contains("is not within the bundle"), "{error:?}");
    }
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
async fn a_step_gets_the_version_of_python_it_asks_for() {
    let found = find_python(None).unwrap();
    let wanted = found.version.rsplit_once('.').unwrap().0.to_owned();
    // The worker's own is said to be another one, so that it has to be looked for.
    let fleet = Fleet::with(|config| config.python.version = "3.2.0".to_owned());
    let code = "import sys\ndef step():\n    return '%d.%d' % sys.version_info[:2]\n";
    let work = python(code).set(|settings| settings.runtime.python = Some(wanted.clone()));
    assert_eq!(fleet.value(work).await, format!("\"{wanted}\""));
}

#[tokio::test]
async fn a_step_can_have_an_interpreter_of_its_own() {
    let fleet = Fleet::start();
    let code = "import sys\ndef step():\n    return 'buelon.runner.warm' in sys.modules\n";
    assert_eq!(fleet.value(python(code)).await, "true");
    let fresh = python(code).set(|settings| settings.runtime.isolation = Some(protocol::Isolation::Fresh));
    assert_eq!(fleet.value(fresh).await, "false");
}

#[tokio::test]
async fn an_interpreter_that_cannot_be_forked_is_started_anew_for_each_attempt_and_the_log_says_why() {
    let (fleet, index) = (fleet_with_uv(|_| {}), Index::start());
    for _ in 0..2 {
        let code = "import os, threading, tiny\ndef step():\n    return [tiny.VERSION, threading.active_count()]\n";
        let settlement = fleet.run(index.needing("3.0", code)).await;
        let log = log_text(&settlement);
        assert!(matches!(settlement.outcome, Outcome::Success { .. }), "{settlement:?}");
        assert!(log.contains("threads as soon as it starts"), "{log}");
    }
}
