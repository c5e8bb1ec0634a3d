//! Bytecode of a bundle's modules: it is there from some attempt on, and nothing else changes.

use std::time::{Duration, Instant};

use protocol::ErrorKind;

use crate::fake_hub::{Fleet, Work, python};

/// A step that says whether there is bytecode of its own file, which no interpreter writes that runs it, and of one that it does not import.
const STEPS: &str = "import os\nimport helper\n\nhere = os.path.dirname(__file__)\n\n\
    def there_is(folder, name):\n    folder = os.path.join(here, folder, '__pycache__')\n    \
    return os.path.isdir(folder) and any(found.startswith(name) for found in os.listdir(folder))\n\n\
    def step():\n    return [there_is('', 'work.'), there_is('deep', 'inner.'), helper.word, __name__]\n\n\
    def fails():\n    raise ValueError('as it should')\n";
const BEFORE: &str = r#"[false,false,"ours","work"]"#;
const AFTER: &str = r#"[true,true,"ours","work"]"#;

fn work() -> Work {
    let files = [
        ("work.py", STEPS),
        ("helper.py", "word = 'ours'\n"),
        ("deep/inner.py", ""),
        ("broken.py", "def ("),
        ("data.csv", "a"),
    ];
    let work = files.iter().fold(python(""), |work, (path, content)| work.file(path, content));
    work.in_file("work.py").of_one_bundle()
}

async fn compiled_at_last(fleet: &Fleet) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let value = fleet.value(work()).await;
        if value == AFTER {
            return;
        }
        assert_eq!(value, BEFORE);
        assert!(Instant::now() < deadline, "no bytecode is made");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn modules_of_a_bundle_are_compiled_once_for_all_attempts() {
    let fleet = Fleet::start();
    assert_eq!(fleet.value(work()).await, BEFORE, "the first attempt");
    compiled_at_last(&fleet).await;
}

#[tokio::test]
async fn an_error_names_file_and_line_as_ever() {
    let fleet = Fleet::start();
    let failing = || {
        let mut failing = work();
        failing.function("fails");
        failing
    };
    let before = fleet.error(failing()).await;
    compiled_at_last(&fleet).await;
    let after = fleet.error(failing()).await;
    assert_eq!(after.kind, ErrorKind::Exception);
    assert!(
        after.trace.as_deref().is_some_and(|trace| trace.contains("raise ValueError('as it should')")),
        "{after:?}"
    );
    assert_eq!(before.trace, after.trace);
}

#[tokio::test]
async fn a_step_that_changes_bytecode_changes_it_for_nobody_else() {
    let fleet = Fleet::start();
    compiled_at_last(&fleet).await;
    let spoil = "import glob\n\ndef step():\n    for path in glob.glob('**/*.pyc', recursive=True):\n        open(path, 'wb').write(b'spoiled')\n    return 'spoiled'\n";
    let mut spoiling = work();
    spoiling.code(spoil);
    assert_eq!(fleet.value(spoiling).await, r#""spoiled""#);
    assert_eq!(fleet.value(work()).await, AFTER);
}
