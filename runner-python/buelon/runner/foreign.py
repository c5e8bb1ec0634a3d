"""Tables and scalars of pandas, polars, pyarrow and numpy, for steps whose environment has them.

None of these is imported here: a value can only be of a module that the step has imported.
"""

import sys

from . import columns, failures, texts

_BATCH_ROWS_MAX = 16_384
_BATCH_BYTES_MAX = 1 << 20
"""Size of one batch, by what rows take on the average: whoever reads a table holds a batch of it in memory. A stored one is no larger."""
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""How a stream ends."""


def plain(value):
    """Whether the value is of a known kind, and its plain form."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _of_numpy(numpy, value)
    pandas = sys.modules.get("pandas")
    if pandas is not None and value is getattr(pandas, "NA", pandas):
        return True, None
    records = _records(value)
    if records is not None:
        from .values import plain as all_plain

        return True, all_plain(records)
    return False, None


def _of_numpy(numpy, value):
    from .values import scalar

    item = value.item()
    if value.dtype.kind == "M" and type(item) is int:
        # No datetime of Python holds nanoseconds, or years of five digits.
        moment = value.astype("M8[us]")
        item = moment.item() if moment == value else None
        return True, item.isoformat() if hasattr(item, "isoformat") else str(value)
    if isinstance(item, (bytes, tuple, list, numpy.generic)) or (value.dtype.kind == "m" and item is not None):
        return False, None
    return True, scalar(item, lambda: "it")


def write_table(value, draft):
    """Writes a table as an Arrow IPC stream into a file (see ``drafts.Draft``) and returns the number of its rows.

    Of a table that no columns hold as it is, it returns the rows as plain data; None for everything else.
    """
    arrow = _arrow_table(value)
    if arrow is not None:
        return _write_arrow(arrow, draft)
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(value, polars.DataFrame):
        # polars writes past any buffer of Python's.
        with open(draft.path, "w+b", buffering=0) as file:
            try:
                _write_polars(polars, value, file, draft.written)
            except OSError as error:
                raise _numbered(error) from None
        return value.height
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        arrow, frame, why = _of_pandas(value)
        return _write_records(frame, why, draft) if arrow is None else _write_arrow(arrow, draft)
    return None


def _write_arrow(table, draft):
    import pyarrow

    with pyarrow.OSFile(draft.path, "wb") as file:
        _write_stream(pyarrow, table, file, draft.written)
    return table.num_rows


def _write_stream(pyarrow, table, file, written):
    import pyarrow.ipc

    with pyarrow.ipc.new_stream(file, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=_batch_rows(table.num_rows, table.nbytes)):
            writer.write_batch(batch)
            written(file.tell())


