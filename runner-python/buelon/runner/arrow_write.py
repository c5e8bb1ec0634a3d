"""Writes columns as an Arrow IPC stream.

The format: https://arrow.apache.org/docs/format/Columnar.html. A stream is a schema message, record batches, and an end
mark; each message is a FlatBuffer and, for batches, the columns' buffers after it, all padded to 8 bytes.
"""

import struct
from itertools import accumulate, chain

from . import flatbuffers as fb
from .arrow_columns import EVEN_MAX, even_places

BATCH_ROWS_MAX = 16_384
BATCH_BYTES_MAX = 8 << 20
"""Size of one batch, of more than one row: single rows are cut out of long tables, and a batch is read whole."""

_CONTINUATION = b"\xff\xff\xff\xff"
_METADATA_V5 = 4
_HEADER_SCHEMA, _HEADER_BATCH = 1, 3
_TYPE_NULL, _TYPE_INT, _TYPE_FLOAT, _TYPE_TEXT, _TYPE_BOOL = 1, 2, 3, 5, 6
_TEXT_BYTES_MAX = 2**31 - 1
_DIGITS = b"01" + bytes(254)
"""The digit of a bool, by its byte."""

NOT_HELD = (UnicodeEncodeError, struct.error)
"""What is raised where columns cannot hold a value."""

_TYPES = {
    "null": (_TYPE_NULL, {}),
    # 64 bits, signed.
    "int": (_TYPE_INT, {0: fb.number("i", 64), 1: fb.number("B", 1)}),
    # Double precision.
    "float": (_TYPE_FLOAT, {0: fb.number("h", 2)}),
    "str": (_TYPE_TEXT, {}),
    "bool": (_TYPE_BOOL, {}),
}


def write(draft, batches):
    """Writes batches of columns (see ``columns.Column``) into a file (see ``drafts.Draft``): of one or more, the first with as many
    rows as any.

    Raises one of ``NOT_HELD`` where a text holds half of a surrogate pair, or a whole number has more than 64 bits. Then, as where a
    batch cannot be made, the file is empty.
    """
    batches = iter(batches)
    first = next(batches)
    with open(draft.path, "wb") as file:
        try:
            file.write(_message(_HEADER_SCHEMA, _schema(first), 0))
            for columns in chain([first], batches):
                _write_batch(file, columns, draft.written)
            file.write(_CONTINUATION + bytes(4))
        except Exception:
            # What is there is no table, and what is written instead may need the room.
            file.truncate(0)
            raise


def _write_batch(file, columns, written):
    """Writes it as one batch, or as several where it is large."""
    rows = len(columns[0].values)
    start, count = 0, rows
    while start < rows:
        count = min(count, rows - start)
        nodes, places, buffers, size = _body(columns, start, start + count)
        if size > BATCH_BYTES_MAX and count > 1:
            count = max(1, count * BATCH_BYTES_MAX // size)
            continue
        header = {0: fb.number("q", count), 1: fb.structs("qq", nodes), 2: fb.structs("qq", places)}
        file.write(_message(_HEADER_BATCH, header, size))
        file.writelines(buffers)
        start += count
        file.flush()
        written(file.tell())


def _schema(columns):
    return {1: fb.tables([_field(column) for column in columns])}


def _field(column):
    type_number, type_fields = _TYPES[column.kind]
    return {
        0: fb.text(column.name),
        1: fb.number("B", 1),
        2: fb.number("B", type_number),
        3: fb.table(type_fields),
        5: fb.tables([]),
    }


def _body(columns, start, end):
    """The columns of one batch: what describes them, their buffers, and the bytes of those."""
    nodes, places, buffers = [], [], []
    size = 0
    for column in columns:
        values = column.values if end - start == len(column.values) else column.values[start:end]
        absent = values.count(None) if column.has_none else 0
        nodes.append((end - start, absent))
        for buffer in _buffers(column.kind, values, absent):
            places.append((size, len(buffer)))
            buffer += bytes(-len(buffer) % 8)
            buffers.append(buffer)
            size += len(buffer)
    return nodes, places, buffers, size


def _message(kind, header, body_bytes):
    fields = {
        0: fb.number("h", _METADATA_V5),
        1: fb.number("B", kind),
        2: fb.table(header),
        3: fb.number("q", body_bytes),
    }
    metadata = fb.build(fields)
    metadata += bytes(-(len(metadata) + 8) % 8)
    return _CONTINUATION + struct.pack("<i", len(metadata)) + metadata


def _buffers(kind, values, absent):
    """The buffers of a column, in Arrow's order. Without None there is no validity bitmap."""
    if kind == "null":
        return []
    validity = _bits([value is not None for value in values]) if absent else b""
    if kind == "bool":
        return [validity, _bits(list(map(bool, values)) if absent else values)]
    if kind == "str":
        return [validity, *_text([value or "" for value in values] if absent else values)]
    if absent:
        zero = 0 if kind == "int" else 0.0
        values = [zero if value is None else value for value in values]
    return [validity, _packed("q" if kind == "int" else "d", values)]


def _text(values):
    text = "".join(values)
    # As many characters as bytes: most text is like this, and needs no look at each value.
    items = values if text.isascii() else [value.encode("utf-8") for value in values]
    whole = text if items is values else b"".join(items)
    if len(whole) > _TEXT_BYTES_MAX:
        raise ValueError("more than 2 GiB of text in one batch of a table")
    if _are_even(items, whole):
        places = even_places("i", len(items), len(items[0]))
    else:
        places = _packed("i", list(accumulate(map(len, items), initial=0)))
    return places, text.encode("ascii") if whole is text else whole


def _are_even(items, whole):
    """Whether texts, which are also there as a whole, have one length, as dates and codes have.

    Where they do, what is put between them stands at every place of that length: to look there is quicker than to ask each for
    its length. Texts with line ends in them are not looked at.
    """
    width, separator = len(items[0]), "\n" if type(whole) is str else b"\n"
    if not 0 < width <= EVEN_MAX or width * len(items) != len(whole) or separator in whole:
        return False
    return separator.join(items)[width :: width + 1] == separator * (len(items) - 1)


def _bits(values):
    """Bools, eight to a byte, the lowest bit first: the digits of a number, whose first is its last bit."""
    number = int(bytes(values)[::-1].translate(_DIGITS), 2)
    return number.to_bytes((len(values) + 7) // 8, "little")


def _packed(form, values):
    return struct.pack(f"<{len(values)}{form}", *values)
