//! `bue check`, `bue plan`, `bue fmt`: what they print, and their exit codes.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const SCRIPT: &str = "$ small
items:
    python
    f
    steps.py
work:
    sqlite3
    !9
    t
    `select * from t`
    !timeout 1.5
    !retries 2
source = | items
pipe = work | items
first = source()
for x in source(first):
    made = pipe(x, first)
    for y in source(made):
        source(y)
";

/// A folder with a script and its step file.
fn folder(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("script.bue"), script).unwrap();
    std::fs::write(folder.path().join("steps.py"), "def f(*inputs):\n    return []\n").unwrap();
    folder
}

fn bue(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bue")).args(words).current_dir(folder).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

fn names(jobs: &Value) -> Vec<&str> {
    jobs.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect()
}

#[test]
fn a_plan_as_json_has_the_jobs_of_one_pass_over_every_block() {
    let folder = folder(SCRIPT);
    let output = bue(folder.path(), &["plan", "--json", "script.bue"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let plan = document(&output);
    assert_eq!(plan["results"], json!([]));
    assert_eq!(names(&plan["jobs"]), ["items", "items"]);
    assert_eq!((&plan["jobs"][0]["build"], &plan["jobs"][1]["build"]), (&Value::Null, &json!(true)));
    let outer = &plan["loops"][0];
    assert_eq!((&outer["variable"], &outer["pipe"], &outer["line"]), (&json!("x"), &json!("source"), &json!(16)));
    assert_eq!(names(&outer["jobs"]), ["x_0", "work", "items", "items"]);
    let (item, work) = (&outer["jobs"][0], &outer["jobs"][1]);
    assert_eq!((&item["item"], &item["scope"], &item["status"]), (&json!(true), &json!("small"), &json!("pending")));
    let expected = json!({
        "id": work["id"], "name": "work", "language": "sqlite3", "scope": "small", "priority": 9, "timeout": 1.5,
        "retries": 2, "status": "queued", "parents": [item["id"], plan["jobs"][0]["id"]],
    });
    assert_eq!(work, &expected);
    assert_eq!(names(&outer["loops"][0]["jobs"]), ["y_0", "items"]);
}

#[test]
fn a_wrong_script_is_one_json_document_with_all_errors() {
    let folder = folder("a:\n    python\n    f\n    stepps.py\np = | b\np()\nq = | a\nq()\n");
    let output = bue(folder.path(), &["plan", "--json", "script.bue"]);
    assert_eq!(output.status.code(), Some(2));
    let found = document(&output);
    assert_eq!(found["error"], found["errors"][0]);
    assert_eq!(
        (&found["error"]["kind"], &found["error"]["line"], &found["error"]["column"]),
        (&json!("file"), &json!(4), &json!(5))
    );
    assert_eq!(found["errors"][1]["message"], json!("step `b` is not defined"));
    assert!(stderr(&output).contains("did you mean `steps.py`?"), "{}", stderr(&output));
}

#[test]
fn a_plan_is_shown_as_a_tree_and_drawn() {
    let folder = folder(SCRIPT);
    let tree = stdout(&bue(folder.path(), &["plan", "script.bue"]));
    assert!(tree.contains("\nfor x in source: (line 16)\n    j3 x_0 (item)"), "{tree}");
    let dot = stdout(&bue(folder.path(), &["plan", "--dot", "script.bue"]));
    assert!(dot.starts_with("digraph") && dot.contains("j2 -> j3;") && dot.contains("j1 -> j4;"), "{dot}");
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    let mermaid = stdout(&bue(folder.path(), &["plan", "--mermaid", "script.bue"]));
    assert!(
        mermaid.starts_with("flowchart") && mermaid.contains("j2 --> j3") && mermaid.contains("j6 --> j7"),
        "{mermaid}"
    );
}

#[test]
fn a_check_names_every_file_and_fails_when_one_is_wrong() {
    let folder = folder(SCRIPT);
    std::fs::write(folder.path().join("wrong.bue"), "p(\n").unwrap();
    let output = bue(folder.path(), &["check", "script.bue", "wrong.bue"]);
    assert_eq!(output.status.code(), Some(2));
    let shown = stderr(&output);
    assert!(shown.contains("script.bue: fine, 2 steps") && shown.contains("wrong.bue:1:2"), "{shown}");
    let output = bue(folder.path(), &["check", "--json", "script.bue", "wrong.bue"]);
    assert_eq!(output.status.code(), Some(2));
    let found = document(&output);
    assert_eq!(found["files"][0], json!({"file": "script.bue", "errors": [], "warnings": []}));
    assert_eq!(found["files"][1]["errors"][0]["message"], json!("`(` is never closed"));
    assert_eq!(bue(folder.path(), &["check", "script.bue"]).status.code(), Some(0));
}

#[test]
fn a_warning_is_shown_and_is_no_failure() {
    let folder = folder(&format!("{SCRIPT}unused = | work\n"));
    let output = bue(folder.path(), &["check", "script.bue"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("warning[name]: pipe `unused` is never called"), "{}", stderr(&output));
}

#[test]
fn fmt_writes_the_form_and_check_only_says() {
    let folder = folder("p=|a#c\na :\n    python\n    f\n    steps.py\np( )");
    let path = folder.path().join("script.bue");
    let before = std::fs::read_to_string(&path).unwrap();
    let output = bue(folder.path(), &["fmt", "--check", "script.bue"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("script.bue: not formatted"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert_eq!(bue(folder.path(), &["fmt", "script.bue"]).status.code(), Some(0));
    let after = "p = | a  #c\na:\n    python\n    f\n    steps.py\np()\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
    assert_eq!(bue(folder.path(), &["fmt", "--check", "script.bue"]).status.code(), Some(0));
}

#[test]
fn fmt_leaves_a_script_alone_that_it_cannot_read_and_keeps_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("p(  \n");
    let path = folder.path().join("script.bue");
    let output = bue(folder.path(), &["fmt", "script.bue"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("script.bue:1:2"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "p(  \n");
    std::fs::write(&path, "p( )\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(bue(folder.path(), &["fmt", "script.bue"]).status.code(), Some(0));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}
