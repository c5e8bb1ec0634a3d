"""Tables in the form that a step's annotations ask for."""

import json

import pandas
import pandas as pd
import polars
import pyarrow
import pyarrow.ipc
import pytest

from buelon.runner import arrow_read, decode, encode
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


def test_whole_numbers_with_nulls_stay_whole_in_pandas(tmp_path):
    def step(frame: pandas.DataFrame): ...

    columns = {
        "n": pyarrow.array([2**53 + 1, None]),
        "u": pyarrow.array([2**64 - 1, None], pyarrow.uint64()),
        "b": pyarrow.array([True, None]),
        "l": pyarrow.array([[2**53 + 1, None], None]),
        "whole": pyarrow.array([2**53 + 1, 2]),
        "f": pyarrow.array([0.5, None]),
    }
    encode.encode(pyarrow.table(columns), str(tmp_path), 1_000, 10**9)
    frame = argument(step, {"arrow_file": str(tmp_path / "value.arrow")})
    assert list(frame.columns) == list(columns)
    first = {"n": 2**53 + 1, "u": 2**64 - 1, "b": True, "l": [2**53 + 1, None], "whole": 2**53 + 1, "f": 0.5}
    assert frame.loc[0].to_dict() == first
    assert frame["whole"].dtype == "int64" and frame["f"].dtype == "float64"
    assert frame[["n", "u", "b"]].isna().loc[1].all()


