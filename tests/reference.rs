//! The examples of `docs/language.md` that state their results are run, and have these results.

use std::process::Command;

use serde_json::Value;

const REFERENCE: &str = include_str!("../docs/language.md");

/// A script, the files beside it, and the values of its calls.
struct Example {
    script: &'static str,
    values: Value,
}

/// The files of the page, by name, and its examples with results.
fn examples() -> (Vec<(&'static str, &'static str)>, Vec<Example>) {
    let (mut files, mut examples) = (Vec::new(), Vec::new());
    let mut script = None;
    let mut rest = REFERENCE;
    while let Some(open) = rest.find("```") {
        let (kind, after) = rest[open + 3..].split_once('\n').expect("a fence ends its line");
        let (text, after) = after.split_once("\n```").expect("a fence is closed");
        match kind {
            "bue run" => script = Some(text),
            "json" => examples.push(Example {
                script: script.take().expect("results follow a script"),
                values: serde_json::from_str(text).expect("results are JSON"),
            }),
            _ => files.extend(kind.strip_prefix("python ").map(|name| (name, text))),
        }
        rest = after;
    }
    assert!(script.is_none(), "a script without results");
    (files, examples)
}

#[test]
fn examples_have_the_results_that_the_page_states() {
    let (files, examples) = examples();
    assert!(examples.len() >= 4);
    for example in examples {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::write(folder.path().join("script.bue"), example.script).unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_bue"));
        let output = { run }.args(["run", "--json", "script.bue"]).current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{told}\n{}", example.script);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let results = document["results"].as_array().unwrap();
        let values: Value = results.iter().map(|result| result["value"].clone()).collect();
        assert_eq!(values, example.values, "{}", example.script);
    }
}
