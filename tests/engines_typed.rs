//! Tables of pyarrow, pandas and polars in every engine, and back in every form that a Python step can ask for: the same
//! values, or what `docs/data.md` says of them, or an error by name.

mod fleet;
mod postgres;
mod venv;

use fleet::{Ended, Fleet};
use postgres::Server;
use serde_json::{Value, json};

/// Compares the forms in which a step can have a table.
const FORMS: &str = include_str!("typed/forms.py");
const ENGINES: [&str; 3] = ["sqlite3", "duckdb", "postgres"];

/// A column as Python makes it: a value, and nothing in its second row.
struct Column {
    name: &'static str,
    python: &'static str,
    /// The value in plain records.
    value: Value,
    /// The Arrow type after each engine, where it is another one.
    types: [&'static str; 3],
    /// What an engine makes of the value.
    otherwise: Vec<(&'static str, Value)>,
    /// Forms of the table itself in which Python has another value.
    forms: Value,
}

fn column(name: &'static str, python: &'static str, value: Value, types: [&'static str; 3]) -> Column {
    Column { name, python, value, types, otherwise: Vec::new(), forms: json!({}) }
}

impl Column {
    fn in_engine(mut self, engine: &'static str, value: Value) -> Self {
        self.otherwise.push((engine, value));
        self
    }

    fn in_form(mut self, form: &str, value: &str) -> Self {
        self.forms[form] = value.into();
        self
    }

    fn after(&self, engine: &str) -> Value {
        let other = self.otherwise.iter().find(|(other, _)| *other == engine);
        other.map_or_else(|| self.value.clone(), |(_, value)| value.clone())
    }
}

const VALUES: &str = "\
import datetime, decimal, uuid

DAY = datetime.date(2026, 2, 3)
TIME = datetime.time(1, 2, 3, 400_000)
SECOND = datetime.datetime(2026, 2, 3, 1, 2, 3)
MOMENT = datetime.datetime(2026, 2, 3, 1, 2, 3, 400_000)
UUID = uuid.UUID('6ba7b810-9dad-11d1-80b4-00c04fd430c8')

";

fn of_pyarrow() -> Vec<Column> {
    let json_text = |text: &str| Value::from(text);
    vec![
        column("bool", "pa.array([True, None])", json!(true), ["int64", "bool", "bool"]).in_engine("sqlite3", json!(1)),
        column("int8", "pa.array([-128, None], pa.int8())", json!(-128), ["int64", "int8", "int16"]),
        column("int16", "pa.array([-32768, None], pa.int16())", json!(-32768), ["int64", "int16", "int16"]),
        column("int32", "pa.array([-2**31, None], pa.int32())", json!(i32::MIN), ["int64", "int32", "int32"]),
        column("int64", "pa.array([-2**63, None])", json!(i64::MIN), ["int64", "int64", "int64"]),
        column("uint8", "pa.array([255, None], pa.uint8())", json!(255), ["int64", "uint8", "int16"]),
        column("uint16", "pa.array([65535, None], pa.uint16())", json!(65535), ["int64", "uint16", "int32"]),
        column("uint32", "pa.array([2**32 - 1, None], pa.uint32())", json!(u32::MAX), ["int64", "uint32", "int64"]),
        column(
            "uint64",
            "pa.array([2**63 - 1, None], pa.uint64())",
            json!(i64::MAX),
            ["int64", "uint64", "decimal128(38, 0)"],
        )
        .in_engine("postgres", json!("9223372036854775807")),
        column("float16", "pa.array([0.5, None], pa.float16())", json!(0.5), ["double", "float", "float"]),
        column("float32", "pa.array([0.1, None], pa.float32())", json!(0.1_f32), ["double", "float", "float"]),
        column("float64", "pa.array([0.1, None])", json!(0.1), ["double", "double", "double"]),
        column("string", "pa.array(['ü\"', None])", json!("ü\""), ["string", "string", "string"]),
        column("large_string", "pa.array(['ü', None], pa.large_string())", json!("ü"), ["string", "string", "string"]),
        column("string_view", "pa.array(['ü', None], pa.string_view())", json!("ü"), ["string", "string", "string"]),
        column("dictionary", "pa.array(['ü', None]).dictionary_encode()", json!("ü"), ["string", "string", "string"]),
        column("binary", "pa.array([b'\\0\\xff', None])", json!("AP8="), ["binary", "binary", "binary"]),
        column(
            "large_binary",
            "pa.array([b'\\0\\xff', None], pa.large_binary())",
            json!("AP8="),
            ["binary", "binary", "binary"],
        ),
        column(
            "fixed_binary",
            "pa.array([b'\\0\\xff', None], pa.binary(2))",
            json!("AP8="),
            ["binary", "binary", "binary"],
        ),
        column(
            "uuid",
            "pa.array([UUID.bytes, None], pa.binary(16)).cast(pa.uuid())",
            json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ["string", "string", "string"],
        )
        .in_form("polars", "b'k\\xa7\\xb8\\x10\\x9d\\xad\\x11\\xd1\\x80\\xb4\\x00\\xc0O\\xd40\\xc8'"),
        column("date32", "pa.array([DAY, None])", json!("2026-02-03"), ["string", "date32[day]", "date32[day]"]),
        column(
            "date64",
            "pa.array([DAY, None], pa.date64())",
            json!("2026-02-03"),
            ["string", "date32[day]", "date32[day]"],
        ),
        column(
            "time_s",
            "pa.array([TIME.replace(microsecond=0), None], pa.time32('s'))",
            json!("01:02:03"),
            ["string", "time64[us]", "time64[us]"],
        ),
        column(
            "time_ms",
            "pa.array([TIME, None], pa.time32('ms'))",
            json!("01:02:03.400000"),
            ["string", "time64[us]", "time64[us]"],
        ),
        column(
            "time_us",
            "pa.array([TIME, None], pa.time64('us'))",
            json!("01:02:03.400000"),
            ["string", "time64[us]", "time64[us]"],
        ),
        column(
            "time_ns",
            "pa.array([TIME, None], pa.time64('ns'))",
            json!("01:02:03.400000"),
            ["string", "time64[us]", "time64[us]"],
        ),
        column(
            "timestamp_s",
            "pa.array([SECOND, None], pa.timestamp('s'))",
            json!("2026-02-03T01:02:03"),
            ["string", "timestamp[s]", "timestamp[us]"],
        ),
        column(
            "timestamp_ms",
            "pa.array([MOMENT, None], pa.timestamp('ms'))",
            json!("2026-02-03T01:02:03.400000"),
            ["string", "timestamp[ms]", "timestamp[us]"],
        ),
        column(
            "timestamp_us",
            "pa.array([MOMENT, None], pa.timestamp('us'))",
            json!("2026-02-03T01:02:03.400000"),
            ["string", "timestamp[us]", "timestamp[us]"],
        ),
        column(
            "timestamp_ns",
            "pa.array([1, None], pa.timestamp('ns'))",
            json!("1970-01-01T00:00:00.000000001"),
            ["string", "timestamp[ns]", "timestamp[us]"],
        )
        .in_engine("postgres", json!("1970-01-01T00:00:00")),
        column(
            "zone_s",
            "pa.array([SECOND, None], pa.timestamp('s', 'UTC'))",
            json!("2026-02-03T01:02:03+00:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        ),
        column(
            "zone_ms",
            "pa.array([MOMENT, None], pa.timestamp('ms', 'Europe/Berlin'))",
            json!("2026-02-03T01:02:03.400000+00:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        ),
        column(
            "zone_us",
            "pa.array([MOMENT, None], pa.timestamp('us', '+02:00'))",
            json!("2026-02-03T03:02:03.400000+02:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        )
        .in_engine("duckdb", json!("2026-02-03T01:02:03.400000+00:00"))
        .in_engine("postgres", json!("2026-02-03T01:02:03.400000+00:00")),
        column(
            "zone_ns",
            "pa.array([1_001, None], pa.timestamp('ns', 'UTC'))",
            json!("1970-01-01T00:00:00.000001001+00:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        )
        .in_engine("duckdb", json!("1970-01-01T00:00:00.000001+00:00"))
        .in_engine("postgres", json!("1970-01-01T00:00:00.000001+00:00")),
        column(
            "decimal32",
            "pa.array([decimal.Decimal('-1.50'), None], pa.decimal32(5, 2))",
            json!("-1.50"),
            ["string", "decimal128(5, 2)", "decimal128(5, 2)"],
        ),
        column(
            "decimal64",
            "pa.array([decimal.Decimal('-1.50'), None], pa.decimal64(12, 2))",
            json!("-1.50"),
            ["string", "decimal128(12, 2)", "decimal128(12, 2)"],
        ),
        column(
            "decimal128",
            "pa.array([decimal.Decimal('12345678901234567890.0000000001'), None], pa.decimal128(38, 10))",
            json!("12345678901234567890.0000000001"),
            ["string", "decimal128(38, 10)", "decimal128(38, 10)"],
        ),
        column(
            "list",
            "pa.array([[1, None], None], pa.list_(pa.int32()))",
            json!([1, null]),
            ["string", "list<l: int32>", "list<item: int32>"],
        )
        .in_engine("sqlite3", json_text("[1,null]")),
        column(
            "large_list",
            "pa.array([['a', None], None], pa.large_list(pa.string()))",
            json!(["a", null]),
            ["string", "list<l: string>", "list<item: string>"],
        )
        .in_engine("sqlite3", json_text("[\"a\",null]")),
        column(
            "fixed_list",
            "pa.array([[1, 2], None], pa.list_(pa.int64(), 2))",
            json!([1, 2]),
            ["string", "fixed_size_list<: int64>[2]", "list<item: int64>"],
        )
        .in_engine("sqlite3", json_text("[1,2]")),
        column(
            "lists",
            "pa.array([[[2**53 + 1, None]], None])",
            json!([[9007199254740993_i64, null]]),
            ["string", "list<l: list<l: int64>>", "extension<arrow.json>"],
        )
        .in_engine("sqlite3", json_text("[[9007199254740993,null]]")),
        column(
            "struct",
            "pa.array([{'i': 2**53 + 1, 'm': MOMENT, 'n': None}, None])",
            json!({"i": 9007199254740993_i64, "m": "2026-02-03T01:02:03.400000", "n": null}),
            ["string", "struct<i: int64, m: timestamp[us], n: string>", "extension<arrow.json>"],
        )
        .in_engine("sqlite3", json_text("{\"i\":9007199254740993,\"m\":\"2026-02-03T01:02:03.400000\",\"n\":null}")),
        column(
            "map",
            "pa.array([[('k', 1), ('z', None)], None], pa.map_(pa.string(), pa.int64()))",
            json!({"k": 1, "z": null}),
            ["string", "map<string, int64>", "extension<arrow.json>"],
        )
        .in_engine("sqlite3", json_text("{\"k\":1,\"z\":null}")),
        column("null", "pa.nulls(2)", json!(null), ["null", "string", "string"]),
    ]
}

fn of_pandas() -> Vec<Column> {
    let large = 2_i64.pow(53) + 1;
    vec![
        column("int64", "pandas.array([2**53 + 1, None], dtype='Int64')", json!(large), ["int64", "int64", "int64"]),
        column("uint8", "pandas.array([255, None], dtype='UInt8')", json!(255), ["int64", "uint8", "int16"]),
        column("boolean", "pandas.array([True, None], dtype='boolean')", json!(true), ["int64", "bool", "bool"])
            .in_engine("sqlite3", json!(1)),
        column(
            "float32",
            "numpy.array([0.1, numpy.nan], dtype='float32')",
            json!(0.1_f32),
            ["double", "float", "float"],
        ),
        column("float64", "[0.1, float('nan')]", json!(0.1), ["double", "double", "double"]),
        column("text", "['ü', None]", json!("ü"), ["string", "string", "string"]),
        column("objects", "pandas.Series(['ü', pandas.NA], dtype=object)", json!("ü"), ["string", "string", "string"]),
        column("category", "pandas.Categorical(['ü', None])", json!("ü"), ["string", "string", "string"]),
        column(
            "numbers_by_category",
            "pandas.Categorical([2**53 + 1, None])",
            json!(large),
            ["int64", "int64", "int64"],
        ),
        column(
            "moment",
            "pandas.to_datetime([MOMENT, None])",
            json!("2026-02-03T01:02:03.400000"),
            ["string", "timestamp[us]", "timestamp[us]"],
        ),
        column(
            "nanosecond",
            "pandas.Series([pandas.Timestamp(1, unit='ns'), pandas.NaT], dtype=object)",
            json!("1970-01-01T00:00:00.000000001"),
            ["string", "timestamp[ns]", "timestamp[us]"],
        )
        .in_engine("postgres", json!("1970-01-01T00:00:00")),
        column(
            "in_berlin",
            "pandas.to_datetime([MOMENT, None]).tz_localize('Europe/Berlin')",
            json!("2026-02-03T00:02:03.400000+00:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        ),
        column("day", "[DAY, None]", json!("2026-02-03"), ["string", "date32[day]", "date32[day]"]),
        column("time", "[TIME, None]", json!("01:02:03.400000"), ["string", "time64[us]", "time64[us]"]),
        column(
            "decimal",
            "[decimal.Decimal('-1.50'), None]",
            json!("-1.50"),
            ["string", "decimal128(3, 2)", "decimal128(3, 2)"],
        ),
        column("bytes", "[b'\\0\\xff', None]", json!("AP8="), ["binary", "binary", "binary"]),
        column("uuid", "[UUID, None]", json!("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), ["string", "string", "string"])
            .in_form("polars", "b'k\\xa7\\xb8\\x10\\x9d\\xad\\x11\\xd1\\x80\\xb4\\x00\\xc0O\\xd40\\xc8'"),
        column(
            "list",
            "[[2**53 + 1, None], None]",
            json!([large, null]),
            ["string", "list<l: int64>", "list<item: int64>"],
        )
        .in_engine("sqlite3", json!("[9007199254740993,null]")),
        column(
            "dict",
            "[{'a': 2**53 + 1, 'b': None}, None]",
            json!({"a": large, "b": null}),
            ["string", "struct<a: int64, b: string>", "extension<arrow.json>"],
        )
        .in_engine("sqlite3", json!("{\"a\":9007199254740993,\"b\":null}")),
        column("nothing", "[None, None]", json!(null), ["null", "string", "string"]),
    ]
}

fn of_polars() -> Vec<Column> {
    let large = 2_i64.pow(53) + 1;
    vec![
        column("int8", "polars.Series([-128, None], dtype=polars.Int8)", json!(-128), ["int64", "int8", "int16"]),
        column("int64", "[2**53 + 1, None]", json!(large), ["int64", "int64", "int64"]),
        column(
            "uint64",
            "polars.Series([2**63 - 1, None], dtype=polars.UInt64)",
            json!(i64::MAX),
            ["int64", "uint64", "decimal128(38, 0)"],
        )
        .in_engine("postgres", json!("9223372036854775807")),
        column("bool", "[True, None]", json!(true), ["int64", "bool", "bool"]).in_engine("sqlite3", json!(1)),
        column(
            "float32",
            "polars.Series([0.1, None], dtype=polars.Float32)",
            json!(0.1_f32),
            ["double", "float", "float"],
        ),
        column("float64", "[0.1, None]", json!(0.1), ["double", "double", "double"]),
        column("text", "['ü', None]", json!("ü"), ["string", "string", "string"]),
        column(
            "categorical",
            "polars.Series(['ü', None], dtype=polars.Categorical)",
            json!("ü"),
            ["string", "string", "string"],
        ),
        column(
            "enum",
            "polars.Series(['ü', None], dtype=polars.Enum(['a', 'ü']))",
            json!("ü"),
            ["string", "string", "string"],
        ),
        column("binary", "[b'\\0\\xff', None]", json!("AP8="), ["binary", "binary", "binary"]),
        column("day", "[DAY, None]", json!("2026-02-03"), ["string", "date32[day]", "date32[day]"]),
        column("time", "[TIME, None]", json!("01:02:03.400000"), ["string", "time64[us]", "time64[us]"]),
        column(
            "moment",
            "[MOMENT, None]",
            json!("2026-02-03T01:02:03.400000"),
            ["string", "timestamp[us]", "timestamp[us]"],
        ),
        column(
            "milliseconds",
            "polars.Series([MOMENT, None], dtype=polars.Datetime('ms'))",
            json!("2026-02-03T01:02:03.400000"),
            ["string", "timestamp[ms]", "timestamp[us]"],
        ),
        column(
            "in_berlin",
            "polars.Series([MOMENT, None]).dt.replace_time_zone('Europe/Berlin')",
            json!("2026-02-03T00:02:03.400000+00:00"),
            ["string", "timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]"],
        ),
        column(
            "decimal",
            "polars.Series([decimal.Decimal('-1.50'), None], dtype=polars.Decimal(10, 2))",
            json!("-1.50"),
            ["string", "decimal128(10, 2)", "decimal128(10, 2)"],
        ),
        column(
            "list",
            "[[2**53 + 1, None], None]",
            json!([large, null]),
            ["string", "list<l: int64>", "list<item: int64>"],
        )
        .in_engine("sqlite3", json!("[9007199254740993,null]")),
        column(
            "array",
            "polars.Series([[1, 2], None], dtype=polars.Array(polars.Int64, 2))",
            json!([1, 2]),
            ["string", "fixed_size_list<: int64>[2]", "list<item: int64>"],
        )
        .in_engine("sqlite3", json!("[1,2]")),
        column(
            "struct",
            "[{'a': 2**53 + 1, 'b': 'x'}, None]",
            json!({"a": large, "b": "x"}),
            ["string", "struct<a: int64, b: string>", "extension<arrow.json>"],
        )
        .in_engine("sqlite3", json!("{\"a\":9007199254740993,\"b\":\"x\"}")),
        column("nothing", "[None, None]", json!(null), ["null", "string", "string"]),
    ]
}

fn python_step(name: &str, function: &str, file: &str) -> String {
    format!("{name}:\n    python\n    {function}\n    {file}\n\n")
}

fn sql_step(name: &str, engine: &str) -> String {
    format!("{name}:\n    {engine}\n    t\n    `SELECT * FROM t`\n\n")
}

/// A function that returns a table of these columns.
fn source(name: &str, table: &str, columns: &[Column]) -> String {
    let columns: Vec<String> =
        columns.iter().map(|column| format!("        '{}': {},\n", column.name, column.python)).collect();
    format!("def {name}():\n    return {table}({{\n{}    }})\n\n", columns.concat())
}

/// The table itself and what each engine makes of it, each in all forms.
fn matrix(source: &str) -> String {
    let mut script = format!(
        "made_{source} = | {source}\nfor row in made_{source}():\n    kept(row)\nx_{source} = made_{source}()\nlook(x_{source}, x_{source}, x_{source}, x_{source})\n"
    );
    for engine in ENGINES {
        let name = format!("{source}_{engine}");
        script.push_str(&format!("through_{name} = | {engine}\nx_{name} = through_{name}(x_{source})\nlook(x_{name}, x_{name}, x_{name}, x_{name})\n"));
    }
    script
}

fn run(fleet: &mut Fleet, script: &str) -> Ended {
    fleet.write("x.bue", script);
    fleet.write("forms.py", FORMS);
    fleet.bue(&["run", "x.bue", "--json"])
}

/// The error of the job of a run that has this name.
fn error(document: &Value, name: &str) -> Option<String> {
    let jobs = document["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == name).unwrap();
    job["error"]["message"].as_str().map(str::to_owned)
}

#[test]
fn every_type_of_pyarrow_pandas_and_polars_comes_through_every_engine_and_back_in_every_form() {
    let sources = [
        ("of_pyarrow", "pa.table", of_pyarrow()),
        ("of_pandas", "pandas.DataFrame", of_pandas()),
        ("of_polars", "polars.DataFrame", of_polars()),
    ];
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_PYTHON", &venv::python());
    let mut script = python_step("compare", "compare", "forms.py") + &python_step("keep", "keep", "forms.py");
    ENGINES.iter().for_each(|engine| script.push_str(&sql_step(engine, engine)));
    let mut python = "import numpy, pandas, polars, pyarrow as pa\n".to_owned() + VALUES;
    for (name, table, columns) in &sources {
        python.push_str(&source(name, table, columns));
        script.push_str(&python_step(name, name, "sources.py"));
    }
    script.push_str("look = | compare\nkept = | keep\n");
    sources.iter().for_each(|(name, ..)| script.push_str(&matrix(name)));
    fleet.write("sources.py", &python);
    let ended = run(&mut fleet, &script).expect(0);
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let results = document["results"].as_array().unwrap();
    let of_pipe = |pipe: &str| -> Vec<Value> {
        results.iter().filter(|result| result["pipe"] == pipe).map(|result| result["value"].clone()).collect()
    };
    let (looks, rows) = (of_pipe("look"), of_pipe("kept"));
    assert_eq!((looks.len(), rows.len()), (sources.len() * 4, sources.len() * 2));
    for (place, (name, _, columns)) in sources.iter().enumerate() {
        check(name, columns, &looks[place * 4..][..4], &rows[place * 2]);
    }
    ended.says(&[
        "column `timestamp_ns` of input `t` has nanoseconds; PostgreSQL keeps microseconds",
        "column `zone_ns` of input `t` has nanoseconds; DuckDB keeps microseconds",
    ]);
}

/// `looks` are at the table itself and at what each engine made of it; `row` is its first row by itself, as in a loop.
fn check(source: &str, columns: &[Column], looks: &[Value], row: &Value) {
    for (place, column) in columns.iter().enumerate() {
        let name = column.name;
        let kind = &looks[0][place][1];
        assert_eq!(looks[0][place], json!([name, kind, column.value, column.forms]), "{source}");
        assert_eq!(row[name], column.value, "a row of {source}, `{name}`");
        for (engine, (look, kind)) in ENGINES.iter().zip(looks[1..].iter().zip(column.types)) {
            assert_eq!(look[place], json!([name, kind, column.after(engine), {}]), "{source} through {engine}");
        }
    }
}

/// Steps that ask for a table in one form.
const TAKERS: &str = "\
def in_rows(rows): return len(rows)
def in_pandas(frame: 'pandas.DataFrame'): return len(frame)
def in_polars(frame: 'polars.DataFrame'): return len(frame)
";

/// A table, who takes it (an engine, or a function of a step), and what the error says.
type Refusal = (&'static str, &'static str, &'static [&'static str]);

const REFUSALS: &[Refusal] = &[
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "sqlite3", &["`x` has the type Duration"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "duckdb", &["`x` of the result", "Interval", "cast it"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "postgres", &["`x` of the result", "interval", "cast it"]),
    ("pa.table({'x': pa.array([1], pa.duration('s'))})", "in_rows", &["`x` holds durations", "convert it"]),
    ("pa.table({'x': pa.array([2**64 - 1], pa.uint64())})", "sqlite3", &["`x` of input `t`", "beyond 64 bit, in [0]"]),
    (
        "pa.table({'x': pa.array([decimal.Decimal(1)], pa.decimal256(50, 0))})",
        "duckdb",
        &["`x` has the Arrow type Decimal256", "no type for"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(1)], pa.decimal256(50, 0))})",
        "in_polars",
        &["`frame` cannot be read", "Int256"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(100)], pa.decimal128(38, -2))})",
        "duckdb",
        &["`x` has the Arrow type Decimal128(38, -2)"],
    ),
    (
        "pa.table({'x': pa.array([decimal.Decimal(100)], pa.decimal128(5, -2))})",
        "in_polars",
        &["`frame` cannot be read"],
    ),
    ("pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})", "sqlite3", &["`x` has the type Interval"]),
    (
        "pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})",
        "duckdb",
        &["`x` of the result", "Interval", "cast it"],
    ),
    (
        "pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})",
        "postgres",
        &["`x` has the Arrow type Interval"],
    ),
    ("pa.table({'x': pa.array([(1, 2, 3)], pa.month_day_nano_interval())})", "in_rows", &["`x` holds intervals"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "sqlite3", &["`x` has the type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "duckdb", &["`x` has the Arrow type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "postgres", &["`x` has the Arrow type ListView"]),
    ("pa.table({'x': pa.array([[1]], pa.list_view(pa.int32()))})", "in_polars", &["`frame` cannot be read"]),
    ("pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})", "sqlite3", &["`x` has the type Map"]),
    ("pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})", "postgres", &["`x` has the type Map"]),
    (
        "pa.table({'x': pa.array([[(1, 2)]], pa.map_(pa.int32(), pa.int32()))})",
        "in_rows",
        &["`x` holds maps whose keys are no text"],
    ),
    (
        "pa.table({'x': pa.array([2**45], pa.timestamp('s'))})",
        "postgres",
        &["`x` holds a date or time beyond PostgreSQL's calendar, in [0]"],
    ),
    (
        "pa.table({'x': pa.array([2**45], pa.timestamp('s'))})",
        "in_rows",
        &["`x` holds a date or time outside of the calendar"],
    ),
    ("pa.table({'x': pa.array([1_001], pa.time64('ns'))})", "in_pandas", &["`frame` cannot be read", "nanoseconds"]),
    (
        "pa.table({'x': pa.array([MOMENT], pa.timestamp('us', '-03:30'))})",
        "in_polars",
        &["`frame` cannot be read", "time zone"],
    ),
    ("pa.table({'x': ['a\\0b']})", "postgres", &["`x` holds text with a NUL character", "in [0]"]),
    (
        "pandas.DataFrame({'x': pandas.period_range('2026-01', periods=1, freq='M')})",
        "in_rows",
        &["`x` of the returned table has the type period[M]", "astype(str)"],
    ),
    ("pandas.DataFrame({'x': [1j]})", "in_rows", &["[0].x is a complex"]),
    ("pandas.DataFrame({'x': [2**70]})", "sqlite3", &["`x` of input `t`", "beyond 64 bit, in [0]"]),
    ("pandas.DataFrame({'x': [b'a', 'b']})", "in_rows", &["[0].x is a bytes"]),
    (
        "pandas.DataFrame([[1, 2]], columns=['x', 'x'])",
        "in_rows",
        &["two columns of the returned table have the same name, `x`"],
    ),
    (
        "polars.DataFrame({'x': polars.Series([object()], dtype=polars.Object)})",
        "in_rows",
        &["`x` of the returned table has the type Object"],
    ),
    (
        "polars.DataFrame({'x': [[2**70]]}, schema={'x': polars.List(polars.Int128)})",
        "in_rows",
        &["`x` of the returned table has the type Int128", "cast it"],
    ),
];

#[test]
fn what_some_reader_has_no_form_for_is_refused_by_its_column() {
    let server = Server::shared();
    let mut fleet = server.fleet(&server.database()).with("BUE_PYTHON", &venv::python());
    let (mut script, mut python) = (String::new(), VALUES.to_owned());
    fleet.write("takers.py", TAKERS);
    let mut tables: Vec<&str> = REFUSALS.iter().map(|(table, ..)| *table).collect();
    tables.dedup();
    let maker = |table: &str| format!("make{}", tables.iter().position(|other| *other == table).unwrap());
    for table in &tables {
        let import = match table.split_once('.') {
            Some(("pa", _)) => "import pyarrow as pa",
            Some(("pandas", _)) => "import pandas",
            _ => "import polars",
        };
        let name = maker(table);
        python.push_str(&format!("def {name}():\n    {import}\n    return {table}\n\n"));
        let step = python_step(&name, &name, "sources.py");
        script.push_str(&format!("{step}made_{name} = | {name}\nx_{name} = made_{name}()\n"));
    }
    for (number, (table, taker, _)) in REFUSALS.iter().enumerate() {
        script.push_str(&match ENGINES.contains(taker) {
            true => sql_step(&format!("take{number}"), taker),
            false => python_step(&format!("take{number}"), taker, "takers.py"),
        });
        script.push_str(&format!("p{number} = | take{number}\np{number}(x_{})\n", maker(table)));
    }
    fleet.write("sources.py", &python);
    let document: Value = serde_json::from_str(&run(&mut fleet, &script).expect(1).stdout).unwrap();
    for (number, (table, taker, parts)) in REFUSALS.iter().enumerate() {
        let told = error(&document, &maker(table)).or_else(|| error(&document, &format!("take{number}")));
        let told = told.unwrap_or_else(|| panic!("{taker} took {table}"));
        parts.iter().for_each(|part| assert!(told.contains(part), "{taker} of {table}: `{part}` is not in\n{told}"));
    }
    // What has no form as JSON does not keep the other results from being shown.
    let durations = &document["results"][0];
    assert_eq!((&durations["pipe"], &durations["status"]), (&json!("made_make0"), &json!("success")));
    let told = durations["value_error"].as_str().unwrap();
    assert!(durations["value"].is_null() && told.contains("`x` has the type Duration"), "{durations}");
}
