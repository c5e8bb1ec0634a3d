//! Tables that are wrong or unusual, in every engine and back in Python: each comes through as it is, or is refused by name.

mod fleet;
mod postgres;
mod venv;

use postgres::Server;
use serde_json::{Value, json};

const TAKERS: [&str; 4] = ["sqlite3", "duckdb", "postgres", "python"];

/// What becomes of a table.
enum Then {
    Gives(Value),
    Says(&'static str),
}

use Then::{Gives, Says};

struct Case {
    /// What the step returns.
    returns: &'static str,
    /// What the takers make of it, in their order; where there is one only, all of them.
    then: Vec<Then>,
}

fn case<const N: usize>(returns: &'static str, then: [Then; N]) -> Case {
    Case { returns, then: Vec::from(then) }
}

fn cases() -> Vec<Case> {
    let typed = "pa.table({'n': pa.array([], pa.int32()), 't': pa.array([], pa.timestamp('us', 'UTC')), 'd': pa.array([], pa.decimal128(9, 2)), \
                 's': pa.array([], pa.string()), 'l': pa.array([], pa.list_(pa.int8()))})";
    let columns = || Says("has 2 rows and no column; return a table with columns");
    let empty = || Says("is an empty list, so its columns are unknown");
    let beyond = || Says("[0].n is a whole number beyond signed 64 bit; return it as a string");
    let same_but_case = || Gives(json!([{"a": 1, "A": 2}]));
    let nul = |who: &str| match who {
        "SQLite" => Says("the name \"a\\0b\" has a NUL character, which SQLite does not take"),
        "DuckDB" => Says("the name \"a\\0b\" has a NUL character, which DuckDB does not take"),
        _ => Says("the name \"a\\0b\" has a NUL character, which PostgreSQL does not take"),
    };
    let nameless = |value: Value| {
        [
            Gives(value.clone()),
            Says("a column has the empty name, which DuckDB does not take; give it one"),
            Says("a column has the empty name, which PostgreSQL does not take; give it one"),
            Gives(value),
        ]
    };
    vec![
        // Names.
        case("[{'': 1}]", nameless(json!([{"": 1}]))),
        case("pa.table([[1]], names=[''])", nameless(json!([{"": 1}]))),
        case(
            "[{'a\"b\\nc`d]': 1, ' ': 2, 'select': 3, 'ü': 4}]",
            [Gives(json!([{"a\"b\nc`d]": 1, " ": 2, "select": 3, "ü": 4}]))],
        ),
        case("pa.table([[1]], names=['a\"b\\nc'])", [Gives(json!([{"a\"b\nc": 1}]))]),
        case("[{'a\\0b': 1}]", [nul("SQLite"), nul("DuckDB"), nul("PostgreSQL"), Gives(json!([{"a\0b": 1}]))]),
        case("[{'rowid': 5, 'oid': 6}]", [Gives(json!([{"rowid": 5, "oid": 6}]))]),
        case(
            "[{'a': 1, 'A': 2}]",
            [
                Says("differ only in case from `A`; SQLite cannot"),
                Says("differ from it only in case; DuckDB cannot tell them apart"),
                same_but_case(),
                same_but_case(),
            ],
        ),
        case(
            "pa.table([[1], [2]], names=['a', 'A'])",
            [
                Says("differ only in case from `A`; SQLite cannot"),
                Says("differ from it only in case; DuckDB cannot tell them apart"),
                same_but_case(),
                same_but_case(),
            ],
        ),
        case("pa.table([[1], [2]], names=['a', 'a'])", [Says("two columns of the table are called `a`")]),
        case("[{chr(0xd800): 1}]", [Says("half of a surrogate pair")]),
        // Shapes.
        case("[]", [empty(), empty(), Gives(json!([])), Gives(json!([]))]),
        case("pa.table({})", [empty(), empty(), Gives(json!([])), Gives(json!([]))]),
        case("[{}, {}]", [columns(), columns(), columns(), Gives(json!([{}, {}]))]),
        case("pa.table({'a': [1, 2]}).select([])", [columns(), columns(), columns(), Gives(json!([{}, {}]))]),
        case(typed, [Gives(json!([]))]),
        case("7", [Says("a number came"), Says("a number came"), Says("a number came"), Gives(json!(7))]),
        case("{'a': 1}", [Says("a dict came"), Says("a dict came"), Says("a dict came"), Gives(json!({"a": 1}))]),
        // Values.
        case(
            "[{'a': 1}, {'a': 'x'}, {'a': [1]}]",
            [
                Gives(json!([{"a": 1}, {"a": "x"}, {"a": "[1]"}])),
                Gives(json!([{"a": 1}, {"a": "x"}, {"a": [1]}])),
                Gives(json!([{"a": 1}, {"a": "x"}, {"a": [1]}])),
                Gives(json!([{"a": 1}, {"a": "x"}, {"a": [1]}])),
            ],
        ),
        case(
            "[{'n': -2**63 - 1}]",
            [
                Says("column `n` of input `t` holds an integer beyond signed 64 bit, in [0]; return it as text"),
                beyond(),
                beyond(),
                Gives(json!([{"n": "-9223372036854775809"}])),
            ],
        ),
        case(
            "[{'f': float('nan')}, {'f': float('-inf')}, {'f': 1.5}]",
            [Gives(json!([{"f": null}, {"f": null}, {"f": 1.5}]))],
        ),
        case(
            "pa.table({'f': [float('nan'), float('inf'), 1e16, None]})",
            [Gives(json!([{"f": null}, {"f": null}, {"f": 1e16}, {"f": null}]))],
        ),
        case(
            "not_text(pa.string(), 'i')",
            [Says("the column `s` of the table cannot be read: Invalid argument error: Invalid UTF8")],
        ),
        case(
            "not_text(pa.large_string(), 'q')",
            [Says("the column `s` of the table cannot be read: Invalid argument error: Invalid UTF8")],
        ),
        case("pa.table({'s': ['x' * 200_000]})", [Says("over the limit of 65536")]),
        case("[{'s': 'x' * 1000}] * 100", [Says("over the limit of 65536")]),
    ]
}

const BEGIN: &str = "\
import struct
import pyarrow as pa

def not_text(kind, offset):
    buffers = [None, pa.py_buffer(struct.pack(f'<3{offset}', 0, 2, 4)), pa.py_buffer(b'ok\\xff\\xfe')]
    return pa.table({'n': [1, 2], 's': pa.Array.from_buffers(kind, 2, buffers)})

def itself(rows):
    # JSON's numbers have no bounds, those of who looks at them have.
    return [{name: str(n) if type(n) is int and abs(n) > 2**63 else n for name, n in row.items()} for row in rows] if type(rows) is list else rows

";

fn script(cases: &[Case]) -> (String, String) {
    let (mut script, mut python) = (String::new(), BEGIN.to_owned());
    for (number, case) in cases.iter().enumerate() {
        python.push_str(&format!("def make{number}():\n    return {}\n\n", case.returns));
        script.push_str(&format!("make{number}:\n    python\n    make{number}\n    tables.py\nmade{number} = | make{number}\nx{number} = made{number}()\n"));
        for taker in TAKERS {
            let step = match taker {
                "python" => "    python\n    itself\n    tables.py\n".to_owned(),
                engine => format!("    {engine}\n    t\n    `SELECT * FROM t`\n"),
            };
            let name = format!("{taker}_{number}");
            script.push_str(&format!("{name}:\n{step}p_{name} = | {name}\np_{name}(x{number})\n"));
        }
    }
    (script, python)
}

fn error<'a>(document: &'a Value, name: &str) -> Option<&'a str> {
    let jobs = document["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["name"] == name).unwrap()["error"]["message"].as_str()
}

