//! Formatting: one form, every comment kept, the meaning untouched.

mod corpus;

#[path = "../fuzz/checks.rs"]
mod checks;

use bue_language::{FormatError, format};
use proptest::prelude::*;

fn formatted(text: &str) -> String {
    format(text).expect("a script without errors of form")
}

#[test]
fn every_script_of_the_corpus_keeps_its_meaning_and_comments() {
    let mut formatted = 0;
    for script in corpus::scripts() {
        let Ok(text) = String::from_utf8(script) else { continue };
        checks::formats(text.as_bytes());
        formatted += usize::from(format(&text).is_ok());
    }
    assert!(formatted > 100, "{formatted}");
}

#[test]
fn spacing_is_normal_and_comments_stay() {
    let text = "\u{feff}\n\n#top\n$   production-small   # scope\n!  9 !timeout  2*60#x\n\n\n\n\na  : # header\n     # deep\n    python# language\n\n\n\n\n    $s\n    f\n  # odd\n    a.py   \np=a||b\nq =   a|   # one\nv=p( x,y , )# call\nfor  x  in  q ( v ) :# loop\n        # in the body\n    p(x)\n            # still in it\n\n# out\np()";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn lists_over_lines_stay_over_lines() {
    let text = "import python (f   as a !scope   s,# one\n# alone\ng\n  as # odd\n  b !9   , h) a.py # end\np = (a # first\n | b |\n# last\n)\nq = (\n| a)\np(v,\nw # w\n)\nfor x in q(\n):\n    p(\n    x)\n";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn code_and_what_is_on_its_lines_stays_as_it_is() {
    let text = "a:\n    python\n    f\n    `\n  def f():   \n\treturn '#'\r\n\n\n\n\n`   # end\nimport sqlite3(t)`select 1`\nimport sqlite3 ( u )# here\n\n     # there\n    `select 2`\nimport sqlite3 (w)\n`\nselect 3\n`\np = a | t | u | w\np()\n";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn the_unit_of_indentation_is_that_of_the_script() {
    let text = "TAB  =  '\t' # tab\na:\n\tpython\n\tf\n\ta.py\np = | a\nfor x in p():\n\tfor y in p(\n\t\t\tx):\n\t\t# deep\n\t\tp(y)\n";
    insta::assert_snapshot!(formatted(text));
}

#[test]
fn line_ends_are_those_of_the_first_line() {
    assert_eq!(formatted("p()\r\n\n\nq()"), "p()\r\n\r\n\r\nq()\r\n");
    assert_eq!(formatted("p()\rq()\n"), "p()\rq()\r");
    assert_eq!(formatted("\n\n"), "");
}

#[test]
fn what_looks_like_a_loop_is_one_with_and_without_blanks() {
    for equal in ["=", " =", " = ", "= "] {
        for line in [format!("for x in{equal}| a"), format!("for in{equal}p()")] {
            assert!(format(&format!("p = | a\n{line}\n")).is_err(), "{line}");
        }
    }
    assert_eq!(formatted("inner=| a\nfor inner= | a\n"), "inner = | a\nfor inner = | a\n");
}

#[test]
fn a_leading_object_stays() {
    assert_eq!(formatted("{\"a\":\n 1}   p( )\n"), "{\"a\":\n 1}\np()\n");
}

#[test]
fn a_script_with_errors_of_form_is_left_alone() {
    let Err(FormatError::Syntax(found)) = format("p(\n") else { panic!("it was formatted") };
    assert_eq!(found[0].message, "`(` is never closed");
    assert!(format("undefined()\n").is_ok());
}

fn pieces() -> impl Strategy<Value = String> {
    let pieces = [
        "a:\n    python\n    f\n    a.py\n",
        "b : # b\n    !9\n    # c\n    sqlite\n    t\n   # odd\n    `x`# d\n    $ s  !1\n",
        "import python (f,g as c) a.py\n",
        "import python (f as d # e\n # f\n ,g !9 $ s\n) `\ncode # g\n`\n",
        "import sqlite3 (t as e)\n\n   # h\n    a b.sql\n",
        "p = | a\n",
        "q=a|\n",
        "r = (a | # i\n# j\n  | b\n # k\n)# l\n",
        "s = (\n a\n |)\n",
        "p()\n",
        "v = p( v,)\n",
        "v = p(v, # m\n# n\nv)\n",
        "for x in p():\n    p(x)\n",
        "for x in p(): # o\n        # q\n    for y in p(x):\n     # r\n        p(y)\n   # s\n    p(x)\n",
        "$ s\n",
        "! 9 !timeout 2 * 60   !retries 1\n",
        "# comment  \n",
        "    # comment\n",
        "\n",
        "\n\n\n\n",
        "   \n",
        "\t\n",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_formatted_script_means_the_same_and_is_formatted(text in pieces()) {
        checks::formats(text.as_bytes());
    }

    #[test]
    fn a_formatted_script_with_other_line_ends_means_the_same(text in pieces(), end in "\r|\r\n") {
        checks::formats(text.replace('\n', &end).as_bytes());
    }

    #[test]
    fn a_changed_script_that_can_be_formatted_means_the_same(text in pieces(), at in any::<prop::sample::Index>(), put_in in "[ \t\n\r#a-c()|,:=!$`]{1,4}") {
        let mut text = text;
        let at = at.index(text.len() + 1);
        if text.is_char_boundary(at) {
            text.insert_str(at, &put_in);
        }
        checks::formats(text.as_bytes());
    }
}
