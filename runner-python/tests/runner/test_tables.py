"""Tables of other libraries, and streams of other writers."""

import datetime
import decimal
import json
import struct
import sys
import uuid

import numpy
import pandas
import polars
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pytest

from buelon.runner import arrow_read, decode, encode, foreign
from buelon.runner.failures import Failure


def encoded(value, folder):
    return encode.encode(value, str(folder), 1_000, 10**9)


def read_back(value, folder):
    output = encoded(value, folder)
    assert output["place"] == {"arrow_file": "value.arrow"}
    return arrow_read.read(str(folder / "value.arrow")), output


def write(folder, table):
    place = str(folder / "value.arrow")
    with pyarrow.OSFile(place, "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write(table)


def test_other_readers_accept_what_is_written(tmp_path):
    value = [{"n": i if i % 3 else None, "s": f"ü{i}", "f": i / 3, "b": i % 2 == 0, "z": None} for i in range(20_000)]
    encoded(value, tmp_path)
    table = pyarrow.ipc.open_stream(tmp_path / "value.arrow").read_all()
    table.validate(full=True)
    assert table.to_pylist() == value


def test_what_other_writers_write_is_read_as_plain_values(tmp_path):
    moment = datetime.datetime(1969, 12, 31, 23, 59, 59, 250_000)
    columns = {
        "small": (pyarrow.int8(), [-1, None]),
        "large": (pyarrow.uint64(), [2**64 - 1, 0]),
        "float": (pyarrow.float32(), [0.5, float("nan")]),
        "text": (pyarrow.large_string(), ["ü", None]),
        "bytes": (pyarrow.binary(), [b"\0\xff", None]),
        "day": (pyarrow.date32(), [moment.date(), None]),
        "moment": (pyarrow.timestamp("ms"), [moment, None]),
        "nano": (pyarrow.timestamp("ns", tz="UTC"), [1, None]),
        "clock": (pyarrow.time64("us"), [moment.time(), None]),
        "money": (pyarrow.decimal128(10, 2), [decimal.Decimal("-1.50"), None]),
        "list": (pyarrow.list_(pyarrow.int32()), [[1, None], None]),
        "dict": (pyarrow.struct([("a", pyarrow.bool_()), ("b", pyarrow.string())]), [{"a": True, "b": None}, None]),
        "nothing": (pyarrow.null(), [None, None]),
    }
    arrays = [pyarrow.array(values, type=kind) for kind, values in columns.values()]
    rows, output = read_back(pyarrow.table(arrays, names=list(columns)), tmp_path)
    assert output["length"] == 2
    assert rows[0] == {
        "small": -1,
        "large": 2**64 - 1,
        "float": 0.5,
        "text": "ü",
        "bytes": "AP8=",
        "day": "1969-12-31",
        "moment": "1969-12-31T23:59:59.250000",
        "nano": "1970-01-01T00:00:00.000000001+00:00",
        "clock": "23:59:59.250000",
        "money": "-1.50",
        "list": [1, None],
        "dict": {"a": True, "b": None},
        "nothing": None,
    }
    assert [rows[1][name] for name in columns if name != "large"] == [None] * 12


def test_text_marked_as_json_is_nested_again(tmp_path):
    field = pyarrow.field("tags", pyarrow.string(), metadata={"ARROW:extension:name": "arrow.json"})
    table = pyarrow.table([['["a"]', None, "{broken", "NaN", ""]], schema=pyarrow.schema([field]))
    write(tmp_path, table)
    assert [row["tags"] for row in arrow_read.read(str(tmp_path / "value.arrow"))] == [
        ["a"],
        None,
        "{broken",
        "NaN",
        "",
    ]


MOMENT = datetime.datetime(2026, 2, 3, 1, 2, 3, 400_000)
UUID = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
PLAIN = {
    "zone": (
        pyarrow.array([MOMENT, None], pyarrow.timestamp("us", "Europe/Berlin")),
        "2026-02-03T01:02:03.400000+00:00",
    ),
    "offset": (pyarrow.array([MOMENT, None], pyarrow.timestamp("ms", "-03:30")), "2026-02-02T21:32:03.400000-03:30"),
    "decimal": (pyarrow.array([decimal.Decimal("0E-10"), None], pyarrow.decimal128(20, 10)), "0.0000000000"),
    "hundreds": (pyarrow.array([decimal.Decimal("12300"), None], pyarrow.decimal128(5, -2)), "12300"),
    "bytes": (pyarrow.array([b"\0\xff", None], pyarrow.binary(2)), "AP8="),
    "uuid": (pyarrow.array([UUID.bytes, None], pyarrow.binary(16)).cast(pyarrow.uuid()), str(UUID)),
    "half": (pyarrow.array([0.5, None], pyarrow.float16()), 0.5),
    "map": (
        pyarrow.array([[("k", 1), ("z", None)], None], pyarrow.map_(pyarrow.string(), pyarrow.int8())),
        {"k": 1, "z": None},
    ),
}


@pytest.mark.parametrize("is_left_to_pyarrow", [False, True])
def test_a_table_looks_the_same_whoever_reads_it(tmp_path, is_left_to_pyarrow):
    columns = {name: array for name, (array, _) in PLAIN.items()}
    first, second = {name: value for name, (_, value) in PLAIN.items()}, dict.fromkeys(PLAIN)
    if is_left_to_pyarrow:
        columns["kind"] = pyarrow.array(["a", None]).dictionary_encode()
        first["kind"], second["kind"] = "a", None
    rows, _ = read_back(pyarrow.table(columns), tmp_path)
    assert rows == [first, second]


@pytest.mark.parametrize(
    "array, values",
    [
        (pyarrow.array(["a", None]).dictionary_encode(), ["a", None]),
        (pyarrow.array([2**53 + 1, None]).dictionary_encode(), [2**53 + 1, None]),
        (pyarrow.array([b"a", None]).dictionary_encode(), ["YQ==", None]),
        (pyarrow.array(["a", None], pyarrow.string_view()), ["a", None]),
        (pyarrow.array([b"a", None], pyarrow.binary_view()), ["YQ==", None]),
        (pyarrow.array([[1, None], None], pyarrow.list_view(pyarrow.int8())), [[1, None], None]),
        (pyarrow.array([[1], None, [2, 3]], pyarrow.large_list_view(pyarrow.int8())), [[1], None, [2, 3]]),
        (pyarrow.compute.run_end_encode(pyarrow.array([1, 1, None])), [1, 1, None]),
        (
            pyarrow.DictionaryArray.from_arrays(
                pyarrow.array([0, None], pyarrow.int8()), pyarrow.array(["a"], pyarrow.string_view())
            ),
            ["a", None],
        ),
        (pyarrow.array([["a"], None], pyarrow.list_(pyarrow.string_view())), [["a"], None]),
        (pyarrow.array([["a"], None], pyarrow.list_(pyarrow.string_view(), 1)), [["a"], None]),
        (
            pyarrow.array(
                [{"a": "x"}, None], pyarrow.struct([("a", pyarrow.dictionary(pyarrow.int8(), pyarrow.string()))])
            ),
            [{"a": "x"}, None],
        ),
        (
            pyarrow.array(
                [[("k", 1)], None], pyarrow.map_(pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), pyarrow.int8())
            ),
            [{"k": 1}, None],
        ),
    ],
    ids=lambda part: str(getattr(part, "type", "")),
)
def test_columns_that_are_not_read_here_are_left_to_pyarrow(tmp_path, array, values):
    rows, _ = read_back(pyarrow.table({"x": array}), tmp_path)
    assert [row["x"] for row in rows] == values