def _batch_rows(rows, size_bytes):
    return max(1, min(_BATCH_ROWS_MAX, rows * _BATCH_BYTES_MAX // max(1, size_bytes)))


def _write_polars(polars, frame, file, written):
    """One stream of small batches: polars itself writes a frame as one batch, and a batch is read whole.

    It writes each part to the file by itself, as a stream. The schema at the begin of that comes to lie over the end of the part
    before, which is then put right.
    """
    import struct

    from . import in_polars

    in_polars.refuse_formless(frame)
    rows = _batch_rows(frame.height, frame.estimated_size())
    end, schema_bytes = 0, 0
    for start in range(0, max(frame.height, 1), rows):
        begin = end - schema_bytes
        file.seek(begin)
        covered = file.read(schema_bytes)
        file.seek(begin)
        frame.slice(start, rows).write_ipc_stream(file, compat_level=polars.CompatLevel.oldest())
        end = file.tell()
        file.seek(end - len(_END))
        end -= len(_END) if file.read(len(_END)) == _END else 0
        file.seek(begin)
        if covered:
            file.write(covered)
        else:
            schema_bytes = 8 + struct.unpack("<ii", file.read(8))[1]
        # What the next part lies over is right again once that is there.
        written(end - schema_bytes)
    file.seek(end)
    file.write(_END)


def _numbered(error):
    """The system's error as Python has it: polars tells its number in the text alone."""
    _, found, number = str(error).rpartition("(os error ")
    number = number.rstrip(")")
    return OSError(int(number), str(error)) if error.errno is None and found and number.isdigit() else error


def _arrow_table(value):
    """A pyarrow table, where pyarrow is there and the value is one of its tables."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        return None
    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    return value if isinstance(value, pyarrow.Table) else None


def _of_pandas(frame):
    """The pyarrow table of a frame; else None. The frame whose rows are to be written then, and why they are."""
    from . import of_pandas

    frame = of_pandas.with_index(frame)
    _check_names(frame)
    try:
        import pyarrow
    except ImportError:
        return None, frame, ""
    return of_pandas.to_arrow(pyarrow, frame)


def _check_names(frame):
    names = set()
    for name in map(str, frame.columns):
        if not texts.is_text(name):
            told = f"the name {name!r} of a column holds half of a surrogate pair"
            raise failures.Failure("value", f"the returned value cannot be stored: {told}")
        if name in names:
            raise failures.Failure("value", f"two columns of the returned table have the same name, `{name}`")
        names.add(name)


def _write_records(frame, why, draft):
    """Columns of plain values are a table also without pyarrow; others are a list of dicts.

    Where it is for the sake of some columns that the rows are written, the log says so.
    """
    from . import arrow_write

    names = [str(name) for name in frame.columns]
    if names and not len(frame):
        arrow_write.write(draft, [[columns.Column(name, "null", []) for name in names]])
        return 0
    records = _plain_rows(frame, why, is_told=bool(why))
    return len(frame) if columns.are_written(records, draft, rows_min=1) else records


def _plain_rows(frame, why, is_told=False):
    """The rows of a frame as plain data. An error says also why they had to be that; the log, where it is to be told."""
    from . import by_rows
    from .values import plain as all_plain

    rows = _rows_of_pandas(frame)
    try:
        records = all_plain(rows)
    except failures.Failure as failure:
        raise by_rows.with_reason(failure, why) if why else failure from None
    if is_told:
        by_rows.tell(why, rows)
    return records


def _rows_of_pandas(frame):
    rows = [{str(name): item for name, item in row.items()} for row in frame.astype(object).to_dict("records")]
    numpy = sys.modules.get("numpy")
    objects = [str(name) for name, dtype in zip(frame.columns, frame.dtypes) if str(dtype) == "object"]
    for row in rows if numpy is not None else ():
        for name in objects:
            if type(row[name]) in _HOLDERS or isinstance(row[name], numpy.ndarray):
                row[name] = _with_lists(numpy, row[name])
    return rows


_HOLDERS = (list, tuple, dict)


def _with_lists(numpy, value):
    """The value with lists for the arrays that pandas makes of those of Arrow, wherever they are in it."""
    if isinstance(value, numpy.ndarray):
        # Python's own times do not hold those of arrays.
        value = list(value) if value.dtype.kind in "mM" else value.tolist()
    if type(value) is dict:
        return {key: _with_lists(numpy, item) for key, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [_with_lists(numpy, item) for item in value]
    return value


def _records(value):
    """A table as a list of dicts, as it is where it is returned by itself; None for everything else."""
    arrow = _arrow_table(value)
    if arrow is not None:
        return rows_of_arrow(arrow)
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(value, polars.DataFrame):
        texts = polars.col(polars.Categorical, polars.Enum).cast(polars.String)
        return _rows(lambda file: _write_polars(polars, value.with_columns(texts), file, _untold))
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        arrow, frame, why = _of_pandas(value)
        # Inside of another value each table is plain data: nothing is lost for the sake of some columns.
        return _plain_rows(frame, why) if arrow is None else rows_of_arrow(arrow)
    return None


def rows_of_arrow(table):
    """The rows of a pyarrow table as plain records. Raises ``Failure`` where it has a column that has no form there."""
    import pyarrow

    return _rows(lambda file: _write_stream(pyarrow, table, file, _untold))


def _untold(_):
    """Nobody waits for a stream in memory."""


def _rows(write):
    import io

    from . import arrow_read

    stream = io.BytesIO()
    write(stream)
    try:
        return arrow_read.of_stream(stream.getbuffer())
    except ValueError as error:
        raise failures.Failure("value", f"a returned table has no form as plain data: {error}") from None