def test_whole_numbers_inside_of_other_values_stay_whole_in_pandas(tmp_path):
    def step(frame: pandas.DataFrame): ...

    large = 2**53 + 1
    columns = {
        "dict": [{"n": large, "b": True}, {"n": None, "b": None}],
        "list_of_dicts": [[{"n": large}, {"n": None}], None],
        "lists": [[[large, None]], None],
        "dict_of_lists": [{"l": [large, None]}, None],
    }
    arrays = {name: pyarrow.array(values) for name, values in columns.items()}
    arrays["map"] = pyarrow.array([[("k", large), ("z", None)], None], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    arrays["pair"] = pyarrow.array([[large, 1], None], pyarrow.list_(pyarrow.int64(), 2))
    encode.encode(pyarrow.table(arrays), str(tmp_path), 1_000, 10**9)
    frame = argument(step, {"arrow_file": str(tmp_path / "value.arrow")})
    for name, array in arrays.items():
        assert frame[name].tolist() == array.to_pylist(), name


def test_a_table_that_its_reader_panics_at_is_an_error_of_the_input(tmp_path):
    def step(orders: polars.DataFrame): ...

    encode.encode(pyarrow.table({"x": pyarrow.array([1], pyarrow.decimal256(50, 0))}), str(tmp_path), 1_000, 10**9)
    with pytest.raises(Failure, match="the argument `orders` cannot be read") as failure:
        argument(step, {"arrow_file": str(tmp_path / "value.arrow")})
    assert failure.value.kind == "input"


def test_whole_numbers_of_records_stay_whole_in_every_form():
    large = 2**53 + 1

    def in_pandas(frame: pandas.DataFrame): ...

    def in_polars(frame: polars.DataFrame): ...

    def in_pyarrow(frame: pyarrow.Table): ...

    rows = [{"n": large, "b": True}, {"n": None}, {"n": 2, "b": None, "z": 2**70}]
    frame = argument(in_pandas, {"json": rows})
    assert frame["n"].tolist() == [large, pandas.NA, 2] and frame["b"].dtype == "boolean"
    assert frame["z"].iloc[2] == 2**70
    assert argument(in_polars, {"json": rows[:2]})["n"].to_list() == [large, None]
    assert argument(in_pyarrow, {"json": rows[:2]})["n"].to_pylist() == [large, None]
    mixed = {"json": [{"n": large}, {"n": 0.5}]}
    assert argument(in_pandas, mixed)["n"].tolist() == [large, 0.5]
    for step in (in_polars, in_pyarrow):
        with pytest.raises(Failure, match="`frame` asks for a .*the column `n`"):
            argument(step, mixed)
    assert argument(in_pandas, {"json": [{"n": 1}, {"n": 0.5}]})["n"].dtype == "float64"


@pytest.mark.parametrize(
    "values",
    [
        [2**64 - 1, 1],
        [None, 2**63],
        [[2**64 - 1, None], [1], None],
        [{"k": 2**63, "s": "a", "f": 0.5}, {"k": None, "s": None, "f": None}],
        [[{"k": [2**63]}], [], [{"k": None}]],
    ],
    ids=str,
)
def test_whole_numbers_beyond_63_bits_are_unsigned_in_every_form(tmp_path, values):
    def in_pandas(frame: pandas.DataFrame): ...

    def in_polars(frame: polars.DataFrame): ...

    def in_pyarrow(frame: pyarrow.Table): ...

    for step in (in_pandas, in_polars, in_pyarrow):
        frame = argument(step, {"json": [{"x": value} for value in values]})
        assert encode.encode(frame, str(tmp_path), 1_000, 10**9)["kind"] == "table"
        with pyarrow.ipc.open_stream(tmp_path / "value.arrow") as stream:
            back = stream.read_all()["x"]
        assert "uint64" in str(back.type) and back.to_pylist() == values


@pytest.mark.parametrize(
    "values",
    [[2**64], [2**64 - 1, -1], [-(2**63) - 1], [10**40], [[2**64]], [[2**63, -1]], [{"k": 2**64}, {"k": None}]],
    ids=str,
)
def test_whole_numbers_that_no_64_bit_number_holds_are_named(values):
    def in_pandas(frame: pandas.DataFrame): ...

    def in_polars(frame: polars.DataFrame): ...

    def in_pyarrow(frame: pyarrow.Table): ...

    rows = {"json": [{"n": 1, "x": value} for value in values]}
    for step in (in_polars, in_pyarrow):
        with pytest.raises(Failure, match="the column `x` has whole numbers in it that no 64-bit number holds"):
            argument(step, rows)
    assert argument(in_pandas, rows)["x"].tolist() == values


def test_a_plain_step_hands_unsigned_numbers_on(tmp_path):
    def step(frame): ...

    def in_pyarrow(frame: pyarrow.Table): ...

    table = pyarrow.table({"u": pyarrow.array([2**64 - 1, None] * 50, pyarrow.uint64())})
    encode.encode(table, str(tmp_path), 1_000, 10**9)
    rows = argument(step, {"arrow_file": str(tmp_path / "value.arrow")})
    place = encode.encode(rows, str(tmp_path), 10**6, 10**9)["place"]
    assert argument(in_pyarrow, {"json": json.loads(place["json"])}) == table


def test_records_of_several_kinds_are_refused_by_parameter_and_column():
    def in_pyarrow(orders: pyarrow.Table): ...

    def in_polars(orders: polars.DataFrame): ...

    for step, form in ((in_pyarrow, "pyarrow.Table"), (in_polars, "polars.DataFrame")):
        with pytest.raises(Failure, match=f"the parameter `orders` asks for a {form}, but the column `x`") as raised:
            argument(step, {"json": [{"x": 1}, {"x": "a"}]})
        assert "take the list as it is" in str(raised.value) and "return a list" not in str(raised.value)


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
        assert sum(sizes) == 150_000 and max(sizes) <= 16_384, sizes


def test_batches_of_wide_rows_are_no_larger_than_others(tmp_path):
    text = "x" * 10_000
    tables = (
        [{"n": n, "s": text} for n in range(3_000)],
        polars.DataFrame({"n": range(3_000), "s": [text] * 3_000}),
        pyarrow.table({"n": range(3_000), "s": [text] * 3_000}),
    )
    for table in tables:
        assert encode.encode(table, str(tmp_path), 1_000, 10**9)["length"] == 3_000
        with pyarrow.ipc.open_stream(tmp_path / "value.arrow") as stream:
            sizes = [(batch.num_rows, batch.nbytes) for batch in stream]
        assert sum(rows for rows, _ in sizes) == 3_000
        assert max(size for _, size in sizes) < 9 << 20 and len(sizes) < 40, sizes
        assert arrow_read.read(str(tmp_path / "value.arrow"))[2_999] == {"n": 2_999, "s": text}


def test_categories_of_a_large_frame_stay_what_they_are(tmp_path):
    words = ["red", "green", None, "blue"]
    frame = polars.DataFrame({"colour": [words[n * n % 4] if n < 70_000 else f"c{n % 5}" for n in range(140_000)]})
    encode.encode(frame.cast(polars.Categorical), str(tmp_path), 1_000, 10**9)
    with pyarrow.ipc.open_stream(tmp_path / "value.arrow") as stream:
        table = stream.read_all()
    table.validate(full=True)
    assert table["colour"].to_pylist() == frame["colour"].to_list()


@pytest.mark.parametrize(
    "values, words",
    [
        ([1] * 150 + ["a"], "the column `x` has numbers beside text in it"),
        ([True, 2], "the column `x` has bools beside numbers in it"),
        ([[1, "a"]], "the column `x` has numbers beside text in it"),
        ([{"k": 1}, {"k": "s"}], "the column `x` has numbers beside text in it"),
        ([1, "a", [1], {"k": 1}], "the column `x` has dicts beside lists beside numbers beside text in it"),
        ([[2**53 + 1, 0.5]], "the column `x` has decimal numbers beside whole ones beyond 53 bits in it"),
        ([{"k": 2**53 + 1}, {"k": 0.5}], "the column `x` has decimal numbers beside whole ones beyond 53 bits in it"),
    ],
)
def test_polars_turns_no_kind_of_value_into_another(values, words):
    def step(orders: polars.DataFrame): ...

    rows = {"json": [{"x": value} for value in values]}
    with pytest.raises(Failure) as failure:
        argument(step, rows)
    assert words in failure.value.message and "`orders` asks for a polars.DataFrame" in failure.value.message


def test_polars_takes_what_is_of_one_kind():
    def step(orders: polars.DataFrame): ...

    rows = [{"n": 1, "x": 0.5, "l": [1, None], "d": {"k": "s"}}, {"n": 2.5, "l": [2.5]}, {"d": {"k": None}}]
    assert argument(step, {"json": rows}).to_dicts()[1] == {"n": 2.5, "x": None, "l": [2.5], "d": None}
