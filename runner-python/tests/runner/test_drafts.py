"""What the worker is told of a table while it is written."""

import pandas
import polars
import pyarrow
import pytest

from buelon.runner import encode, frames


@pytest.mark.parametrize("made", (pyarrow.table, pandas.DataFrame, polars.DataFrame, "records"))
def test_what_the_worker_is_told_of_a_table_that_is_written_stays_as_it_is(tmp_path, made):
    columns = {"n": list(range(200_000)), "s": [f"text {n}" if n % 7 else None for n in range(200_000)]}
    table = [dict(zip(columns, row)) for row in zip(*columns.values())] if made == "records" else made(columns)
    path = tmp_path / "value.arrow"
    told = []

    def tell(line):
        said = frames.parse(line)
        assert set(said) == {"draft", "bytes"} and said["draft"] == path.name
        told.append(path.read_bytes()[: said["bytes"]])
        assert len(told[-1]) == said["bytes"]

    assert encode.encode(table, str(tmp_path), 1_000, 10**9, tell)["length"] == 200_000
    written = path.read_bytes()
    assert len(told) >= 3 and len(told[0]) >= 1 << 20 and len(told[-1]) > len(written) * 3 / 4
    assert all(len(before) < len(after) for before, after in zip(told, told[1:]))
    assert all(written.startswith(part) for part in told)


def test_nobody_is_told_of_small_tables_and_a_worker_that_is_gone_stops_none(tmp_path):
    def gone(_):
        told.append(True)
        raise BrokenPipeError

    told = []
    for rows in (10_000, 300_000):
        frame = polars.DataFrame({"n": range(rows)})
        assert encode.encode(frame, str(tmp_path), 1_000, 10**9, gone)["length"] == rows
    assert told == [True]
