//! What holds of every text.

mod corpus;

#[path = "../fuzz/checks.rs"]
mod checks;

use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_plan_or_errors_with_places_inside_the_text(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        checks::compiles(&bytes);
    }

    #[test]
    fn any_pieces_of_scripts_give_a_plan_or_errors_with_places_inside_the_text(text in soup()) {
        checks::compiles(text.as_bytes());
    }

    #[test]
    fn changed_scripts_give_a_plan_or_errors_with_places_inside_the_text(bytes in mutated()) {
        checks::compiles(&bytes);
    }

    #[test]
    fn changed_scripts_that_can_be_formatted_keep_meaning_and_comments(bytes in mutated()) {
        checks::formats(&bytes);
    }
}
