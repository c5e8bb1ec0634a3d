"""The little of FlatBuffers that Arrow's messages need, read and written.

The format: https://flatbuffers.dev/internals/. All numbers are little-endian; a table points back to its vtable, which
holds the places of its fields; strings, vectors and tables inside of a table are pointed to by forward offsets.
"""

import struct


class Table:
    """A table in a buffer, whose fields are asked for by their number in the schema."""

    __slots__ = ("_buffer", "_start", "_vtable", "_vtable_bytes")

    def __init__(self, buffer, start):
        self._buffer = buffer
        self._start = start
        (back,) = struct.unpack_from("<i", buffer, start)
        self._vtable = start - back
        (self._vtable_bytes,) = struct.unpack_from("<H", buffer, self._vtable)

    @classmethod
    def root(cls, buffer):
        """The table that a buffer begins with."""
        return cls(buffer, struct.unpack_from("<I", buffer, 0)[0])

    def number(self, field, form, default=0):
        """A number, in the letters of ``struct``."""
        place = self._place(field)
        return struct.unpack_from("<" + form, self._buffer, place)[0] if place else default

    def table(self, field):
        """A table, or None."""
        place = self._place(field)
        return Table(self._buffer, self._target(place)) if place else None

    def text(self, field):
        """A string; empty where there is none."""
        place = self._place(field)
        if not place:
            return ""
        start = self._target(place)
        (length,) = struct.unpack_from("<I", self._buffer, start)
        return bytes(self._buffer[start + 4 : start + 4 + length]).decode("utf-8")

    def tables(self, field):
        """A vector of tables."""
        start, count = self._vector(field)
        return [Table(self._buffer, self._target(start + 4 * index)) for index in range(count)]

    def structs(self, field, form):
        """A vector of structs, each as a tuple of numbers."""
        start, count = self._vector(field)
        size = struct.calcsize("<" + form)
        return [struct.unpack_from("<" + form, self._buffer, start + size * index) for index in range(count)]

    def _place(self, field):
        entry = 4 + 2 * field
        if entry >= self._vtable_bytes:
            return 0
        (offset,) = struct.unpack_from("<H", self._buffer, self._vtable + entry)
        return self._start + offset if offset else 0

    def _target(self, place):
        return place + struct.unpack_from("<I", self._buffer, place)[0]

    def _vector(self, field):
        place = self._place(field)
        if not place:
            return 0, 0
        start = self._target(place)
        return start + 4, struct.unpack_from("<I", self._buffer, start)[0]


def build(fields):
    """A buffer whose root is a table. ``fields``: a dict from field number to what the functions below make."""
    buffer = bytearray(4)
    struct.pack_into("<I", buffer, 0, _write_table(buffer, fields))
    return bytes(buffer)


def number(form, value):
    """A number, in a letter of ``struct``."""
    return "number", form, value


def text(value):
    """A string."""
    return "text", "I", value


def table(fields):
    """A table."""
    return "table", "I", fields


def tables(items):
    """A vector of tables."""
    return "tables", "I", items


def structs(form, items):
    """A vector of structs of 8-byte numbers."""
    return "structs", "I", (form, items)


def _write_table(buffer, fields):
    """Appends a table and all it points to; returns its place. What it points to comes after it."""
    count = max(fields, default=-1) + 1
    places, size = _lay_out(fields)
    _pad(buffer, 2)
    vtable = len(buffer)
    buffer += struct.pack("<HH", 4 + 2 * count, size)
    buffer += struct.pack(f"<{count}H", *(places.get(field, 0) for field in range(count)))
    _pad(buffer, 8)
    start = len(buffer)
    buffer += bytes(size)
    struct.pack_into("<i", buffer, start, start - vtable)
    for field, (kind, form, value) in fields.items():
        place = start + places[field]
        if kind == "number":
            struct.pack_into("<" + form, buffer, place, value)
        else:
            struct.pack_into("<I", buffer, place, _write_target(buffer, kind, value) - place)
    return start


def _lay_out(fields):
    """The place of each field after the start of the table, each aligned to its size, and the size of all."""
    places, size = {}, 4
    for field, (_, form, _) in fields.items():
        width = struct.calcsize("<" + form)
        size += -size % width
        places[field] = size
        size += width
    return places, size


def _write_target(buffer, kind, value):
    if kind == "text":
        data = value.encode("utf-8")
        _pad(buffer, 4)
        place = len(buffer)
        buffer += struct.pack("<I", len(data)) + data + b"\0"
        return place
    if kind == "table":
        return _write_table(buffer, value)
    if kind == "structs":
        form, items = value
        # The numbers after the length are aligned to 8.
        buffer += bytes(-(len(buffer) + 4) % 8)
        place = len(buffer)
        buffer += struct.pack("<I", len(items))
        for item in items:
            buffer += struct.pack("<" + form, *item)
        return place
    _pad(buffer, 4)
    place = len(buffer)
    buffer += struct.pack("<I", len(value)) + bytes(4 * len(value))
    for index, item in enumerate(value):
        entry = place + 4 + 4 * index
        struct.pack_into("<I", buffer, entry, _write_table(buffer, item) - entry)
    return place


def _pad(buffer, width):
    buffer += bytes(-len(buffer) % width)