#[test]
fn tables_that_are_wrong_or_unusual_come_through_or_are_refused_by_name() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    fleet = fleet.with("BUE_PYTHON", &venv::python()).with("BUE_WORKER_VALUE_BYTES_MAX", "64KiB");
    let cases = cases();
    let (script, python) = script(&cases);
    fleet.write("tables.py", &python);
    fleet.write("x.bue", &script);
    let ended = fleet.bue(&["run", "x.bue", "--json"]).expect(1);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    for (number, case) in cases.iter().enumerate() {
        for (place, taker) in TAKERS.iter().enumerate() {
            let name = format!("{taker}_{number}");
            let who = format!("{taker} of {}", case.returns);
            let result =
                document["results"].as_array().unwrap().iter().find(|result| result["pipe"] == format!("p_{name}"));
            // What is refused at its source does not get here.
            let told = error(&document, &format!("make{number}")).or_else(|| error(&document, &name));
            match case.then.get(place).or(case.then.first()).unwrap() {
                Gives(value) => assert_eq!((told, &result.unwrap()["value"]), (None, value), "{who}"),
                Says(part) => assert!(told.unwrap_or_default().contains(part), "{who}: `{part}` is not in {told:?}"),
            }
        }
    }
    ended.says(&[
        "column `f` of input `t` has NaN, which SQLite keeps as null",
        "column `f` of the result has infinities, which became null",
        "the column `a` has values of different kinds and became JSON",
    ]);
}
