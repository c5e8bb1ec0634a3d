//! Every type of one engine in every other: what `docs/data.md` says of them.

mod fleet;
mod postgres;

use fleet::Fleet;
use postgres::Server;
use serde_json::{Map, Value, json};

const ENGINES: [&str; 3] = ["sqlite3", "duckdb", "postgres"];

const PYTHON: &str = "def source():\n    return [{'i': 2**53 + 1, 'f': 0.1, 'b': True, 's': 'ü', 'n': None, 'l': [1, {'k': None}], 'd': '2026-02-03'}]\n";

/// For each source its language, its code, what it gives, and where another engine gives something else.
struct Source {
    language: &'static str,
    code: &'static str,
    value: Value,
    otherwise: Vec<(&'static str, Value)>,
}

fn sources() -> Vec<Source> {
    vec![
        Source {
            language: "python",
            code: "",
            value: json!({"i": 9007199254740993_i64, "f": 0.1, "b": true, "s": "ü", "n": null, "l": [1, {"k": null}],
                "d": "2026-02-03"}),
            otherwise: vec![("sqlite3", json!({"b": 1, "l": "[1,{\"k\":null}]"}))],
        },
        Source {
            language: "sqlite3",
            code: "SELECT 9223372036854775807 AS i, 0.1 AS f, 'ü' AS s, x'00ff' AS x, NULL AS n",
            value: json!({"i": 9223372036854775807_i64, "f": 0.1, "s": "ü", "x": "AP8=", "n": null}),
            otherwise: vec![],
        },
        Source {
            language: "duckdb",
            code: "SELECT 1::TINYINT AS i1, 4294967295::UINTEGER AS u4, 9223372036854775807 AS i8, 0.5::FLOAT AS f4, \
                   0.1::DOUBLE AS f8, 1.250::DECIMAL(9, 3) AS dec, true AS b, 'ü' AS s, '\\x00\\xFF'::BLOB AS x, \
                   DATE '2026-02-03' AS d, TIME '01:02:03.000004' AS t, TIMESTAMP '2026-02-03 01:02:03.5' AS ts, \
                   '2026-02-03 01:02:03+02'::TIMESTAMPTZ AS tz, [1, NULL] AS l, {'a': [DATE '2026-02-03']} AS st, \
                   '{\"k\": [1]}'::JSON AS j, NULL::INTEGER AS n",
            value: json!({"i1": 1, "u4": 4294967295_u32, "i8": 9223372036854775807_i64, "f4": 0.5, "f8": 0.1,
                "dec": "1.250", "b": true, "s": "ü", "x": "AP8=", "d": "2026-02-03", "t": "01:02:03.000004",
                "ts": "2026-02-03T01:02:03.500000", "tz": "2026-02-02T23:02:03+00:00", "l": [1, null],
                "st": {"a": ["2026-02-03"]}, "j": {"k": [1]}, "n": null}),
            otherwise: vec![(
                "sqlite3",
                json!({"b": 1, "l": "[1,null]", "st": "{\"a\":[\"2026-02-03\"]}", "j": "{\"k\": [1]}"}),
            )],
        },
        Source {
            language: "postgres",
            code: "SELECT 1::int2 AS i2, 2::int4 AS i4, 9223372036854775807 AS i8, 0.5::float4 AS f4, 0.1::float8 AS f8, \
                   1.250::numeric(9, 3) AS dec, sum(12345678901234567890.5) AS wide, true AS b, 'ü' AS s, \
                   '\\x00ff'::bytea AS x, '2026-02-03'::date AS d, '01:02:03.000004'::time AS t, \
                   '2026-02-03 01:02:03.5'::timestamp AS ts, '2026-02-03 01:02:03+02'::timestamptz AS tz, \
                   '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid AS u, '{1,NULL}'::int[] AS l, '{\"k\": [1]}'::jsonb AS j, \
                   NULL::int AS n",
            value: json!({"i2": 1, "i4": 2, "i8": 9223372036854775807_i64, "f4": 0.5, "f8": 0.1, "dec": "1.250",
                "wide": "12345678901234567890.5", "b": true, "s": "ü", "x": "AP8=", "d": "2026-02-03",
                "t": "01:02:03.000004", "ts": "2026-02-03T01:02:03.500000", "tz": "2026-02-02T23:02:03+00:00",
                "u": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "l": [1, null], "j": {"k": [1]}, "n": null}),
            otherwise: vec![("sqlite3", json!({"b": 1, "l": "[1,null]", "j": "{\"k\": [1]}"}))],
        },
    ]
}

fn step(name: &str, language: &str, table: &str, code: &str) -> String {
    format!("{name}:\n    {language}\n    {table}\n    `\n{code}\n`\n")
}

/// One pipe from the source alone, and one through each engine.
fn script(source: &Source) -> String {
    let mut script = match source.language {
        "python" => "source:\n    python\n    source\n    source.py\n".to_owned(),
        language => step("source", language, "nothing", source.code),
    };
    for engine in ENGINES {
        script.push_str(&step(engine, engine, "t", "SELECT * FROM t"));
    }
    script.push_str("alone = | source\nalone()\n");
    for engine in ENGINES {
        script.push_str(&format!("through_{engine} = source | {engine}\nthrough_{engine}()\n"));
    }
    script
}

fn run(fleet: &mut Fleet, script: &str) -> Value {
    fleet.write("source.py", PYTHON);
    fleet.write("x.bue", script);
    serde_json::from_str(&fleet.bue(&["run", "x.bue", "--json"]).expect(0).stdout).unwrap()
}

fn with(value: &Value, other: Option<&Value>) -> Value {
    let mut merged: Map<String, Value> = value.as_object().unwrap().clone();
    merged.extend(other.map_or_else(Map::new, |other| other.as_object().unwrap().clone()));
    Value::Object(merged)
}

#[test]
fn every_type_of_every_engine_comes_through_every_other() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    for source in sources() {
        let document = run(&mut fleet, &script(&source));
        let value = |place: usize| document["results"][place]["value"][0].clone();
        assert_eq!(value(0), source.value, "{} alone", source.language);
        for (place, engine) in ENGINES.iter().enumerate() {
            let otherwise = source.otherwise.iter().find(|(other, _)| other == engine).map(|(_, value)| value);
            assert_eq!(value(place + 1), with(&source.value, otherwise), "from {} through {engine}", source.language);
        }
    }
}

#[test]
fn what_an_engine_cannot_hold_fails_or_is_told_in_the_log() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database());
    let whole = step("source", "duckdb", "nothing", "SELECT 18446744073709551615::UBIGINT AS u");
    let into = |language: &str| step("into", language, "t", "SELECT * FROM t");
    let pipe = "p = source | into\np()\n";
    fleet.write("x.bue", &format!("{whole}{}{pipe}", into("sqlite3")));
    let ended = fleet.bue(&["run", "x.bue"]).expect(1);
    ended.says(&["column `u` of input `t` holds an integer beyond signed 64 bit, in [0]; return it as text"]);
    let document = run(&mut fleet, &format!("{whole}{}{pipe}", into("postgres")));
    assert_eq!(document["results"][0]["value"], json!([{"u": "18446744073709551615"}]));
}
