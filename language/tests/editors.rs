//! The editor extension knows the words of the language.

use serde_json::Value;

const GRAMMAR: &str = include_str!("../../editors/vscode/syntaxes/bue.tmLanguage.json");
const PACKAGE: &str = include_str!("../../editors/vscode/package.json");
const CONFIGURATION: &str = include_str!("../../editors/vscode/language-configuration.json");

/// All texts in a JSON document that stand under `key`.
fn under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if name == key {
                    found.extend(value.as_str());
                }
                under(value, key, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| under(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_grammar_colours_every_language_and_every_setting() {
    let grammar: Value = serde_json::from_str(GRAMMAR).expect("the grammar is JSON");
    let mut patterns = Vec::new();
    under(&grammar, "match", &mut patterns);
    under(&grammar, "begin", &mut patterns);
    let all = patterns.join("\n").replace("python3?", "python|python3").replace("sqlite3?", "sqlite|sqlite3");
    let words: Vec<&str> = all.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let languages = bue_language::LANGUAGE_WORDS.iter().map(|(word, _)| *word);
    for word in languages.chain(bue_language::SETTING_WORDS.iter().map(|(word, _)| *word)) {
        assert!(words.contains(&word), "{word}");
    }
}

#[test]
fn every_rule_that_the_grammar_includes_is_there() {
    let grammar: Value = serde_json::from_str(GRAMMAR).expect("the grammar is JSON");
    let mut included = Vec::new();
    under(&grammar, "include", &mut included);
    assert!(included.len() > 20);
    for name in included.iter().filter_map(|name| name.strip_prefix('#')) {
        assert!(grammar["repository"][name].is_object(), "{name}");
    }
}

#[test]
fn the_extension_names_the_grammar_and_what_its_blocks_hold() {
    let package: Value = serde_json::from_str(PACKAGE).expect("the package is JSON");
    let grammar = &package["contributes"]["grammars"][0];
    assert_eq!((&grammar["scopeName"], &grammar["language"]), (&"source.bue".into(), &"bue".into()));
    for block in grammar["embeddedLanguages"].as_object().expect("blocks").keys() {
        assert!(GRAMMAR.contains(&format!("\"{block}\"")), "{block}");
    }
    assert!(serde_json::from_str::<Value>(CONFIGURATION).is_ok());
}
