"""A process that waits for its step reads what the step will take."""

import json
import os
import resource
import threading
import time

import pandas
import pyarrow
import pyarrow.ipc
import pytest
from test_preload import loaded
from test_warm import Worker, answer_of

from buelon.runner import ahead, arrow_read

OTHER = pyarrow.table({"n": [4], "word": ["other"]})
TABLE = pyarrow.table({"n": [1, 2, None], "word": ["a", "ü", "c"]})
FORMS = {
    "def step(rows): pass": None,
    "def step(): pass": None,
    "def step(*rows): pass": None,
    "def step(rows: list[dict], more: 'pandas.DataFrame' = None): pass": None,
    "def step(frame: 'pandas.DataFrame'): pass": "pandas",
    "def step(mut, frame: 'pandas.DataFrame'): pass": "pandas",
    "async def step(frame: '\"polars.DataFrame\"'): pass": "polars",
    "import pandas as pd\ndef step(frame: pd.DataFrame, /): pass": "pandas",
    "import pandas as pd\ndef step(frame: 'pd.DataFrame'): pass": "pandas",
    "import pyarrow.compute\ndef step(frame: pyarrow.Table): pass": "pyarrow",
    "from polars import DataFrame as Frame\ndef step(frame: Frame): pass": "polars",
    "from __future__ import annotations\nfrom . import x\ndef step(frame: pyarrow.Table): pass": "pyarrow",
    "def step(frame: pandas.DataFrame | None): pass": None,
    "def step(rows): pass\ndef step(frame: 'pyarrow.Table'): pass": "pyarrow",
}


@pytest.mark.parametrize("text, form", FORMS.items())
def test_the_form_is_that_of_the_text(text, form):
    assert ahead.form_of(text, "step") == form


@pytest.mark.parametrize("text", ["step = len", "from other import step", "@wrapped\ndef step(x): pass", "class step: pass"])
def test_what_is_not_written_plainly_is_not_guessed(text):
    with pytest.raises(LookupError):
        ahead.form_of(text, "step")


class Reader(Worker):
    """A worker that tells processes what to read before it has steps for them."""

    grows = False

    def returned(self, annotation, order="early", told=True, **changes):
        """What a step returns that takes a table. Before it takes it, another one comes in the place of the file."""
        path = self.folder / "input-0.arrow"
        write(path, TABLE)
        write(self.folder / "other.arrow", OTHER)
        code = (
            f"import os\nos.replace({str(self.folder / 'other.arrow')!r}, {str(path)!r})\n"
            f"def step(table{annotation}):\n"
            "    rows = table if type(table) is list else getattr(table, 'to_pylist', getattr(table, 'to_dicts', None))\n"
            "    rows = rows() if callable(rows) else table.to_dict('records') if rows is None else rows\n"
            "    return [type(table).__module__.partition('.')[0], [row['word'] for row in rows]]"
        )
        self.line, self.path = told, path
        self.changes = {"bounds": [], "code": code, **changes}
        return self.result(code, order)

    def result(self, code, order="early"):
        _, answer = self.fork(code, order=order)
        frame = answer_of(answer)
        self.hear_end()
        return json.loads(frame["value"]["place"]["json"]) if frame.get("status") == "success" else frame

    def input(self, code, variables=None):
        launch, start, _ = super().input(code, variables).split(b"\n")
        frame = {**json.loads(start), "inputs": [{"arrow_file": str(self.path)}]}
        lines = launch + b"\n" + json.dumps(frame).encode() + b"\n"
        if not self.line:
            return lines
        told = {**frame, "code": {"text": {"text": self.changes["code"], "script": "x.bue", "line": 1}}}
        environment = json.loads(launch)["environment"]
        ahead = {"ahead": {"frame": told, "grows": self.grows, "environment": environment, "bounds": self.changes["bounds"]}}
        return json.dumps(ahead, separators=(",", ":")).encode() + b"\n" + lines


def write(path, table, rows=None):
    with pyarrow.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    site = os.path.dirname(os.path.dirname(pandas.__file__))
    worker = Reader(tmp_path_factory.mktemp("steps"), f"import sys; sys.path.append({site!r}); ")
    assert loaded(worker, "pandas", "polars", "pyarrow").startswith("loaded ")
    yield worker
    worker.close()


WORDS, OTHERS = TABLE["word"].to_pylist(), OTHER["word"].to_pylist()


@pytest.mark.parametrize("order", ["early", "fork"])
@pytest.mark.parametrize(
    "annotation, module",
    [("", "builtins"), (": 'pandas.DataFrame'", "pandas"), (": 'polars.DataFrame'", "polars"), (": 'pyarrow.Table'", "pyarrow")],
)
def test_a_step_gets_the_table_that_was_read_before_it_was_there(worker, annotation, module, order):
    assert worker.returned(annotation, order) == [module, WORDS]
    assert worker.returned(annotation, order, told=False) == [module, OTHERS]


def test_what_was_guessed_or_read_wrong_is_read_by_the_step(worker):
    plain, pandas_ = "def step(table): pass", "def step(table: 'pandas.DataFrame'): pass"
    assert worker.returned(": 'pandas.DataFrame'", code=plain) == ["pandas", OTHERS]
    assert worker.returned("", code=pandas_) == ["builtins", OTHERS]
    for code in ("def step(table", "step = print", "def step(table: 'pandas.DataFrame"):
        assert worker.returned("", code=code) == ["builtins", OTHERS]
    assert worker.returned("", bounds=[["no", "limit"]]) == ["builtins", OTHERS]