def test_what_plain_data_has_no_form_for_is_named(tmp_path):
    for array, what in (
        (pyarrow.array([1], pyarrow.duration("s")), "durations"),
        (pyarrow.array([(1, 2, 3)], pyarrow.month_day_nano_interval()), "intervals"),
        (pyarrow.array([[(1, 1)]], pyarrow.map_(pyarrow.int8(), pyarrow.int8())), "maps whose keys are no text"),
    ):
        encoded(pyarrow.table({"x": array}), tmp_path)
        with pytest.raises(Failure, match=f"the column `x` holds {what}, which plain data has no form for; convert it"):
            decode.decode({"arrow_file": str(tmp_path / "value.arrow")})


def test_a_column_of_several_kinds_keeps_each_value_of_a_pandas_table(tmp_path):
    day, aware = MOMENT.date(), MOMENT.replace(tzinfo=datetime.timezone.utc)
    for values, texts in (
        ([1, "x"], [1, "x"]),
        ([2**70, 1], [2**70, 1]),
        ([2**53 + 1, 0.5], [2**53 + 1, 0.5]),
        ([day, MOMENT], ["2026-02-03", "2026-02-03T01:02:03.400000"]),
        ([MOMENT, aware], ["2026-02-03T01:02:03.400000", "2026-02-03T01:02:03.400000+00:00"]),
    ):
        place = encoded(pandas.DataFrame({"x": pandas.Series(values, dtype=object)}), tmp_path)["place"]
        rows = json.loads(place["json"]) if "json" in place else arrow_read.read(str(tmp_path / "value.arrow"))
        assert rows == [{"x": text} for text in texts]
    with pytest.raises(Failure, match=r"\[1\].x is a bytes"):
        encoded(pandas.DataFrame({"x": ["a", b"b"]}), tmp_path)


