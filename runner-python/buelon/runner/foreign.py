"""Tables and scalars of pandas, polars, pyarrow and numpy, for steps whose environment has them.

None of these is imported here: a value can only be of a module that the step has imported.
"""

import sys

from . import columns, failures

_BATCH_ROWS_MAX = 16_384
_BATCH_BYTES_MAX = 1 << 20
"""Size of one batch, by what rows take on the average: whoever reads a table holds a batch of it in memory. A stored one is no larger."""


def plain(value):
    """Whether the value is of a known kind, and its plain form."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _of_numpy(value.item())
    pandas = sys.modules.get("pandas")
    if pandas is not None and value is getattr(pandas, "NA", pandas):
        return True, None
    records = _records(value)
    if records is not None:
        from .values import plain as all_plain

        return True, all_plain(records)
    return False, None


def _of_numpy(item):
    from .values import scalar

    if isinstance(item, (bytes, tuple, list)):
        return False, None
    return True, scalar(item, lambda: "it")


def write_table(value, path):
    """Writes a table as an Arrow IPC stream and returns the number of its rows; None for everything else."""
    arrow = _arrow_table(value)
    if arrow is not None:
        import pyarrow

        with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, arrow.schema) as writer:
            writer.write_table(arrow, max_chunksize=_batch_rows(arrow.num_rows, arrow.nbytes))
        return arrow.num_rows
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(value, polars.DataFrame):
        return _write_polars(polars, value, path)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _write_pandas(value, path)
    return None


def _batch_rows(rows, size_bytes):
    return max(1, min(_BATCH_ROWS_MAX, rows * _BATCH_BYTES_MAX // max(1, size_bytes)))


def _write_polars(polars, frame, path):
    """One stream of small batches: polars itself writes a frame as one batch, and a batch is read whole."""
    import io
    import struct

    from . import in_polars

    end = b"\xff\xff\xff\xff\0\0\0\0"
    in_polars.refuse_formless(frame)
    rows = _batch_rows(frame.height, frame.estimated_size())
    with open(path, "wb") as file:
        for start in range(0, max(frame.height, 1), rows):
            part = io.BytesIO()
            frame.slice(start, rows).write_ipc_stream(part, compat_level=polars.CompatLevel.oldest())
            stream = part.getvalue()
            # Each part has the same schema before its batches, which a stream has once.
            begin = 8 + struct.unpack_from("<i", stream, 4)[0] if start else 0
            file.write(stream[begin : -len(end)] if stream.endswith(end) else stream[begin:])
        file.write(end)
    return frame.height


def _arrow_table(value):
    """A pyarrow table, where pyarrow is there and the value is one of its tables."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None:
        return None
    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    return value if isinstance(value, pyarrow.Table) else None


def _write_pandas(frame, path):
    from . import in_pandas

    frame = in_pandas.with_index(frame)
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        return _write_records(frame, path)
    _check_names(frame)
    frame = in_pandas.with_exact_times(frame)
    if in_pandas.is_mixed(frame):
        return _write_records(frame, path)
    try:
        table = pyarrow.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    except (pyarrow.ArrowException, OverflowError, TypeError):
        # Some column holds values that no type of Arrow has together.
        return _write_records(frame, path)
    for name, field in zip(frame.columns, table.schema):
        if str(field.type).startswith("extension<pandas."):
            # Numbers in a table that say nothing to anybody but pandas: months that are counted, for example.
            raise failures.no_form(name, frame[name].dtype, "make text of it, as in `.astype(str)`")
    return write_table(in_pandas.with_known_codes(pyarrow, table), path)


def _check_names(frame):
    names = set()
    for name in map(str, frame.columns):
        if name in names:
            raise failures.Failure("value", f"two columns of the returned table have the same name, `{name}`")
        names.add(name)


def _write_records(frame, path):
    """Without pyarrow, columns of plain values are a table all the same; others are a list of dicts."""
    from . import arrow_write

    _check_names(frame)
    names = [str(name) for name in frame.columns]
    if not len(frame):
        arrow_write.write(path, [columns.Column(name, "null", []) for name in names])
        return 0
    from .values import plain as all_plain

    table = columns.of_records(all_plain(_records(frame)), rows_min=1)
    if table is None:
        return None
    try:
        arrow_write.write(path, table)
    except UnicodeEncodeError:
        # As a list of dicts it is refused with the place of the text.
        return None
    return len(frame)


def _records(value):
    """A table as a list of dicts; None for everything else."""
    arrow = _arrow_table(value)
    if arrow is not None:
        return arrow.to_pylist()
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(value, polars.DataFrame):
        return value.to_dicts()
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        from . import in_pandas

        records = in_pandas.with_index(value).astype(object).to_dict("records")
        return [{str(name): item for name, item in record.items()} for record in records]
    return None
