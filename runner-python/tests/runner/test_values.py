"""What steps may return, and what becomes of it."""

import datetime
import decimal
import gc
import json
import math
import sys
import uuid

import pytest

from buelon.runner import arrow_read, arrow_write, columns, decode, drafts, encode, start
from buelon.runner.failures import Failure
from buelon.runner.values import plain


def through(value, folder, inline_bytes_max=1_000_000):
    """The value as the next step gets it, and its output."""
    output = encode.encode(value, str(folder), inline_bytes_max, 10**9)
    ((form, content),) = output["place"].items()
    if form == "json":
        return json.loads(content), output
    return decode.decode({form: str(folder / content)}), output


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -1, 2**200, 1.5, "", "ü\u2028\0", [], {}, [[[]]], {"": {"a b": [1, None]}}, {"z": 1, "a": 2}],
)
def test_plain_values_come_back_as_they_were(value, tmp_path):
    back, _ = through(value, tmp_path)
    assert back == value
    assert json.dumps(back) == json.dumps(value)


def test_other_types_become_their_plain_form():
    identifier = uuid.UUID(int=5)
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone.utc)
    value = [identifier, moment, moment.date(), moment.time(), decimal.Decimal("1.50"), (1, (2,)), math.nan, -math.inf]
    assert plain(value) == [
        str(identifier),
        "2026-01-02T03:04:05.000006+00:00",
        "2026-01-02",
        "03:04:05.000006",
        "1.50",
        [1, [2]],
        None,
        None,
    ]


def test_what_the_step_holds_is_not_changed():
    held = {"a": (1, math.nan)}
    plain(held)
    assert isinstance(held["a"], tuple)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (b"x", "it is a bytes"),
        ([0, {"user": {"avatar": b"x"}}], "[1].user.avatar is a bytes"),
        ({"a b": [{1, 2}]}, "['a b'][0] is a set; return a sorted list"),
        ([{5: 1}], "[0] has the key 5, an int"),
        (object(), "it is an object"),
        ({"f": len}, "f is a builtin_function_or_method"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place(value, part):
    with pytest.raises(Failure) as caught:
        plain(value)
    assert caught.value.kind == "value"
    assert part in caught.value.message


def test_a_value_that_contains_itself_is_an_error():
    value = {"list": []}
    value["list"].append(value)
    with pytest.raises(Failure, match="contains itself"):
        plain(value)


def test_a_value_nested_too_deep_is_an_error():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Failure, match="deeper than 100 levels"):
        plain(value)


@pytest.mark.parametrize(
    "value, place",
    [
        ("x\ud800", "it"),
        ({"name": "x\ud800"}, "name"),
        ({"a b": [{"c": None}, {"d": "x\ud800y"}]}, "['a b'][1].d"),
        ([1, {"k": {"x\ud800": 1}}], "a key of [1].k"),
        ({"x\ud800": 1}, "a key of it"),
    ],
    ids=["text", "dict", "nested", "key", "key of all"],
)
def test_half_a_surrogate_pair_is_an_error_with_its_place(value, place, tmp_path):
    with pytest.raises(Failure) as raised:
        through(value, tmp_path)
    told = f"the returned value cannot be stored: {place} is text with half of a surrogate pair, 'x\\ud800'; replace what no text can hold"
    assert raised.value.message.startswith(told)


def test_numbers_that_become_null_are_told(tmp_path, capsys):
    def told(value):
        through(value, tmp_path)
        return capsys.readouterr().err

    assert told(math.nan) == "NaN and infinities become null in the returned value: it\n"
    assert told([{"a": {"b": (1, math.inf)}}, -math.inf]) == "NaN and infinities become null in the returned value: [0].a.b[1], and 1 more\n"
    table = [{"x": 0.5, "y": None if i < 20_000 else 1.5, "z": i} for i in range(40_000)]
    assert told(table) == told(table[:64]) == ""
    table[30_000]["y"], table[31_000]["y"] = math.nan, math.inf
    assert told(table) == "NaN and infinities become null in the column `y`\n"
    table[30_000]["x"] = math.nan
    assert told(table) == "NaN and infinities become null in the columns `x` and `y`\n"
    table[39_000]["z"] = "no table"
    assert told(table) == "NaN and infinities become null in the returned value: [30000].x, and 2 more\n"


def test_a_value_over_the_limit_is_an_error(tmp_path):
    with pytest.raises(Failure, match="over the limit of 100"):
        encode.encode("x" * 200, str(tmp_path), 10, 100)