def test_nothing_of_a_pandas_table_is_lost_on_the_way_to_arrow(tmp_path):
    nanosecond = pandas.Series([pandas.Timestamp(1, unit="ns"), pandas.NaT], dtype=object)
    frame = pandas.DataFrame(
        {"t": nanosecond, "c": pandas.Categorical(["a", None]), "s": pandas.arrays.SparseArray([1, 0])}
    )
    rows, _ = read_back(frame[["t", "c"]], tmp_path)
    assert rows == [{"t": "1970-01-01T00:00:00.000000001", "c": "a"}, {"t": None, "c": None}]
    # Its codes are those of the categories also where nothing is.
    assert polars.read_ipc_stream(tmp_path / "value.arrow")["c"].to_list() == ["a", None]
    rows, _ = read_back(frame[["s"]], tmp_path)
    assert rows == [{"s": 1}, {"s": 0}]
    for values, kind in (
        (pandas.period_range("2026-01", periods=1, freq="M"), "period"),
        (pandas.interval_range(0, 1), "interval"),
    ):
        with pytest.raises(Failure, match=f"the column `x` of the returned table has the type {kind}.*astype"):
            encoded(pandas.DataFrame({"x": values}), tmp_path)


def test_what_polars_would_spoil_is_refused(tmp_path):
    for series, kind in (
        (polars.Series("x", [object()], dtype=polars.Object), "Object"),
        (polars.Series("x", [2**70], dtype=polars.Int128), "Int128"),
        (polars.Series("x", [{"a": [1]}], dtype=polars.Struct({"a": polars.List(polars.Int128)})), "Int128"),
        (polars.Series("x", [{"a": 1}], dtype=polars.Map(polars.String, polars.Int128)), "Int128"),
    ):
        with pytest.raises(Failure, match=f"the column `x` of the returned table has the type {kind}, .*cast it"):
            encoded(polars.DataFrame([series]), tmp_path)


def test_a_pandas_table_is_a_table(tmp_path):
    frame = pandas.DataFrame({"n": [1, 2], "s": ["a", None], "t": pandas.to_datetime(["2026-01-02", None])})
    rows, output = read_back(frame, tmp_path)
    assert output["kind"] == "table" and output["length"] == 2
    assert rows[0]["n"] == 1 and rows[0]["t"].startswith("2026-01-02T00:00:00")
    assert rows[1] == {"n": 2, "s": None, "t": None}


