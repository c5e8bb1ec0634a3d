//! The examples of the reference for users, `docs/language.md`: accepted ones compile, wrong ones are told as they stand there.

use bue_language::{Files, compile, format, render};

const REFERENCE: &str = include_str!("../../docs/language.md");

struct StepsFile;

impl Files for StepsFile {
    fn has(&self, path: &str) -> bool {
        path == "steps.py"
    }

    fn paths(&self) -> Vec<String> {
        vec!["steps.py".to_owned()]
    }
}

/// The blocks of the page: what stands behind the opening fence, and the text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let mut blocks = Vec::new();
    let mut rest = REFERENCE;
    while let Some(open) = rest.find("```") {
        let (kind, after) = rest[open + 3..].split_once('\n').expect("a fence ends its line");
        let (text, after) = after.split_once("\n```").expect("a fence is closed");
        blocks.push((kind, text));
        rest = after;
    }
    blocks
}

fn of_kind(kind: &str) -> Vec<&'static str> {
    blocks().into_iter().filter(|(found, _)| *found == kind).map(|(_, text)| text).collect()
}

#[test]
fn accepted_examples_compile() {
    let examples = [of_kind("bue"), of_kind("bue run")].concat();
    assert!(examples.len() >= 9, "{}", examples.len());
    for example in examples {
        let compiled = compile("script.bue", example.as_bytes(), &StepsFile);
        assert!(compiled.plan.is_some(), "{}", render(&compiled.diagnostics, example, false));
    }
}

#[test]
fn accepted_examples_can_be_formatted() {
    for example in [of_kind("bue"), of_kind("bue run")].concat() {
        assert!(format(example).is_ok(), "{example}");
    }
}

#[test]
fn wrong_examples_are_told_as_the_page_says() {
    let (examples, told) = (of_kind("bue wrong"), of_kind("text"));
    assert!(!examples.is_empty() && examples.len() == told.len());
    for (example, told) in examples.into_iter().zip(told) {
        let compiled = compile("script.bue", example.as_bytes(), &StepsFile);
        assert_eq!(render(&compiled.diagnostics, example, false).trim_end(), told);
    }
}

#[test]
fn the_page_states_the_limits_that_hold() {
    use bue_language::limits;
    let stated = [
        format!("| {} MiB |", limits::SCRIPT_BYTES_MAX / 1_048_576),
        format!("| steps | {} |", "100,000"),
        format!("brackets inside brackets | {} |", limits::LOOP_DEPTH_MAX),
        format!("name | {} characters |", limits::NAME_CHARS_MAX),
        format!("expression | {} characters |", limits::EXPRESSION_BYTES_MAX),
        format!("indentation | {} |", limits::TAB_CHARS_MAX),
        format!("shown | {} |", limits::DIAGNOSTICS_MAX),
        format!("not read | {} |", "2,000"),
    ];
    for sentence in stated {
        assert!(REFERENCE.contains(&sentence), "{sentence}");
    }
    assert_eq!((limits::STEPS_MAX, limits::PLANNED_JOBS_MAX), (100_000, 1_000_000));
    assert_eq!(limits::SYNTAX_ERRORS_MAX, 2_000);
    assert_eq!(limits::LOOP_DEPTH_MAX, limits::BRACKET_DEPTH_MAX);
}
