//! What holds of every text.

mod corpus;

use bue_language::text::{Lines, Place};
use bue_language::{Files, compile, render};
use proptest::prelude::*;
use protocol::{Diagnostic, Severity};

struct Few;

impl Files for Few {
    fn has(&self, path: &str) -> bool {
        !path.contains('b')
    }

    fn paths(&self) -> Vec<String> {
        vec!["a.py".to_owned(), "steps/c.py".to_owned()]
    }
}

/// Pieces of scripts, in an order that is likely to be nearly right.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "b",
        "p",
        "v",
        "x",
        " ",
        "  ",
        "    ",
        "\t",
        "\n",
        "\n",
        "\n    ",
        "\r",
        "\r\n",
        ":",
        "=",
        "|",
        "(",
        ")",
        ",",
        "!",
        "$",
        "`",
        "#",
        "for ",
        " in ",
        "import ",
        "python",
        "sqlite3",
        "TAB = '  '\n",
        "!scope ",
        "!priority ",
        "!timeout ",
        "!retries ",
        "9",
        "-",
        "*",
        "**",
        "//",
        "%",
        ".",
        " as ",
        "{",
        "}",
        "\"",
        "'",
        "a.py",
        "\u{feff}",
        "\u{2028}",
        "\u{a0}",
        "ü",
        "数",
        "\0",
        "a:\n    python\n    f\n    a.py\n",
        "p = | a\n",
        "p()\n",
        "v = p()\n",
        "for x in p():\n    ",
        "p(x)\n",
        "`code`\n",
        "p(v)\n",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..60).prop_map(|pieces| pieces.concat())
}

/// Scripts of the corpus with something cut out, doubled or put in.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let scripts = corpus::scripts();
    (0..scripts.len(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), soup(), 0..3u8).prop_map(
        move |(number, from, to, put_in, how)| {
            let mut script = scripts[number].clone();
            let (from, to) = (from.index(script.len() + 1), to.index(script.len() + 1));
            let range = from.min(to)..from.max(to);
            match how {
                0 => drop(script.drain(range)),
                1 => drop(script.splice(range, put_in.into_bytes())),
                _ => {
                    let piece = script[range.clone()].to_vec();
                    drop(script.splice(range.start..range.start, piece));
                }
            }
            script
        },
    )
}

fn holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    let compiled = compile("script.bue", bytes, &Few);
    let has_error = compiled.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    prop_assert_eq!(compiled.plan.is_none(), has_error);
    let text = String::from_utf8_lossy(bytes);
    let lines = Lines::of(&text);
    for diagnostic in &compiled.diagnostics {
        lies_inside(diagnostic, &lines)?;
    }
    let places: Vec<(u32, u32)> = compiled.diagnostics.iter().map(|found| (found.line, found.column)).collect();
    prop_assert!(places.is_sorted());
    let shown = render(&compiled.diagnostics, &text, false);
    prop_assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\n'), "{:?}", shown);
    Ok(())
}

fn lies_inside(diagnostic: &Diagnostic, lines: &Lines<'_>) -> Result<(), TestCaseError> {
    let related = diagnostic.related.iter().map(|place| (place.line, place.column, place.end_line, place.end_column));
    let own = (diagnostic.line, diagnostic.column, diagnostic.end_line, diagnostic.end_column);
    for (line, column, end_line, end_column) in related.chain([own]) {
        prop_assert!((line, column) <= (end_line, end_column));
        for place in [Place { line, column }, Place { line: end_line, column: end_column }] {
            let text = lines.text(place.line);
            prop_assert!(text.is_some_and(|text| place.column as usize <= text.chars().count() + 1), "{diagnostic:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_plan_or_errors_with_places_inside_the_text(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        holds(&bytes)?;
    }

    #[test]
    fn any_pieces_of_scripts_give_a_plan_or_errors_with_places_inside_the_text(text in soup()) {
        holds(text.as_bytes())?;
    }

    #[test]
    fn changed_scripts_give_a_plan_or_errors_with_places_inside_the_text(bytes in mutated()) {
        holds(&bytes)?;
    }
}