def test_a_pandas_table_needs_no_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = pandas.DataFrame({"n": [1, 2], "t": pandas.to_datetime(["2026-01-02", None])})
    rows, _ = read_back(frame, tmp_path)
    assert rows == [{"n": 1, "t": "2026-01-02T00:00:00"}, {"n": 2, "t": None}]
    rows, output = read_back(pandas.DataFrame({"a": [], "b": []}), tmp_path)
    assert rows == [] and output["length"] == 0
    with pytest.raises(Failure, match="same name"):
        encoded(pandas.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_whole_numbers_of_any_size_are_kept_without_pyarrow(number, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for rest in ([1], [None], range(20_000)):
        values = [*rest, number]
        frame = pandas.DataFrame({"n": pandas.Series(values, dtype=object)})
        output = encode.encode(frame, str(tmp_path), 10**9, 10**9)
        assert (output["kind"], output["length"]) == ("list", len(values))
        assert json.loads(output["place"]["json"]) == [{"n": value} for value in values]


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_what_the_index_of_a_pandas_table_says_is_kept(tmp_path, monkeypatch, has_pyarrow):
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = pandas.DataFrame({"shop": ["a", "b", "a"], "day": [1, 1, 1], "n": [1, 2, 3]})
    rows, _ = read_back(frame.groupby("shop").sum(numeric_only=True)[["n"]], tmp_path)
    assert rows == [{"shop": "a", "n": 4}, {"shop": "b", "n": 2}]
    rows, _ = read_back(frame.groupby(["shop", "day"]).sum(), tmp_path)
    assert rows == [{"shop": "a", "day": 1, "n": 4}, {"shop": "b", "day": 1, "n": 2}]
    # Rows that are only counted.
    rows, _ = read_back(frame[frame.n > 1].sort_values("n", ascending=False)[["n"]], tmp_path)
    assert rows == [{"n": 3}, {"n": 2}]
    inside = encoded({"t": frame.groupby("shop").sum()[["n"]]}, tmp_path)
    assert inside["place"]["json"] == '{"t":[{"shop":"a","n":4},{"shop":"b","n":2}]}'
    with pytest.raises(Failure, match="has no name; name it apart to keep it as a column"):
        encoded(pandas.DataFrame({"n": [1]}, index=["total"]), tmp_path)
    with pytest.raises(Failure, match="is called `n`, and so is a column"):
        encoded(frame.set_index("n", drop=False), tmp_path)


def test_a_date_outside_of_the_calendar_names_its_column(tmp_path):
    days = {"day": pyarrow.array([2**30], pyarrow.date32())}
    moments = {"moment": pyarrow.array([-(2**62)], pyarrow.timestamp("s"))}
    for columns in (days, moments):
        encoded(pyarrow.table(columns), tmp_path)
        told = f"column `{next(iter(columns))}` holds a date or time outside of the calendar"
        with pytest.raises(Failure, match=told):
            decode.decode({"arrow_file": str(tmp_path / "value.arrow")})


def test_a_polars_table_is_a_table(tmp_path):
    rows, output = read_back(polars.DataFrame({"n": [1, 2], "s": ["a", None]}), tmp_path)
    assert output["kind"] == "table" and rows == [{"n": 1, "s": "a"}, {"n": 2, "s": None}]


@pytest.mark.parametrize(
    "frame",
    [
        polars.DataFrame({"n": range(50_000), "kind": ["a", "b"] * 25_000}, schema_overrides={"kind": polars.Categorical}),
        # More columns than rows in a part, so that the schema is larger than the part before.
        polars.DataFrame({f"column_{n}": [None, "x" * 2_000, ""] for n in range(1_000)}),
        polars.DataFrame({"x": ["a" * (1 << 20), "b" * (3 << 20), "c"]}),
        polars.DataFrame({"x": [], "y": []}, schema={"x": polars.Int8, "y": polars.List(polars.String)}),
    ],
    ids=["many", "wide", "large", "none"],
)
def test_a_polars_table_in_many_parts_is_one_stream(frame, tmp_path):
    output = encoded(frame, tmp_path)
    assert (output["kind"], output["length"]) == ("table", frame.height)
    with open(tmp_path / "value.arrow", "rb") as file:
        batches = list(pyarrow.ipc.open_stream(file))
        assert file.read() == b"", "something lies behind the end of the stream"
    assert sum(batch.num_rows for batch in batches) == frame.height
    assert all(batch.nbytes <= 3 << 20 or batch.num_rows == 1 for batch in batches)
    assert polars.read_ipc_stream(tmp_path / "value.arrow").equals(frame)
    assert foreign.plain(frame) == (True, frame.to_dicts())


def test_tables_and_scalars_inside_of_other_values_are_plain(tmp_path):
    value = {
        "rows": pandas.DataFrame({"a": [1, 2]}),
        "n": numpy.int64(3),
        "f": numpy.float32("nan"),
        "gone": pandas.NaT,
    }
    output = encoded(value, tmp_path)
    assert output["place"] == {"json": '{"rows":[{"a":1},{"a":2}],"n":3,"f":null,"gone":null}'}
    with pytest.raises(Failure, match=r"x is a ndarray|x is an ndarray"):
        encoded({"x": numpy.zeros(2)}, tmp_path)


def test_a_table_looks_the_same_inside_of_another_value(tmp_path):
    columns = {name: array for name, (array, _) in PLAIN.items()}
    columns["nanosecond"] = pyarrow.array([3_661_000_000_001, None], pyarrow.time64("ns"))
    columns["kind"] = pyarrow.array(["a", None]).dictionary_encode()
    columns["json"] = pyarrow.array(['{"a": [1]}', None], pyarrow.json_())
    table = pyarrow.table(columns)
    rows, _ = read_back(table, tmp_path)
    assert json.loads(encoded([table], tmp_path)["place"]["json"]) == [rows]
    assert rows[0]["map"] == {"k": 1, "z": None} and rows[0]["nanosecond"] == "01:01:01.000000001"
    frame = polars.DataFrame(
        {
            "moment": polars.Series([1_000_000_001, None], dtype=polars.Datetime("ns")),
            "time": polars.Series([3_661_000_000_001, None]).cast(polars.Time),
            "kind": polars.Series(["a", None], dtype=polars.Categorical),
            "bytes": [b"\0\xff", None],
        }
    )
    rows, _ = read_back(frame, tmp_path)
    assert json.loads(encoded([frame], tmp_path)["place"]["json"]) == [rows]
    assert list(rows[0].values()) == ["1970-01-01T00:00:01.000000001", "01:01:01.000000001", "a", "AP8="]
    with pytest.raises(Failure, match="a returned table has no form as plain data: the column `x` holds durations"):
        encoded([pyarrow.table({"x": pyarrow.array([1], pyarrow.duration("s"))})], tmp_path)


def test_times_of_numpy_are_no_numbers(tmp_path):
    moments = [numpy.datetime64(number, "ns") for number in (1_000_000_001, 1_000_000_000)]
    value = [*moments, numpy.datetime64("2026-02-03"), numpy.datetime64("20260-02-03"), numpy.datetime64("NaT")]
    texts = ["1970-01-01T00:00:01.000000001", "1970-01-01T00:00:01", "2026-02-03", "20260-02-03", None]
    assert json.loads(encoded(value, tmp_path)["place"]["json"]) == texts
    for number in (numpy.timedelta64(1, "ns"), numpy.timedelta64(1, "us"), numpy.longdouble("0.1")):
        with pytest.raises(Failure, match=rf"\[0\] is a {type(number).__name__}"):
            encoded([number], tmp_path)


def test_what_records_would_have_once_is_refused_where_it_is_there_twice(tmp_path):
    pair, again = [pyarrow.array([1]), pyarrow.array([2])], ["a", "a"]
    twice = pyarrow.array([[("k", 1), ("k", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int8()))
    for table, words in (
        (pyarrow.Table.from_arrays(pair, again), "two columns of the table are called `a`"),
        (pyarrow.table({"x": pyarrow.StructArray.from_arrays(pair, again)}), "`x` holds dicts with one key twice"),
        (pyarrow.table({"x": twice}), "`x` holds maps with one key twice"),
    ):
        encoded(table, tmp_path)
        with pytest.raises(Failure, match=words):
            decode.decode({"arrow_file": str(tmp_path / "value.arrow")})


def test_what_pyarrow_cannot_read_is_an_error_of_the_input(tmp_path):
    inside = pyarrow.array([{"l": [1]}], pyarrow.struct([("l", pyarrow.list_view(pyarrow.int8()))]))
    encoded(pyarrow.table({"x": inside}), tmp_path)
    with pytest.raises(Failure, match="the table has lists that are views inside of other values; convert"):
        decode.decode({"arrow_file": str(tmp_path / "value.arrow")})


def test_text_that_is_no_utf8_is_an_error_where_a_value_has_it(tmp_path):
    offsets, data = pyarrow.py_buffer(struct.pack("<3i", 1, 3, 5)), pyarrow.py_buffer("xabö\xff".encode("latin-1"))
    write(tmp_path, pyarrow.table({"s": pyarrow.StringArray.from_buffers(2, offsets, data)}))
    with pytest.raises(ValueError, match="utf-8"):
        arrow_read.read(str(tmp_path / "value.arrow"))


def test_a_column_that_is_shorter_than_its_table_is_a_clear_error(tmp_path):
    encoded([{"n": i, "s": "x"} for i in range(64)], tmp_path)
    data = (tmp_path / "value.arrow").read_bytes()
    for column in (struct.pack("<2q", 0, 512), struct.pack("<2q", 512, 260)):
        (tmp_path / "value.arrow").write_bytes(data.replace(column, column[:8] + struct.pack("<q", 8)))
        with pytest.raises(ValueError, match="damaged"):
            arrow_read.read(str(tmp_path / "value.arrow"))


def test_a_damaged_table_is_a_clear_error(tmp_path):
    encoded([{"n": i} for i in range(100)], tmp_path)
    data = (tmp_path / "value.arrow").read_bytes()
    for end in (0, 5, 100, len(data) // 2):
        (tmp_path / "cut").write_bytes(data[:end])
        if end == 5:
            assert arrow_read.read(str(tmp_path / "cut")) == []
            continue
        with pytest.raises(ValueError, match="damaged|empty"):
            arrow_read.read(str(tmp_path / "cut"))


@pytest.mark.parametrize(
    "value",
    [
        [{"n": n, "s": "x" * 100} for n in range(10_000)],
        ["x" * 10_000],
        pyarrow.table({"n": range(100_000)}),
        polars.DataFrame({"n": range(100_000)}),
        pandas.DataFrame({"n": range(100_000)}),
    ],
    ids=["records", "text", "pyarrow", "polars", "pandas"],
)
def test_a_disk_without_room_is_no_fault_of_the_value(value, tmp_path):
    for name in (encode.ARROW_NAME, encode.JSON_NAME):
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(Failure, match="the worker's disk is full") as failure:
        encoded(value, tmp_path)
    assert failure.value.kind == "away"


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()])
def test_texts_of_one_length_are_what_they_were(kind, tmp_path):
    days = [f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(20_000)]
    columns = {
        "day": days,
        "letter": [chr(97 + n % 26) for n in range(20_000)],
        "lines": [f"{n % 100:02}\n" for n in range(20_000)],
        "none": [None if n % 7 == 0 else day for n, day in enumerate(days)],
        "umlaut": [f"ä{n % 10}" for n in range(20_000)],
        "long": [day * 10 for day in days],
        "last": [*days[:-1], "longer than all others"],
        "empty": [""] * 20_000,
        "id": [str(uuid.UUID(int=n)) for n in range(20_000)],
        "windows": ["\r\n" * (n % 4) for n in range(20_000)],
        "bytes": ["ä" if n % 3 else "ab" for n in range(20_000)],
        "some": [f"ä{n}" if n % 3 else None for n in range(20_000)],
        "longer": ["x" * (n % 200) for n in range(20_000)],
    }
    table = pyarrow.table({name: pyarrow.array(values, kind) for name, values in columns.items()})
    for part in (table, table.slice(3), table.slice(17, 70), table.slice(5, 63), table.slice(9, 1)):
        rows, _ = read_back(part, tmp_path)
        assert rows == part.to_pylist()


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()])
def test_many_texts_in_one_batch_are_what_they_were(kind, tmp_path):
    columns = {
        "id": [f"{n:030}" for n in range(50_000)],
        "uneven": ["x" * (n % 50) for n in range(50_000)],
        "umlaut": ["ä" * (n % 30) for n in range(50_000)],
    }
    table = pyarrow.table({name: pyarrow.array(values, kind) for name, values in columns.items()})
    write(tmp_path, table)
    assert arrow_read.read(str(tmp_path / "value.arrow")) == table.to_pylist()


@pytest.mark.parametrize("text", ["abc", "äb", "ä\nb" * 30])
def test_other_readers_accept_texts_of_one_length(text, tmp_path):
    for other in (text, text[::-1], text[:-1] + "\n", text[1:], text + "ä", None):
        value = [{"s": other if i == 9_000 else text} for i in range(10_000)]
        encoded(value, tmp_path)
        table = pyarrow.ipc.open_stream(tmp_path / "value.arrow").read_all()
        table.validate(full=True)
        assert table.to_pylist() == value


@pytest.mark.parametrize("count", range(71))
def test_bools_of_other_writers_are_read_in_any_number(count, tmp_path):
    bools = [n * 7 % 3 == 0 for n in range(count)]
    gaps = [None if n % 5 == 2 else n % 2 == 0 for n in range(count)]
    lists = [bools[:n] for n in range(count)]
    table = pyarrow.table({"b": pyarrow.array(bools, pyarrow.bool_()), "g": pyarrow.array(gaps, pyarrow.bool_()), "l": lists})
    write(tmp_path, table)
    rows = arrow_read.read(str(tmp_path / "value.arrow"))
    assert rows == [{"b": bools[n], "g": gaps[n], "l": lists[n]} for n in range(count)]
    assert all(type(row["b"]) is bool for row in rows)


def test_places_of_texts_that_are_out_of_any_range_are_a_clear_error(tmp_path):
    write(tmp_path, pyarrow.table({"s": pyarrow.array(["abc", "d", "ef"], pyarrow.large_string())}))
    data = (tmp_path / "value.arrow").read_bytes()
    places = struct.pack("<4q", 0, 3, 4, 6)
    assert data.count(places) == 1
    damaged = struct.pack("<4q", 0, -(2**63), 2**63 - 1, 6)
    (tmp_path / "value.arrow").write_bytes(data.replace(places, damaged))
    with pytest.raises(ValueError, match="damaged"):
        arrow_read.read(str(tmp_path / "value.arrow"))
