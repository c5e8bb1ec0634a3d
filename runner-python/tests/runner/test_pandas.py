"""What goes through pandas unchanged, and what is told where it does not."""

import contextvars
import datetime
import decimal
import json
import sys
import zoneinfo

import numpy
import pandas
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pytest

from buelon.runner import arrow_read, decode, encode, in_pandas
from buelon.runner.failures import Failure

DAY = datetime.date(2026, 2, 3)
MOMENT = datetime.datetime(2026, 2, 3, 1, 2, 3, 400_000)
INSTANT = MOMENT.replace(tzinfo=datetime.timezone.utc)
MAP = pyarrow.map_(pyarrow.string(), pyarrow.int64())
DAYS_AND_BYTES = pyarrow.struct([("a", pyarrow.date32()), ("b", pyarrow.uint8())])
MAPS = [[("k", 2**53 + 1), ("z", None)], None, [], [("q", 1)]]
NANOSECOND = pandas.Timestamp(1, unit="ns")


@pytest.fixture(autouse=True)
def attempt(tmp_path):
    """Each test is an attempt of its own, in folders of its own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    token = in_pandas.came.set(())
    yield
    in_pandas.came.reset(token)


def taken(table, folder):
    """The frame that a step gets of a table."""

    def step(frame: pandas.DataFrame): ...

    encode.encode(table, str(folder / "in"), 1_000, 10**9)
    return decode.decode_all([{"arrow_file": str(folder / "in" / "value.arrow")}], step)[0]


def returned(frame, folder):
    """What becomes of a returned frame: a pyarrow table, or the rows of a list."""
    ((kind, content),) = encode.encode(frame, str(folder / "out"), 10**6, 10**9)["place"].items()
    if kind == "json":
        return json.loads(content)
    with pyarrow.ipc.open_stream(folder / "out" / content) as stream:
        table = stream.read_all()
    table.validate(full=True)
    return table


def through(table, folder, change=lambda frame: frame):
    return returned(change(taken(table, folder)), folder)


def column(values, of):
    return pyarrow.table({"n": range(len(values)), "x": pyarrow.array(values, of)})


@pytest.mark.parametrize(
    ("values", "of"),
    [
        (MAPS, MAP),
        ([None, None], MAP),
        ([], MAP),
        ([[(DAY, 1)], []], pyarrow.map_(pyarrow.date32(), pyarrow.int64())),
        ([[(1, "a")]], pyarrow.map_(pyarrow.int8(), pyarrow.string())),
        ([[("k", float("nan")), ("z", -0.0)]], pyarrow.map_(pyarrow.string(), pyarrow.float32())),
        ([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.timestamp("ns", "UTC"))),
        ([[("k", [1, None])]], pyarrow.map_(pyarrow.string(), pyarrow.list_(pyarrow.int16()))),
        ([[("k", 1), ("k", 2)]], MAP),
        ([[[("k", 1)], None], [], None], pyarrow.list_(MAP)),
        ([{"m": [("k", 1)]}, {"m": None}, None], pyarrow.struct([("m", MAP)])),
    ],
    ids=str,
)
def test_maps_come_through(tmp_path, values, of):
    table = column(values, of)
    back = through(table, tmp_path)
    assert back.schema == table.schema
    # Numbers that are none are not equal to themselves.
    assert str(back["x"].to_pylist()) == str(table["x"].to_pylist())


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (lambda frame: frame[frame.n > 1], MAPS[2:]),
        (lambda frame: frame[frame.n > 9], []),
        (lambda frame: frame.sort_values("n", ascending=False), MAPS[::-1]),
        (lambda frame: pandas.concat([frame, frame]), MAPS * 2),
        (lambda frame: frame.reindex([0, 7]).assign(n=1), [MAPS[0], None]),
        (lambda frame: frame.assign(x=[[("new", 1)], [], None, []]), [[("new", 1)], [], None, []]),
        (lambda frame: frame.rename(columns={"x": "y"}), MAPS),
    ],
)
def test_maps_of_a_frame_that_was_changed_are_maps(tmp_path, change, values):
    back = through(column(MAPS, MAP), tmp_path, change)
    assert back.schema.types == [pyarrow.int64(), MAP]
    assert back.column(1).to_pylist() == values


def test_maps_beside_values_of_several_kinds_are_dicts_of_their_rows(tmp_path):
    rows = through(column(MAPS, MAP), tmp_path, lambda frame: frame.assign(z=[1, "a", None, 0.5]))
    assert [row["x"] for row in rows] == [{"k": 2**53 + 1, "z": None}, None, {}, {"q": 1}]
    assert [row["z"] for row in rows] == [1, "a", None, 0.5]


LISTS = [
    ([[1, 2], None, []], pyarrow.list_(pyarrow.int64())),
    ([[[1], None], None, []], pyarrow.list_(pyarrow.list_(pyarrow.int64()))),
    ([{"a": [0.5]}, None, {"a": None}], pyarrow.struct([("a", pyarrow.list_(pyarrow.float64()))])),
    ([["x", None], None, []], pyarrow.list_(pyarrow.string())),
]


@pytest.mark.parametrize("values, of", LISTS, ids=str)
def test_lists_of_arrow_beside_values_of_several_kinds_are_lists(tmp_path, values, of):
    table = pyarrow.table({"c": pyarrow.array(values, of)})
    rows = through(table, tmp_path, lambda frame: frame.assign(m=[1, "x", None]))
    assert rows == [{"c": value, "m": other} for value, other in zip(values, [1, "x", None])]


def test_times_in_lists_beside_values_of_several_kinds_are_text(tmp_path):
    table = pyarrow.table({"c": pyarrow.array([[MOMENT], [None]], pyarrow.list_(pyarrow.timestamp("us")))})
    rows = through(table, tmp_path, lambda frame: frame.assign(m=[1, "x"]))
    assert rows == [{"c": [MOMENT.isoformat()], "m": 1}, {"c": [None], "m": "x"}]


def test_a_number_that_no_longer_fits_its_list_is_a_list_of_dicts(tmp_path):
    def change(frame):
        frame.at[1, "c"] = ["x"]
        return frame

    table = pyarrow.table({"c": pyarrow.array([[1], [2]], pyarrow.list_(pyarrow.int64()))})
    assert through(table, tmp_path, change) == [{"c": [1]}, {"c": ["x"]}]


def test_pairs_that_are_no_longer_those_of_the_map_are_told(tmp_path, capsys):
    rows = through(column(MAPS, MAP), tmp_path, lambda frame: frame.assign(x=[[("k", 0.5)], None, None, None]))
    assert rows[0] == {"n": 0, "x": [["k", 0.5]]}
    told = "the column `x` came as maps, and its pairs are no longer of map<string, int64>: they are returned as lists"
    assert capsys.readouterr().err.splitlines()[0] == told


def test_what_came_to_one_attempt_is_not_known_to_another(tmp_path):
    frame = pandas.DataFrame({"x": [[("k", 1)]]})
    contextvars.copy_context().run(through, column(MAPS, MAP), tmp_path)
    assert returned(frame, tmp_path) == [{"x": [["k", 1]]}]
    taken(column(MAPS, MAP), tmp_path)
    assert returned(frame, tmp_path)["x"].type == MAP


def of_codes(codes, values, ordered=False):
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(codes, pyarrow.int32()), values, ordered=ordered)


@pytest.mark.parametrize(
    "array",
    [
        of_codes([None, None], pyarrow.array([], pyarrow.string())),
        of_codes([None, None], pyarrow.array(["never"])),
        of_codes([0, 0], pyarrow.array([None], pyarrow.string())),
        of_codes([0, None], pyarrow.nulls(1)),
        of_codes([None], pyarrow.nulls(0)),
        of_codes([], pyarrow.nulls(0)),
        of_codes([0, 1, 2, None], pyarrow.array(["b", None, "a"]), ordered=True),
        of_codes([0, 1, 2], pyarrow.array(["a", "b", "a"])),
        of_codes([0, 1], pyarrow.array([None, 2**53 + 1])),
        of_codes([0, None], pyarrow.array([1], pyarrow.timestamp("ns", "Europe/Berlin"))),
    ],
)
def test_dictionaries_come_through_whatever_is_missing_in_them(tmp_path, array):
    back = through(pyarrow.table({"x": array}), tmp_path)["x"]
    assert back.to_pylist() == array.to_pylist()
    assert getattr(back.type, "ordered", array.type.ordered) == array.type.ordered
    if array.null_count == len(array):
        assert pyarrow.types.is_dictionary(back.type)


def test_numbers_that_are_none_are_missing_in_categories(tmp_path):
    array = of_codes([0, 1, None], pyarrow.array([0.5, float("nan")]))
    assert through(pyarrow.table({"x": array}), tmp_path)["x"].to_pylist() == [0.5, None, None]


def test_categories_that_are_all_missing_are_nothing(tmp_path):
    values = pandas.Categorical([None, None], categories=pandas.Index([], dtype=object))
    assert returned(pandas.DataFrame({"x": values}), tmp_path)["x"].type == pyarrow.null()


@pytest.mark.parametrize("of", [pyarrow.list_view, pyarrow.large_list_view])
@pytest.mark.parametrize("values", [[[1, 2], None, [2**53 + 1, None], [], [5]], [], [None]], ids=str)
def test_lists_of_views_are_the_same_lists(tmp_path, of, values):
    table = column(values, of(pyarrow.int64()))
    assert through(table, tmp_path)["x"].to_pylist() == values
    rows = arrow_read.read(str(tmp_path / "in" / "value.arrow"))
    assert [row["x"] for row in rows] == values
    inside = [None if value is None else [value, value] for value in values]
    encode.encode(column(inside, of(of(pyarrow.int64()))), str(tmp_path / "in"), 1_000, 10**9)
    assert [row["x"] for row in arrow_read.read(str(tmp_path / "in" / "value.arrow"))] == inside


def test_runs_with_nulls_stay_whole_numbers(tmp_path):
    array = pyarrow.compute.run_end_encode(pyarrow.array([2**53 + 1, 2**53 + 1, None]))
    assert through(pyarrow.table({"x": array}), tmp_path)["x"].to_pylist() == [2**53 + 1, 2**53 + 1, None]


@pytest.mark.parametrize(
    ("values", "of"),
    [
        ([[MOMENT, None]], pyarrow.list_(pyarrow.timestamp("us", "Europe/Berlin"))),
        ([[[MOMENT]], None], pyarrow.list_(pyarrow.list_(pyarrow.timestamp("s", "+02:00")))),
        ([{"t": 1}, {"t": None}, None], pyarrow.struct([("t", pyarrow.timestamp("ns"))])),
        ([{"t": 1}], pyarrow.struct([("t", pyarrow.duration("ns"))])),
        ([[{"t": 1}]], pyarrow.list_(pyarrow.struct([("t", pyarrow.timestamp("ns", "UTC"))]))),
        ([{"n": 2**64 - 1}], pyarrow.struct([("n", pyarrow.uint64())])),
    ],
    ids=str,
)
def test_times_and_numbers_inside_of_other_values_stay_what_they_are(tmp_path, values, of):
    table = column(values, of)
    assert taken(table, tmp_path)["x"].tolist() == table["x"].to_pylist()
    back = through(table, tmp_path)
    assert back["x"].type == of and back["x"].to_pylist() == table["x"].to_pylist()


def test_nanoseconds_of_times_inside_of_other_values_are_an_error(tmp_path):
    of = pyarrow.struct([("t", pyarrow.time64("ns")), ("n", pyarrow.int64())])
    for values, is_error in (([{"t": 1_000, "n": None}], False), ([{"t": 1_001, "n": None}], True)):
        if is_error:
            with pytest.raises(Failure, match="the column `x` .*nanoseconds"):
                taken(column(values, of), tmp_path)
        else:
            assert taken(column(values, of), tmp_path)["x"][0]["t"] == datetime.time(0, 0, 0, 1)


@pytest.mark.parametrize(
    "of",
    [
        pyarrow.date32(),
        pyarrow.date64(),
        pyarrow.time32("s"),
        pyarrow.decimal128(38, 2),
        pyarrow.binary(2),
        pyarrow.list_(pyarrow.int64()),
        pyarrow.struct([("a", pyarrow.string())]),
        pyarrow.struct([]),
        pyarrow.uuid(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    ],
    ids=str,
)
@pytest.mark.parametrize("values", [[], [None, None]], ids=str)
def test_a_column_without_values_has_the_type_that_it_came_with(tmp_path, of, values):
    assert through(column(values, of), tmp_path)["x"].type == of


def test_a_column_whose_last_row_is_filtered_away_has_the_type_that_it_came_with(tmp_path):
    back = through(column([DAY], pyarrow.date32()), tmp_path, lambda frame: frame[frame.n > 0])
    assert back.schema.types == [pyarrow.int64(), pyarrow.date32()]


@pytest.mark.parametrize(
    ("values", "of"),
    [
        ([[decimal.Decimal("1.50")], None, []], pyarrow.list_(pyarrow.decimal128(10, 2))),
        ([{"x": 1}, {"x": None}, None], pyarrow.struct([("x", pyarrow.int16())])),
        ([{"x": 1}, {"x": 2}], pyarrow.struct([("x", pyarrow.int16())])),
        ([{"a": None}, {"a": None}], pyarrow.struct([("a", pyarrow.date32())])),
        ([{"a": MOMENT.replace(microsecond=0)}], pyarrow.struct([("a", pyarrow.timestamp("s"))])),
        ([{"a": DAY, "b": datetime.time(1)}], pyarrow.struct([("a", pyarrow.date64()), ("b", pyarrow.time32("s"))])),
        ([[{"l": [{"a": None, "b": 1}]}]], pyarrow.list_(pyarrow.struct([("l", pyarrow.list_(DAYS_AND_BYTES))]))),
        ([[0.1, None], [2.5]], pyarrow.list_(pyarrow.float32())),
        ([{"f": 0.1}, {"f": None}], pyarrow.struct([("f", pyarrow.float32())])),
        ([[None], []], pyarrow.list_(pyarrow.int8())),
        ([[1, 2], None], pyarrow.list_(pyarrow.int8(), 2)),
        ([["a", None], None], pyarrow.large_list(pyarrow.large_string())),
        ([["a"], ["b", "a"]], pyarrow.list_(pyarrow.dictionary(pyarrow.int8(), pyarrow.string()))),
        ([[1], [2]], pyarrow.list_(pyarrow.field("item", pyarrow.int32(), nullable=False))),
        ([[2**64 - 1, None], [1], None], pyarrow.list_(pyarrow.uint64())),
        ([[[2**64 - 1, None]], [[1]]], pyarrow.list_(pyarrow.list_(pyarrow.uint64()))),
        ([[1, None]], pyarrow.list_(pyarrow.uint64())),
    ],
    ids=str,
)
def test_nested_values_keep_the_types_inside_of_them(tmp_path, values, of):
    table = column(values, of)
    back = through(table, tmp_path)
    assert back.schema == table.schema
    assert back["x"].to_pylist() == table["x"].to_pylist()


@pytest.mark.parametrize(
    ("of", "values", "found"),
    [
        (pyarrow.struct([("x", pyarrow.int16())]), [{"x": 2**20}], "struct<x: int64>"),
        (pyarrow.struct([("x", pyarrow.int16())]), [{"x": 0.5}], "struct<x: double>"),
        (pyarrow.struct([("x", pyarrow.int16())]), [{"x": "1"}], "struct<x: string>"),
        (pyarrow.struct([("x", pyarrow.int16())]), [{"x": 1, "y": None}], "struct<x: int64, y: null>"),
        (pyarrow.struct([("x", pyarrow.float32())]), [{"x": 0.1}], "struct<x: double>"),
        (pyarrow.struct([("x", pyarrow.date32())]), [{"x": MOMENT}], "struct<x: timestamp[us]>"),
        (pyarrow.list_(pyarrow.field("item", pyarrow.int32(), nullable=False)), [[1, None]], "list<item: int64>"),
        (pyarrow.list_(pyarrow.decimal128(10, 2)), [[decimal.Decimal("1.505")]], "list<item: decimal128(4, 3)>"),
    ],
    ids=str,
)
def test_nested_values_that_are_others_now_have_the_type_of_those(tmp_path, of, values, found):
    back = through(pyarrow.table({"x": pyarrow.nulls(1, of)}), tmp_path, lambda frame: frame.assign(x=values))
    assert str(back["x"].type) == found and back["x"].to_pylist() == values


def test_nested_values_of_many_rows_keep_their_types(tmp_path):
    of = pyarrow.list_(pyarrow.dictionary(pyarrow.int32(), pyarrow.string()))
    table = column([[f"a{n}"] for n in range(20_000)], of)
    back = through(table, tmp_path)
    assert back["x"].type == of and back["x"].to_pylist() == table["x"].to_pylist()
    # One that is another in the last row has all of them say so.
    small = column([{"n": 1}] * 5_000, pyarrow.struct([("n", pyarrow.int8())]))
    changed = through(small, tmp_path, lambda frame: frame.assign(x=[{"n": 1}] * 4_999 + [{"n": 300}]))
    assert changed["x"].type == pyarrow.struct([("n", pyarrow.int64())])


@pytest.mark.parametrize(
    ("values", "of"),
    [
        ([2**64 - 1, None], pyarrow.uint64()),
        ([[2**64 - 1, None]], pyarrow.list_(pyarrow.uint64())),
        ([{"n": 2**63, "t": "a"}], pyarrow.struct([("n", pyarrow.uint64()), ("t", pyarrow.string())])),
    ],
    ids=str,
)
def test_numbers_beyond_63_bits_are_a_column_beside_others(tmp_path, values, of):
    frame = pandas.DataFrame({"x": pandas.Series(values, dtype=object), "day": [DAY] * len(values)})
    assert returned(frame, tmp_path).schema.types == [of, pyarrow.date32()]


@pytest.mark.parametrize("values", [[2**64], [2**64 - 1, -1], [[2**64 - 1, -1]], [2**64 - 1, 0.5]], ids=str)
def test_numbers_that_no_column_holds_are_rows(tmp_path, values):
    frame = pandas.DataFrame({"x": pandas.Series(values, dtype=object)})
    assert returned(frame, tmp_path) == [{"x": value} for value in values]


@pytest.mark.parametrize(
    ("values", "of", "words"),
    [
        ([1], pyarrow.time64("ns"), "non-zero nanoseconds; cast it in the step before, to microseconds or text"),
        ([{"t": 1}], pyarrow.struct([("t", pyarrow.time64("ns"))]), "nanoseconds; cast .* to microseconds or text"),
        ([10**8], pyarrow.date32(), "year 275760 is out of range; cast it in the step before, to text"),
        ([[b"ab"]], pyarrow.list_(pyarrow.binary(2)), "Not implemented.*; cast it in the step before, to text"),
    ],
    ids=str,
)
def test_a_column_that_pandas_does_not_hold_is_named(tmp_path, values, of, words):
    dictionary = of_codes([None] * len(values), pyarrow.array(["b", None, "b"]))
    table = column(values, of).append_column("d", dictionary)
    with pytest.raises(Failure, match=f"pandas does not hold the column `x` of the type .*{words}") as failure:
        taken(table, tmp_path)
    assert failure.value.kind == "input" and "`frame` cannot be read" in failure.value.message


def test_decimals_keep_the_digits_that_they_may_have(tmp_path):
    table = column([decimal.Decimal("1.50"), None], pyarrow.decimal128(38, 2))
    assert through(table, tmp_path)["x"].type == pyarrow.decimal128(38, 2)
    longer = through(table, tmp_path, lambda frame: frame.assign(x=[decimal.Decimal("1.505"), None]))
    assert longer["x"].to_pylist() == [decimal.Decimal("1.505"), None]
    wider = through(table, tmp_path, lambda frame: frame.assign(x=[decimal.Decimal(10**40), None]))
    assert wider["x"].to_pylist() == [10**40, None]


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        ([[DAY, MOMENT]], [["2026-02-03", MOMENT.isoformat()]]),
        ([[DAY], [MOMENT]], [["2026-02-03"], [MOMENT.isoformat()]]),
        ([(DAY, 1)], [["2026-02-03", 1]]),
        ([{"d": DAY}, None, {"d": MOMENT}], [{"d": "2026-02-03"}, None, {"d": MOMENT.isoformat()}]),
        ([{"d": DAY}, {"e": 1, "d": MOMENT}], [{"d": "2026-02-03"}, {"e": 1, "d": MOMENT.isoformat()}]),
        ([[MOMENT, INSTANT]], [[MOMENT.isoformat(), INSTANT.isoformat()]]),
        ([[datetime.time(1), 1]], [["01:00:00", 1]]),
        ([datetime.time(1), 1], ["01:00:00", 1]),
        ([datetime.time(1, tzinfo=datetime.timezone.utc)], ["01:00:00+00:00"]),
        ([[NANOSECOND, pandas.NaT]], [["1970-01-01T00:00:00.000000001", None]]),
        ([{"t": NANOSECOND}], [{"t": "1970-01-01T00:00:00.000000001"}]),
        (
            [NANOSECOND.tz_localize("UTC"), NANOSECOND.tz_localize("Asia/Tokyo")],
            ["1970-01-01T00:00:00.000000001+00:00", "1970-01-01T00:00:00.000000001+09:00"],
        ),
    ],
    ids=str,
)
def test_values_of_several_kinds_stay_what_they_are_also_inside_of_others(tmp_path, values, plain):
    held = numpy.empty(len(values), dtype=object)
    held[:] = values
    rows = returned(pandas.DataFrame({"x": pandas.Series(held, dtype=object)}), tmp_path)
    rows = rows if type(rows) is list else rows.to_pylist()
    assert rows == [{"x": value} for value in plain]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", b"b"], r"\[0\].x\[1\] is a bytes"),
        ({b"k": 1}, r"has the key b'k', a bytes"),
        ([pandas.Timedelta(1, unit="ns")], r"\[0\].x\[0\] is a Timedelta"),
    ],
)
def test_what_no_row_holds_is_named(tmp_path, value, words):
    with pytest.raises(Failure, match=words):
        returned(pandas.DataFrame({"x": [value]}), tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        [[1, None], [], None],
        [[1.5, float("nan")], [2]],
        [{"a": [DAY, None]}, {"a": []}, None],
        [numpy.array([1, 2]), [3]],
        [[MOMENT.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))], [pandas.NaT]],
        [DAY, None, pandas.NaT],
    ],
    ids=str,
)
def test_values_of_one_kind_are_a_column(tmp_path, values):
    held = numpy.empty(len(values), dtype=object)
    held[:] = values
    assert isinstance(returned(pandas.DataFrame({"x": pandas.Series(held, dtype=object)}), tmp_path), pyarrow.Table)


def test_nanoseconds_of_durations_that_are_objects_are_kept(tmp_path):
    durations = pandas.Series([pandas.Timedelta(1, unit="ns"), None], dtype=object)
    back = returned(pandas.DataFrame({"x": durations}), tmp_path)
    assert back["x"].to_pylist() == [pandas.Timedelta(1, unit="ns"), None]


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_rows_without_columns_are_as_many(tmp_path, monkeypatch, has_pyarrow):
    assert returned(pandas.DataFrame(), tmp_path).num_rows == 0
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert returned(pandas.DataFrame(), tmp_path) == []
    assert returned(pandas.DataFrame(index=range(3)), tmp_path) == [{}, {}, {}]


def test_text_of_pandas_own_has_short_places_and_other_text_those_that_were_chosen(tmp_path):
    large = pandas.ArrowDtype(pyarrow.large_string())
    frame = pandas.DataFrame({"own": ["ü", None], "chosen": pandas.array(["ü", None], dtype=large), "n": [1, 2]})
    frame["python"] = pandas.array(["ü", None], dtype="string")
    assert [str(field.type) for field in returned(frame, tmp_path).schema] == ["string", "large_string", "int64", "string"]
    for of in (pyarrow.string(), pyarrow.large_string()):
        came = through(column(["ü", None], of), tmp_path)
        assert came.schema.field("x").type == of and came["x"].to_pylist() == ["ü", None]
