"""Tables in the form that a step's annotations ask for."""

import json

import pandas
import pandas as pd
import polars
import pyarrow
import pyarrow.ipc
import pytest

from buelon.runner import decode, encode
from buelon.runner.failures import Failure

ROWS = [{"n": n, "s": f"ü{n}"} for n in range(100)]


@pytest.fixture
def table(tmp_path):
    """A table as it comes from another step."""
    encode.encode(ROWS, str(tmp_path), 1_000, 10**9)
    return {"arrow_file": str(tmp_path / "value.arrow")}


def argument(function, entry):
    return decode.decode_all([entry], function)[0]


def test_a_table_comes_as_its_parameter_asks(table):
    def in_pandas(frame: pandas.DataFrame): ...

    def by_its_own_name(frame: "pd.DataFrame"): ...

    def in_polars(frame: polars.DataFrame): ...

    def in_pyarrow(frame: "pyarrow.Table"): ...

    def in_records(frame: list): ...

    def in_nothing(frame): ...

    assert argument(in_pandas, table).to_dict("records") == ROWS
    assert argument(by_its_own_name, table).to_dict("records") == ROWS
    assert argument(in_polars, table).to_dicts() == ROWS
    assert argument(in_pyarrow, table).to_pylist() == ROWS
    assert argument(in_records, table) == argument(in_nothing, table) == ROWS


def test_records_come_as_a_table_too():
    mixed = {"json": [{"a": 1}, {"b": None}]}

    def in_polars(frame: polars.DataFrame): ...

    def in_pyarrow(frame: pyarrow.Table): ...

    def in_pandas(frame: pandas.DataFrame): ...

    assert argument(in_polars, mixed).to_dicts() == [{"a": 1, "b": None}, {"a": None, "b": None}]
    assert argument(in_pyarrow, mixed).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": None}]
    assert list(argument(in_pandas, mixed).columns) == ["a", "b"]
    assert len(argument(in_pandas, {"json": []})) == 0


def test_each_argument_is_read_by_its_own_parameter(table):
    class Step:
        def __call__(self, first, mut, second: polars.DataFrame, *rest): ...

    first, second, third = decode.decode_all([table, table, {"json": 7}], Step())
    assert (first, second.to_dicts(), third) == (ROWS, ROWS, 7)


@pytest.mark.parametrize(
    "value, words",
    [
        ({"a": 1}, "a dict came"),
        (3, "a number came"),
        ([{"a": 1}, "x"], "element [1] is a string"),
    ],
)
def test_what_is_no_table_is_refused_by_name(value, words):
    def step(orders: pandas.DataFrame): ...

    with pytest.raises(Failure) as failure:
        argument(step, {"json": json.loads(json.dumps(value))})
    message = failure.value.message
    assert "`orders` asks for a pandas.DataFrame" in message and words in message
    assert failure.value.kind == "input"


def test_a_module_that_is_missing_is_named(table, monkeypatch):
    def step(orders: "polars.DataFrame"): ...

    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    monkeypatch.delitem(globals(), "polars")
    with pytest.raises(Failure, match="polars cannot be imported"):
        argument(step, table)


def test_pandas_without_pyarrow_gets_the_same_rows(table, monkeypatch):
    def step(orders: "pandas.DataFrame"): ...

    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert argument(step, table).to_dict("records") == ROWS


def test_annotations_that_mean_nothing_here_are_left_alone(table):
    def step(orders: "Missing.DataFrame", day: "DataFrame" = None): ...

    assert argument(step, table) == ROWS


def test_large_frames_are_written_in_batches_that_fit_into_memory(tmp_path):
    for frame in (polars.DataFrame({"n": range(150_000)}), pyarrow.table({"n": range(150_000)})):
        assert encode.encode(frame, str(tmp_path), 1_000, 10**9)["length"] == 150_000
        with pyarrow.ipc.open_stream(tmp_path / "value.arrow") as stream:
            sizes = [batch.num_rows for batch in stream]
        assert sum(sizes) == 150_000 and max(sizes) <= 65_536, sizes


def test_categories_of_a_large_frame_stay_what_they_are(tmp_path):
    words = ["red", "green", None, "blue"]
    frame = polars.DataFrame({"colour": [words[n * n % 4] if n < 70_000 else f"c{n % 5}" for n in range(140_000)]})
    encode.encode(frame.cast(polars.Categorical), str(tmp_path), 1_000, 10**9)
    with pyarrow.ipc.open_stream(tmp_path / "value.arrow") as stream:
        table = stream.read_all()
    table.validate(full=True)
    assert table["colour"].to_pylist() == frame["colour"].to_list()
