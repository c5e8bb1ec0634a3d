"""Tables of pandas that are returned row by row, and text that is none."""

import datetime
import decimal
import json
import math
import sys

import numpy
import pandas
import pytest
from test_pandas import DAY, MOMENT, attempt, returned  # noqa: F401

from buelon.runner import encode
from buelon.runner.failures import Failure

ROWS_TOLD = "so the table is returned row by row: the types of all columns become those of plain data"
KINDS = "holds values of several kinds"
UNHELD = "holds values that no column of a table keeps as they are"


def objects(**columns):
    return pandas.DataFrame({name: pandas.Series(values, dtype=object) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("frame", "why", "lost"),
    [
        (objects(m=[1, "x", None]), f"the column `m` {KINDS}", ""),
        (objects(m=[1, "x"], n=["x", 1]).assign(z=1.5), "the columns `m` and `n` hold values of several kinds", ""),
        (objects(m=[1, "x"]).assign(z=[math.inf, 1.0]), f"the column `m` {KINDS}", "the column `z`"),
        (objects(m=["x", -math.inf]), f"the column `m` {KINDS}", "the column `m`"),
        (
            objects(m=[1, "x"], a=[[0.5, [math.inf]], None], b=[{"k": (-math.inf,)}, {}], c=[numpy.array([math.inf]), None]),
            f"the column `m` {KINDS}",
            "the columns `a`, `b` and `c`",
        ),
        (objects(m=[1, "x"], a=[[numpy.float32("inf")], []], b=[[1e308], []]), f"the column `m` {KINDS}", "the column `a`"),
        (objects(m=[1, "x"]).assign(f=numpy.array([1, -math.inf], "float32")), f"the column `m` {KINDS}", "the column `f`"),
        (objects(m=[1, "x"], d=[decimal.Decimal("inf")] * 2).assign(n=math.nan), f"the column `m` {KINDS}", ""),
        (objects(m=[[1, "x"]]), f"the column `m` {UNHELD}", ""),
        (objects(t=[datetime.time(1, tzinfo=datetime.timezone.utc), math.nan]), f"the column `t` {UNHELD}", ""),
        (objects(a=["x"], t=[MOMENT], n=[2**64]).assign(z=math.inf), f"the column `n` {UNHELD}", "the column `z`"),
        (objects(**{"m\n1": [1, "x"]}), f"the column `m 1` {KINDS}", ""),
        (
            objects(**{f"m{n}": [1, "x"] for n in range(10)}),
            "the columns `m0`, `m1`, `m2`, `m3`, `m4`, `m5`, `m6`, `m7` and 2 more hold values of several kinds",
            "",
        ),
    ],
)
def test_the_log_tells_why_a_table_is_returned_row_by_row_and_what_is_lost(tmp_path, capsys, frame, why, lost):
    returned(frame, tmp_path)
    infinities = f", and infinities in {lost} become null" if lost else ""
    assert capsys.readouterr().err == f"{why}, {ROWS_TOLD}{infinities}\n"


def test_infinities_of_a_table_that_is_returned_row_by_row_are_null(tmp_path):
    frame = objects(m=[1, "x", None]).assign(z=[math.inf, 1.0, -math.inf], i=numpy.array([1, 2, 3], "int8"))
    rows = [{"m": 1, "z": None, "i": 1}, {"m": "x", "z": 1.0, "i": 2}, {"m": None, "z": None, "i": 3}]
    assert returned(frame, tmp_path) == rows


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"z": [math.inf, 1.0], "s": ["a", None]}),
        objects(a=[1, None], b=[[math.inf], None], d=[DAY, None]),
        pandas.DataFrame(),
        pandas.DataFrame(index=range(3)),
    ],
)
def test_nothing_is_told_of_a_table_that_no_column_is_an_obstacle_to(tmp_path, capsys, frame):
    returned(frame, tmp_path)
    assert capsys.readouterr().err == ""


def test_nothing_is_told_of_a_table_inside_of_another_value_which_is_rows_anyway(tmp_path, capsys):
    frame = objects(m=[1, "x"]).assign(z=math.inf)
    output = encode.encode({"t": frame}, str(tmp_path / "out"), 10**6, 10**9)
    assert json.loads(output["place"]["json"]) == {"t": [{"m": 1, "z": None}, {"m": "x", "z": None}]}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("is_inside", [False, True])
def test_what_no_row_holds_is_told_with_the_columns_that_the_rows_are_written_for(tmp_path, is_inside):
    frame = objects(m=[1, "x"], b=[b"x", b"y"])
    with pytest.raises(Failure) as failure:
        encode.encode([frame] if is_inside else frame, str(tmp_path / "out"), 10**6, 10**9)
    what = "the returned value cannot be stored: [0].b is a bytes; decode it, or encode it as base64 text"
    why = "the column `m` holds values of several kinds, so the table is written row by row, as plain data"
    assert (failure.value.kind, failure.value.message) == ("value", f"{what}; {why}")
    assert returned(frame[["b"]], tmp_path)["b"].to_pylist() == [b"x", b"y"]


@pytest.mark.parametrize(
    ("values", "excerpt"),
    [
        (["ok", "a\ud800"], r"a\ud800"),
        (["ok", "b" * 100 + "\udfff" + "c" * 100], "b" * 20 + r"\udfff"),
        ([["ok"], ["a\ud800"]], r"a\ud800"),
        ([{"k": "ok"}, {"k": "a\ud800"}], r"a\ud800"),
        ([{"k\ud800": 1}, None], r"k\ud800"),
        (pandas.array(["a\ud800", None], dtype=pandas.StringDtype("python")), r"a\ud800"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("is_inside", [False, True])
def test_half_a_surrogate_pair_is_told_with_its_column(tmp_path, values, excerpt, is_inside):
    frame = objects(w=[2**63, None], t=["text", None]).assign(s=pandas.Series(values, dtype=getattr(values, "dtype", object)))
    with pytest.raises(Failure) as failure:
        encode.encode([frame] if is_inside else frame, str(tmp_path / "out"), 10**6, 10**9)
    told = f"the returned value cannot be stored: the text '{excerpt}' in the column `s` holds half of a surrogate pair"
    assert (failure.value.kind, failure.value.message) == ("value", told)


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_half_a_surrogate_pair_in_the_name_of_a_column_is_told(tmp_path, monkeypatch, has_pyarrow):
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    frame = pandas.DataFrame([[1]], columns=pandas.Index(["n\ud800"], dtype=object))
    with pytest.raises(Failure, match=r"the name 'n\\ud800' of a column holds half of a surrogate pair") as failure:
        returned(frame, tmp_path)
    assert failure.value.kind == "value"
