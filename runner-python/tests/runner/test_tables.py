"""Tables of other libraries, and streams of other writers."""

import datetime
import decimal
import sys

import numpy
import pandas
import polars
import pyarrow
import pyarrow.ipc
import pytest

from buelon.runner import arrow_read, decode, encode
from buelon.runner.failures import Failure


def encoded(value, folder):
    return encode.encode(value, str(folder), 1_000, 10**9)


def read_back(value, folder):
    output = encoded(value, folder)
    assert output["place"] == {"arrow_file": "value.arrow"}
    return arrow_read.read(str(folder / "value.arrow")), output


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
    table = pyarrow.table([['["a"]', None]], schema=pyarrow.schema([field]))
    with pyarrow.OSFile(str(tmp_path / "x"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write(table)
    assert arrow_read.read(str(tmp_path / "x")) == [{"tags": ["a"]}, {"tags": None}]


def test_columns_that_are_not_read_here_are_left_to_pyarrow(tmp_path):
    table = pyarrow.table({"kind": pyarrow.array(["a", "b", "a"]).dictionary_encode()})
    rows, _ = read_back(table, tmp_path)
    assert rows == [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}]


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