def test_a_frame_of_pandas_is_as_the_step_has_set_it(worker):
    worker.path = worker.folder / "input-0.arrow"
    write(worker.path, TABLE)
    settings = {
        "": ["str", "pyarrow"],
        "pandas.set_option('display.width', 40)": ["str", "pyarrow"],
        "pandas.set_option('mode.string_storage', 'python')": ["str", "python"],
    }
    for setting, kind in settings.items():
        code = (
            f"import pandas\nimport gc\n{setting}\n"
            "frames = [id(part) for part in gc.get_objects() if type(part) is pandas.DataFrame]\n"
            "def step(table: pandas.DataFrame):\n"
            "    kind = table['word'].dtype\n"
            "    return [str(kind), getattr(kind, 'storage', None), id(table) in frames, str(table['n'].dtype)]\n"
        )
        worker.changes = {"bounds": [], "code": code}
        for worker.line in (True, False):
            assert worker.result(code) == [*kind, worker.line and "mode" not in setting, "Int64"]


def test_no_frame_is_made_ahead_of_a_table_that_says_how_it_was_one_of_pandas(worker):
    worker.path = worker.folder / "input-0.arrow"
    frame = pandas.DataFrame({"n": pandas.array([1.0, float("nan"), None], dtype="Float64")})
    write(worker.path, pyarrow.Table.from_pandas(frame))
    for setting, missing in (("", [False, True, True]), ("pandas.set_option('future.distinguish_nan_and_na', True)", None)):
        code = f"import pandas\n{setting}\ndef step(table: pandas.DataFrame):\n    return table['n'].isna().tolist()"
        worker.changes = {"bounds": [], "code": code}
        found = []
        for worker.line in (True, False):
            found.append(worker.result(code))
        assert found[0] == found[1] and missing in (None, found[0])


def test_rows_of_a_large_table_are_not_made_before_all_of_it_is_there(tmp_path, monkeypatch):
    write(tmp_path / "table", pyarrow.table({"n": range(1_000)}), rows=100)
    assert len(arrow_read.read_as_it_grows(str(tmp_path / "table"))) == 1_000
    (tmp_path / "table").write_bytes((tmp_path / "table").read_bytes()[:6_000])
    monkeypatch.setattr(arrow_read, "_GROWING_BYTES_MAX", 5_000)
    with pytest.raises(ValueError, match="as a whole"):
        arrow_read.read_as_it_grows(str(tmp_path / "table"))


def test_what_a_frame_leaves_behind_is_left_by_the_step_that_takes_it(worker):
    for annotation, came in ((": pandas.DataFrame", [["n", "int64"], ["word", "string"]]), ("", [])):
        code = (
            f"import pandas\ndef step(table{annotation}):\n"
            "    from buelon.runner import in_pandas\n"
            "    return [[field.name, str(field.type)] for field in in_pandas.came.get()]\n"
        )
        told = "def step(table: 'pandas.DataFrame'): pass"
        worker.path = worker.folder / "input-0.arrow"
        write(worker.path, TABLE)
        worker.line, worker.changes = True, {"bounds": [], "code": told}
        assert worker.result(code) == came


@pytest.mark.parametrize("annotation", ["", ": 'pandas.DataFrame'", ": 'polars.DataFrame'", ": 'pyarrow.Table'"])
def test_a_table_is_read_while_it_is_written(worker, tmp_path, annotation):
    write(tmp_path / "whole", pyarrow.table({"n": range(40_000), "word": [f"w {n}" for n in range(40_000)]}), rows=7_000)
    stream = (tmp_path / "whole").read_bytes()
    worker.path, worker.grows, worker.line = worker.folder / "grows.arrow", True, True
    code = (
        # Only who has read it by now has it.
        f"import os\nos.unlink({str(worker.path)!r})\n"
        f"def step(table{annotation}):\n"
        "    words = [row['word'] for row in table] if type(table) is list else list(table['word'])\n"
        "    return [type(table).__module__.partition('.')[0], len(words), str(words[-1])]"
    )
    worker.changes = {"bounds": [], "code": code}
    # Whatever is there when it is looked at: nothing, a part of a head, of a body, all but the mark of the end.
    places = [0, 5, 100, 1_000, len(stream) // 2, len(stream) - 8, len(stream)]
    parts = [stream[start:end] for start, end in zip(places, places[1:])]

    def grow():
        with open(worker.path, "ab", buffering=0) as file:
            for part in parts:
                time.sleep(0.02)
                file.write(part)

    worker.path.write_bytes(b"")
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        module = annotation.partition(".")[0].strip(": '") or "builtins"
        assert worker.result(code) == [module, 40_000, "w 39999"]
    finally:
        writer.join()
        worker.grows = False


def test_what_only_pyarrow_reads_is_read_when_it_is_whole(worker):
    worker.path, worker.grows, worker.line = worker.folder / "grows.arrow", True, True
    words = pyarrow.array(["a", "b", "a"]).dictionary_encode()
    write(worker.path, pyarrow.table({"word": words}))
    code = "def step(table):\n    return [row['word'] for row in table]"
    worker.changes = {"bounds": [], "code": code}
    try:
        assert worker.result(code) == ["a", "b", "a"]
    finally:
        worker.grows = False


def test_what_is_odd_in_a_text_is_not_said_when_it_is_only_looked_at(recwarn):
    assert ahead.form_of("word = '\\d'\ndef step(frame: 'polars.DataFrame'): pass", "step") == "polars"
    assert not recwarn.list


def test_the_bounds_of_the_step_hold_while_its_table_is_read(worker):
    limit = resource.RLIMIT_NOFILE, 3, 3
    assert worker.returned("", bounds=[limit])["kind"] == "input"


def test_a_line_may_come_in_pieces(worker):
    long = "#" + "x" * 30_000 + "\n"
    assert worker.returned("", code=long + "def step(table): pass") == ["builtins", WORDS]