def test_large_json_goes_to_a_file(tmp_path):
    back, output = through(["x" * 100], tmp_path, inline_bytes_max=50)
    assert output["place"] == {"json_file": "value.json"}
    assert output["kind"] == "list" and output["length"] == 1
    assert back == ["x" * 100]


def rows(count, **others):
    return [{"n": i, "x": i / 3, "even": i % 2 == 0, "name": f"é{i}", "gap": None, **others} for i in range(count)]


@pytest.mark.parametrize("count", [64, 65, 16_384, 16_385, 40_000])
def test_uniform_records_become_a_table_and_come_back(count, tmp_path):
    value = rows(count)
    value[7]["x"] = value[3]["name"] = value[5]["n"] = value[9]["even"] = None
    back, output = through(value, tmp_path)
    assert output == {"kind": "table", "length": count, "place": {"arrow_file": "value.arrow"}}
    assert back == value
    assert [list(row) for row in back[:3]] == [list(row) for row in value[:3]]
    assert [type(item) for item in back[0].values()] == [type(item) for item in value[0].values()]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 1.5},
        {"n": 2**63},
        {"n": "1"},
        {"n": True},
        {"name": ["nested"]},
        {"other": 1},
        {"name": "\0", "n": -(2**63) - 1},
    ],
)
def test_records_that_columns_cannot_hold_without_loss_stay_json(change, tmp_path):
    value = rows(64)
    value[10] = {**value[10], **change}
    back, output = through(value, tmp_path)
    assert output["kind"] == "list"
    assert back == value


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**200])
@pytest.mark.parametrize("place", [0, 16_384, 19_999])
@pytest.mark.parametrize("gap", [None, 5])
def test_whole_numbers_of_more_than_64_bits_stay_json(number, place, gap, tmp_path):
    value = [{"n": gap if i % 3 else i, "s": f"a{i}"} for i in range(20_000)]
    value[place]["n"] = number
    back, output = through(value, tmp_path, inline_bytes_max=1_000)
    assert output == {"kind": "list", "length": 20_000, "place": {"json_file": "value.json"}}
    assert back == value
    assert (tmp_path / "value.arrow").stat().st_size == 0, "a part of a table takes room beside the document"


def test_a_list_that_is_no_table_in_the_end_is_told_as_any_list(tmp_path):
    value = [{"n": i, "s": f"a{i}"} for i in range(20_000)]
    value[19_999]["n"] = 2**63
    size = len(json.dumps(value, separators=(",", ":")))
    with pytest.raises(Failure, match=f"takes {size} bytes, over the limit of 1000"):
        encode.encode(value, str(tmp_path), 100, 1_000)
    value[18_000]["s"] = "half \ud800"
    with pytest.raises(Failure, match=r"\[18000\]\.s is text with half of a surrogate pair, 'half .ud800'; replace"):
        through(value, tmp_path)


@pytest.mark.parametrize("odd", [None, "1", True, 1.0, 2, [1], {}])
@pytest.mark.parametrize("place", [0, 2_047, 2_048, 4_999])
def test_each_value_of_long_tables_keeps_its_type(odd, place, tmp_path):
    value = [{"n": i, "x": i / 3, "even": i % 2 == 0, "s": "x"} for i in range(5_000)]
    for name in value[0]:
        changed = value.copy()
        changed[place] = {**value[place], name: odd}
        back, output = through(changed, tmp_path)
        is_table = odd is None or type(odd) is type(value[0][name])
        assert output["kind"] == ("table" if is_table else "list")
        assert back == changed
        assert [type(item) for item in back[place].values()] == [type(item) for item in changed[place].values()]


@pytest.mark.parametrize("place", [0, 16_383, 16_384, 33_000])
def test_a_column_is_of_the_kind_of_its_first_value_wherever_that_is(place, tmp_path):
    first = {"n": 2**62, "x": 0.5, "even": True, "s": "ü", "none": None, "day": datetime.date(2026, 1, 2)}
    value = [dict.fromkeys(first) for _ in range(place)] + [first] * 20 + [dict.fromkeys(first)] * 20_000
    back, output = through(value, tmp_path)
    read = {**first, "day": "2026-01-02"}
    assert output["kind"] == "table" and back == value[:place] + [read] * 20 + value[place + 20 :]
    assert [type(item) for item in back[place].values()] == [type(item) for item in read.values()]


