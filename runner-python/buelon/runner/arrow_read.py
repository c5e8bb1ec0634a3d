"""Reads an Arrow IPC stream into a list of dicts.

Dates and times become ISO text, decimals their digits, bytes base64 text, text marked as JSON what it says: a table
looks to a Python step as its rows would as JSON. What this reader does not know it leaves to pyarrow, where the step's
environment has it.
"""

import gc
import mmap
import struct

from . import arrow_columns
from .arrow_columns import Unsupported
from .flatbuffers import Table

_HEADER_SCHEMA, _HEADER_BATCH = 1, 3


def read(path):
    """The rows of the stream in the file. Raises ``ValueError`` where it cannot be read."""
    with open(path, "rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("the table is empty of anything, even of a schema") from None
    return of_stream(memoryview(data))


def of_stream(view):
    """The rows of a stream in memory."""
    has_collector = gc.isenabled()
    # All that is made here is kept: looking for garbage among it would take a tenth of the time.
    gc.disable()
    try:
        return _rows(view)
    except Unsupported as error:
        return _with_pyarrow(view, error)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the table is damaged: {error}") from None
    finally:
        if has_collector:
            gc.enable()


def _rows(view):
    fields, rows = None, []
    for message, body in _messages(view):
        kind = message.number(1, "B")
        header = message.table(2)
        if kind == _HEADER_SCHEMA:
            fields = [arrow_columns.field(entry) for entry in header.tables(1)]
            _check_names(fields)
        elif kind == _HEADER_BATCH and fields is not None:
            rows += _batch(fields, header, body)
        else:
            raise Unsupported("dictionary-encoded columns")
    return rows


def _check_names(fields):
    names = set()
    for field in fields:
        if field.name in names:
            raise ValueError(f"two columns of the table are called `{field.name}`")
        names.add(field.name)


def _batch(fields, header, body):
    if header.table(3) is not None:
        raise Unsupported("compressed columns")
    count = header.number(0, "q")
    reader = arrow_columns.Reader(header.structs(1, "qq"), header.structs(2, "qq"), body)
    columns = [reader.column(field) for field in fields]
    return arrow_columns.records([field.name for field in fields], columns, count)


def _messages(view):
    """Each message with its body."""
    place = 0
    while place + 8 <= len(view):
        mark, size = struct.unpack_from("<Ii", view, place)
        if mark != 0xFFFFFFFF:
            raise ValueError("the table is damaged: a message does not begin where it should")
        if size == 0:
            return
        start = place + 8
        message = Table.root(view[start : start + size])
        length = message.number(3, "q")
        body = start + size
        if body + length > len(view):
            raise ValueError("the table is damaged: it ends in the middle")
        yield message, view[body : body + length]
        place = body + length


def _with_pyarrow(view, error):
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise ValueError(f"the table has {error}; install pyarrow in the environment of the step") from None
    from . import arrow_plain

    sink = pyarrow.BufferOutputStream()
    try:
        table = arrow_plain.table(pyarrow, pyarrow.ipc.open_stream(pyarrow.py_buffer(view)).read_all())
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return _rows(memoryview(sink.getvalue()))
    except Unsupported as error:
        raise ValueError(f"the table has {error}; convert it to text or a number") from None
    except pyarrow.ArrowException as error:
        raise ValueError(f"pyarrow cannot read the table: {error}") from None
