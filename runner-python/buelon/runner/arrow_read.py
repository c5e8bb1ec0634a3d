"""Reads an Arrow IPC stream into a list of dicts.

Dates and times become ISO text, decimals their digits, bytes base64 text, text marked as JSON what it says: a table
looks to a Python step as its rows would as JSON. What this reader does not know it leaves to pyarrow, where the step's
environment has it.
"""

import gc
import mmap
import os
import struct
import time

from . import arrow_columns
from .arrow_columns import Unsupported
from .flatbuffers import Table

_HEADER_SCHEMA, _HEADER_BATCH = 1, 3
_PAUSE_SECONDS, _PAUSE_SECONDS_MAX = 0.001, 0.064
"""How long nothing is looked for in a file that does not grow: at first, and at most. It counts as time of the step's own."""
_PAUSES_OF_TIME = 10
"""What part of the time for which it has not grown."""
_GROWING_BYTES_MAX = 64 << 20
"""Of a larger table no rows are made before all of it is there: they take memory beside what writes it."""


def read(path):
    """The rows of the stream in the file. Raises ``ValueError`` where it cannot be read."""
    with open(path, "rb") as file:
        return of_stream(_mapped(file))


def read_as_it_grows(path):
    """The rows of a stream that is still being written, when it has its end."""
    with open(path, "rb") as file:

        def at_least(size_bytes):
            if size_bytes > _GROWING_BYTES_MAX:
                raise ValueError("it is to be read as a whole")
            _wait_for(file, size_bytes)
            return _mapped(file)

        return of_stream(at_least(1), at_least)


def wait_for_end(path):
    """Returns when a stream that is still being written has its end."""
    with open(path, "rb") as file:
        place = 0
        while True:
            head = _read_at_least(file, place, 8)
            size = struct.unpack("<Ii", head)[1]
            if size == 0:
                return
            place += 8 + size + Table.root(_read_at_least(file, place + 8, size)).number(3, "q")


def _read_at_least(file, place, size_bytes):
    _wait_for(file, place + size_bytes)
    return os.pread(file.fileno(), size_bytes, place)


def _wait_for(file, size_bytes):
    """Returns when the file has so many bytes."""
    waited = 0
    while os.fstat(file.fileno()).st_size < size_bytes:
        pause = min(max(waited / _PAUSES_OF_TIME, _PAUSE_SECONDS), _PAUSE_SECONDS_MAX)
        time.sleep(pause)
        waited += pause


def _mapped(file):
    try:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except ValueError:
        raise ValueError("the table is empty of anything, even of a schema") from None


def of_stream(view, at_least=None):
    """The rows of a stream in memory. Where it grows, ``at_least`` waits until it has so many bytes, and returns it."""
    has_collector = gc.isenabled()
    # All that is made here is kept: looking for garbage among it would take a tenth of the time.
    gc.disable()
    try:
        return _rows(view, at_least)
    except Unsupported as error:
        if at_least is not None:
            raise ValueError("it is to be read as a whole") from None
        return _with_pyarrow(view, error)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the table is damaged: {error}") from None
    finally:
        if has_collector:
            gc.enable()


def _rows(view, at_least=None):
    fields, rows = None, []
    for message, body in _messages(view, at_least):
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


def _messages(view, at_least):
    """Each message with its body."""
    place = 0
    while True:
        view = _reaching(view, place + 8, at_least)
        if place + 8 > len(view):
            return
        mark, size = struct.unpack_from("<Ii", view, place)
        if mark != 0xFFFFFFFF:
            raise ValueError("the table is damaged: a message does not begin where it should")
        if size == 0:
            return
        start = place + 8
        body = start + size
        view = _reaching(view, body, at_least)
        message = Table.root(view[start:body])
        length = message.number(3, "q")
        view = _reaching(view, body + length, at_least)
        if body + length > len(view):
            raise ValueError("the table is damaged: it ends in the middle")
        yield message, view[body : body + length]
        place = body + length


def _reaching(view, end, at_least):
    """The stream as far as this place, where it grows until it reaches that."""
    return at_least(end) if end > len(view) and at_least is not None else view


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