@pytest.mark.parametrize("gap", [None, 0])
@pytest.mark.parametrize("row", [[1, "a", 0.5], {"n": 1, "s": 2, "x": 0.5}, {"n": 1, "x": 0.5, "s": "a"}, {"n": 1, "s": "a"}, {}, None])
def test_a_row_that_is_no_table_s_far_behind_makes_all_of_them_a_list(row, gap, tmp_path):
    value = [{"n": gap, "s": f"a{i}", "x": i / 4} for i in range(150_000)]
    value[140_000] = row
    told = []
    output = encode.encode(value, str(tmp_path), 1_000, 10**9, told.append)
    assert output == {"kind": "list", "length": 150_000, "place": {"json_file": "value.json"}}
    assert json.dumps(decode.decode({"json_file": str(tmp_path / "value.json")})) == json.dumps(value)
    if gap is not None:
        assert told and (tmp_path / "value.arrow").stat().st_size == 0, "a part of a table takes room beside the document"


def test_subclasses_are_the_plain_values_they_hold(tmp_path):
    class Name(str):
        pass

    class Number(int):
        pass

    for odd in (Name("x"), Number(1)):
        back, output = through([{"v": type(odd).__base__(odd)}] * 5_000 + [{"v": odd}], tmp_path)
        assert output["kind"] == "list" and {type(row["v"]) for row in back} == {type(odd).__base__}


