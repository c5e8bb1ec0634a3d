//! What an editor learns of a script.

use bue_language::index::{Found, Index, NameKind};

const SCRIPT: &str = "$ s
a:
    python
    !9
    f
    a.py
import sqlite3 (t as b !retries 2) `select 1`
p = a | b
v = p()
for x in p(v):
    v = p(x, v)
    p(v)
p(v)
";

/// What is at the `count`-th (from 0) place of `word`.
fn at(word: &str, count: usize) -> String {
    let index = Index::of(SCRIPT);
    let place = SCRIPT.match_indices(word).nth(count).expect("the word is there").0;
    match index.at(place) {
        None => "nothing".to_owned(),
        Some((span, Found::Setting(word))) => format!("setting {word} {:?}", span.of(SCRIPT)),
        Some((_, Found::Function(symbol))) => format!("function of {}", symbol.name.of(SCRIPT)),
        Some((_, Found::File(symbol))) => format!("file of {}", symbol.name.of(SCRIPT)),
        Some((_, Found::Symbol(symbol))) => {
            let line = SCRIPT[..symbol.name.start()].matches('\n').count() + 1;
            format!("{:?} {} of line {line}", symbol.kind, symbol.name.of(SCRIPT))
        }
    }
}

#[test]
fn a_name_leads_to_its_definition() {
    assert_eq!(at("a | b", 0), "Step a of line 2");
    assert_eq!(at("b\nv", 0), "Step b of line 7");
    assert_eq!(at("p(x", 0), "Pipe p of line 8");
    assert_eq!(at("a:", 0), "Step a of line 2");
}

#[test]
fn a_variable_leads_to_the_assignment_that_counts_there() {
    assert_eq!(at("v):", 0), "Variable v of line 9");
    assert_eq!(at("v)", 1), "Variable v of line 9");
    assert_eq!(at("v)", 2), "Variable v of line 11");
    assert_eq!(at("v)", 3), "Variable v of line 9");
    assert_eq!(at("x, v", 0), "Variable x of line 10");
}

#[test]
fn functions_files_and_settings_are_found() {
    assert_eq!(at("f\n", 0), "function of a");
    assert_eq!(at("a.py", 0), "file of a");
    assert_eq!(at("!9", 0), "setting priority \"!9\"");
    assert_eq!(at("!retries", 0), "setting retries \"!retries 2\"");
    assert_eq!(at("t as", 0), "function of b");
    assert_eq!(at("select", 0), "nothing");
}

#[test]
fn a_script_with_errors_has_the_names_that_can_be_read() {
    let index = Index::of("a:\n    python\n    f\np = | a\nq = (\np(\nfor x in p():\n    p(x)\n");
    let kinds = |kind| index.symbols.iter().filter(|symbol| symbol.kind == kind).count();
    assert_eq!((kinds(NameKind::Step), kinds(NameKind::Pipe), kinds(NameKind::Variable)), (1, 1, 1));
}
