//! The columns that go through the engines, library by library: how Python makes each, and what must come of it.

use serde_json::{Value, json};

/// A column as Python makes it: a value, and nothing in its second row.
pub struct Column {
    pub name: &'static str,
    pub python: &'static str,
    /// The value in plain records.
    pub value: Value,
    /// The Arrow type after each engine, where it is another one.
    pub types: [&'static str; 3],
    /// What an engine makes of the value.
    otherwise: Vec<(&'static str, Value)>,
    /// Forms of the table itself in which Python has another value.
    pub forms: Value,
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

    pub fn after(&self, engine: &str) -> Value {
        let other = self.otherwise.iter().find(|(other, _)| *other == engine);
        other.map_or_else(|| self.value.clone(), |(_, value)| value.clone())
    }
}

/// What the columns' Python is written with.
pub const VALUES: &str = "\
import datetime, decimal, uuid

DAY = datetime.date(2026, 2, 3)
TIME = datetime.time(1, 2, 3, 400_000)
SECOND = datetime.datetime(2026, 2, 3, 1, 2, 3)
MOMENT = datetime.datetime(2026, 2, 3, 1, 2, 3, 400_000)
UUID = uuid.UUID('6ba7b810-9dad-11d1-80b4-00c04fd430c8')

";

pub fn of_pyarrow() -> Vec<Column> {
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

pub fn of_pandas() -> Vec<Column> {
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

pub fn of_polars() -> Vec<Column> {
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