@pytest.mark.parametrize("width", [1, 7, 100, 700])
def test_one_key_too_many_or_too_few_is_seen_in_tables_of_any_width(width, tmp_path):
    value = [{f"c{place}": place * i for place in range(width)} for i in range(max(70, 20_000 // width))]
    back, output = through(value, tmp_path)
    assert output["kind"] == "table" and back == value
    for place in (0, 66, len(value) - 1):
        for change in ({"further": 1}, {"c0": None}, {"c0": 2**64}):
            changed = value.copy()
            changed[place] = {**value[place], **change}
            back, output = through(changed, tmp_path)
            assert output["kind"] == ("table" if change == {"c0": None} else "list") and back == changed
        changed[place] = dict(list(value[place].items())[1:])
        back, output = through(changed, tmp_path)
        assert output["kind"] == "list" and back == changed


@pytest.mark.parametrize("names", [["even", "x", "n", "name", "gap"], ["n", "x", "even", "name"], []])
def test_records_with_keys_of_their_own_keep_them(names, tmp_path):
    value = rows(64)
    value[63] = {name: value[63][name] for name in names}
    back, output = through(value, tmp_path)
    assert output["kind"] == "list" and json.dumps(back) == json.dumps(value)


@pytest.mark.parametrize("odd", ["ü", "\U0001f600", "\0", "", None])
@pytest.mark.parametrize("place", [0, 16_383, 16_384, 19_999])
def test_text_comes_back_wherever_it_is_no_ascii(odd, place, tmp_path):
    value = [{"s": f"a{i}", "t": "x" * (i % 3)} for i in range(20_000)]
    value[place]["s"] = odd
    back, output = through(value, tmp_path)
    assert output["kind"] == "table" and back == value


TEXTS = {
    "empty": lambda i: "",
    "letter": lambda i: chr(97 + i % 26),
    "day": lambda i: f"2026-{i % 12 + 1:02}-{i % 28 + 1:02}",
    "fourteen": lambda i: f"{i:014}",
    "fifteen": lambda i: f"{i:015}",
    "id": lambda i: str(uuid.UUID(int=i)),
    "long": lambda i: f"{i:064}",
    "longer": lambda i: f"{i:065}",
    "lines": lambda i: f"{i % 100:02}\n",
    "windows": lambda i: f"{i % 100:02}\r\n\r",
    "uneven": lambda i: "x" * (i % 5),
    # As many characters as if all had those of the first one.
    "balanced": lambda i: "xx" if i % 2 == 0 else ("x" if i % 4 == 1 else "xxx"),
    "umlaut": lambda i: f"ä{i % 10}",
    # As many characters in each, and not as many bytes; and the other way around.
    "one umlaut": lambda i: "äb" if i % 3 else "ab",
    "bytes": lambda i: "ä" if i % 3 else "ab",
    "faces": lambda i: "\U0001f600" if i % 3 else "four",
    "umlaut lines": lambda i: "ä\r\n" if i % 3 else "\n" * 4,
    "gaps": lambda i: None if i % 7 == 0 else "2026-01-02",
    "gaps and empty": lambda i: None if i % 7 == 0 else "",
    "long and short": lambda i: "x" * 5_000 if i % 500 == 0 else "y",
}


@pytest.mark.parametrize("count", [64, 65, 16_384, 16_385, 20_000])
def test_texts_of_one_length_and_of_several_come_back(count, tmp_path):
    value = [{name: make(i) for name, make in TEXTS.items()} for i in range(count)]
    back, output = through(value, tmp_path)
    assert output["kind"] == "table" and back == value


def test_bools_come_back_in_any_number(tmp_path):
    for count in range(1, 71):
        value = [{"b": i * 7 % 3 == 0, "all": True, "gap": None if i % 5 == 2 else i % 2 == 0} for i in range(count)]
        assert columns.are_written(value, drafts.Draft(str(tmp_path / "value.arrow"), "value.arrow", None), rows_min=1)
        back = arrow_read.read(str(tmp_path / "value.arrow"))
        assert back == value
        assert [list(map(type, row.values())) for row in back] == [list(map(type, row.values())) for row in value]


def test_numbers_that_json_does_not_have_are_none_in_a_table(tmp_path):
    odd = [math.nan, math.inf, -math.inf, None]
    value = [{"odd": odd[i] if i < 4 else i / 2, "inf": math.inf, "huge": 1e308, "zero": -0.0} for i in range(64)]
    back, output = through(value, tmp_path)
    assert output["kind"] == "table"
    assert [row["odd"] for row in back] == [None] * 4 + [i / 2 for i in range(4, 64)]
    assert {(row["inf"], row["huge"], math.copysign(1, row["zero"])) for row in back} == {(None, 1e308, -1)}


def test_half_a_surrogate_pair_in_a_table_is_an_error(tmp_path):
    value = rows(20_000)
    value[17_000]["name"] = "before \ud800"
    with pytest.raises(Failure, match=r"\[17000\]\.name is text with half of a surrogate pair, 'before .ud800'; replace"):
        through(value, tmp_path)


def test_columns_may_have_any_name_and_number(tmp_path):
    names = ["", "'", '"""', "\\", "{v0}", "a\nb", "\0", "ü\u2028", "v0", "None"]
    value = [{name: place * i for place, name in enumerate(names)} for i in range(64)]
    assert through(value, tmp_path)[0] == value
    value = [{str(place): place * i for place in range(300)} for i in range(64)]
    assert through(value, tmp_path)[0] == value


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_of_garbage_is_left_as_it_was(is_on, tmp_path):
    through(rows(64), tmp_path)
    try:
        if not is_on:
            gc.disable()
        arrow_read.read(str(tmp_path / "value.arrow"))
        assert gc.isenabled() == is_on
        (tmp_path / "value.arrow").write_bytes(b"no table, whatever")
        with pytest.raises(ValueError):
            arrow_read.read(str(tmp_path / "value.arrow"))
        assert gc.isenabled() == is_on
    finally:
        gc.enable()


def test_no_list_is_taken_apart_before_the_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "_kept", [])
    code = """
class Row(str):
    freed = []

    def __del__(self):
        Row.freed.append(str(self))

def step(given):
    given[0] = Row("given")
    step.freed = Row.freed
    return [Row("returned")]
"""
    frame = {
        **{"path": [], "step": "step", "function": "step", "inputs": [{"json": [1]}]},
        **{"code": {"text": {"text": code, "script": "script.bue", "line": 1}}},
        **{"values": str(tmp_path), "inline_bytes_max": 1_000, "value_bytes_max": 1_000},
    }
    monkeypatch.setattr(sys, "argv", [])
    assert start._run(frame, None)["value"]["place"] == {"json": '["returned"]'}
    arguments, returned = start._kept
    assert (arguments, returned) == (["given"], ["returned"]) and type(returned[0]).freed == []


def test_few_records_stay_json(tmp_path):
    assert [through(rows(count), tmp_path)[1]["kind"] for count in (63, 64)] == ["list", "table"]


def test_the_edges_of_64_bits_fit(tmp_path):
    value = [{"n": n} for n in [2**63 - 1, -(2**63)] * 40]
    back, output = through(value, tmp_path)
    assert output["kind"] == "table" and back == value


def test_records_with_dates_and_ids_become_text_columns(tmp_path):
    value = [{"id": uuid.UUID(int=i), "day": datetime.date(2026, 1, 1 + i % 28)} for i in range(64)]
    back, output = through(value, tmp_path)
    assert output["kind"] == "table"
    assert back[3] == {"id": str(uuid.UUID(int=3)), "day": "2026-01-04"}
