"""Columns of an Arrow record batch as lists of plain values."""

import json
import struct
from functools import lru_cache
from io import BytesIO, StringIO
from itertools import repeat
from operator import sub

from .failures import standard

(_NULL, _INT, _FLOAT, _BINARY, _TEXT, _BOOL, _DECIMAL, _DATE, _TIME, _TIMESTAMP) = range(1, 11)
(_LIST, _STRUCT) = (12, 13)
(_LARGE_BINARY, _LARGE_TEXT, _LARGE_LIST) = (19, 20, 21)
(_FIXED_BINARY, _FIXED_LIST, _MAP) = (15, 16, 17)
_FORMLESS = {11: "intervals", 14: "unions", 18: "durations"}

_EXTENSION_KEY, _JSON_EXTENSION, _UUID_EXTENSION = "ARROW:extension:name", "arrow.json", "arrow.uuid"
_PER_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
_INTEGERS = {(8, True): "b", (8, False): "B", (16, True): "h", (16, False): "H", (32, True): "i", (32, False): "I"}
_INTEGERS.update({(64, True): "q", (64, False): "Q"})
_SEPARATOR = b"\n"
_EVEN_MIN, EVEN_MAX = 64, 64
"""Fewer texts, and longer ones, are not looked at for whether they all have one length."""
_PARTED_MAX = 14
"""Length of texts, all the same, up to which it is the quickest to put separators between them."""
_MEAN_MAX, _IN_TURN_MAX = 64, 1 << 20
"""Length of ASCII texts, on the average and of all, up to which they are read one behind the other, which takes two thirds of the
time of cutting each out by its place, and four times their memory.
"""
_BOOLS = bytes(ord("1")) + b"\1" + bytes(255 - ord("1"))
"""The byte of a bool, by its digit."""
_UUID_GROUPS = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))


class Unsupported(Exception):
    """A kind of column that is not read here; its text names it."""


class Field:
    """A column's name, type (number and table of the schema), children, and the extension it is marked with."""

    __slots__ = ("name", "kind", "type", "children", "extension")


def field(entry):
    """A field of the schema."""
    if entry.table(4) is not None:
        raise Unsupported("dictionary-encoded columns")
    result = Field()
    result.name = entry.text(0)
    result.kind = entry.number(2, "B")
    result.type = entry.table(3)
    result.children = [field(child) for child in entry.tables(5)]
    if result.kind == _STRUCT and len({child.name for child in result.children}) < len(result.children):
        raise _without_form(result, "dicts with one key twice")
    metadata = {pair.text(0): pair.text(1) for pair in entry.tables(6)}
    result.extension = metadata.get(_EXTENSION_KEY)
    return result


class Reader:
    """Takes the columns of one batch in their order, each with its nodes and buffers."""

    def __init__(self, nodes, buffers, body):
        self._nodes = iter(nodes)
        self._buffers = iter(buffers)
        self._body = body
        self._present = None

    def column(self, field):
        """The values of the next column."""
        read = _READERS.get(field.kind)
        if field.kind in _FORMLESS:
            raise _without_form(field, _FORMLESS[field.kind])
        if read is None:
            raise Unsupported(f"a column `{field.name}` of a type that is not known here")
        count, absent = next(self._nodes)
        if field.kind == _NULL:
            return [None] * count
        validity = self._buffer()
        self._present = present = _bits(validity, count) if absent else None
        values = read(self, field, count)
        if field.extension == _JSON_EXTENSION and field.kind in (_TEXT, _LARGE_TEXT):
            values = [_meant(value) for value in values]
        return [value if there else None for value, there in zip(values, present)] if absent else values

    def _buffer(self):
        offset, size = next(self._buffers)
        return self._body[offset : offset + size]

    def _numbers(self, form, count):
        return list(struct.unpack_from(f"<{count}{form}", self._buffer()))

    def _moments(self, form, count):
        """Numbers that stand for a day or a time. What stands where there is none may be out of any calendar."""
        numbers = self._numbers(form, count)
        return [number if there else 0 for number, there in zip(numbers, self._present)] if self._present else numbers

    def integers(self, field, count):
        form = _INTEGERS[field.type.number(0, "i"), bool(field.type.number(1, "B"))]
        return self._numbers(form, count)

    def floats(self, field, count):
        values = self._numbers("efd"[field.type.number(0, "h")], count)
        # NaN and infinities are no JSON-like values; where there is one, the sum is none either.
        total = sum(values)
        if total - total == 0.0:
            return values
        return [value if value - value == 0.0 else None for value in values]

    def bools(self, field, count):
        return _bits(self._buffer(), count)

    def texts(self, field, count):
        form = "q" if field.kind == _LARGE_TEXT else "i"
        places, data = self._buffer(), bytes(self._buffer())
        width = _width(places, form, count)
        # A character is a byte: most text is like this, and is decoded once.
        is_ascii = data.isascii()
        if is_ascii and 0 < width <= _PARTED_MAX and _SEPARATOR not in data:
            return _parted(data[: width * count], width)
        is_read_in_turn = not is_ascii or len(data) <= min(count * _MEAN_MAX, _IN_TURN_MAX)
        if width and is_read_in_turn:
            return _in_turn(data, is_ascii, repeat(width, count))
        offsets = list(struct.unpack_from(f"<{count + 1}{form}", places)) if count else [0]
        if is_read_in_turn:
            return _in_turn(data[offsets[0] :], is_ascii, map(sub, offsets[1:], offsets))
        text = str(data, "ascii")
        return [text[start:end] for start, end in zip(offsets, offsets[1:])]

    def binaries(self, field, count):
        b64encode = standard("base64").b64encode
        return [b64encode(item).decode("ascii") for item in self._slices(field.kind == _LARGE_BINARY, count)]

    def fixed_binaries(self, field, count):
        b64encode = standard("base64").b64encode
        width, data = field.type.number(0, "i"), self._buffer()
        items = [data[place * width : (place + 1) * width] for place in range(count)]
        if field.extension == _UUID_EXTENSION and width == 16:
            return [_uuid(item.hex()) for item in items]
        return [b64encode(item).decode("ascii") for item in items]

    def _slices(self, large, count):
        offsets = self._offsets(large, count)
        data = self._buffer()
        return [data[start:end] for start, end in zip(offsets, offsets[1:])]

    def _offsets(self, large, count):
        return self._numbers("q" if large else "i", count + 1) if count else [0]

    def decimals(self, field, count):
        Decimal = standard("decimal").Decimal
        scale, width = field.type.number(1, "i"), field.type.number(2, "i", 128) // 8
        data = self._buffer()
        whole = (
            int.from_bytes(data[place : place + width], "little", signed=True)
            for place in range(0, count * width, width)
        )
        if scale > 0:
            return [_decimal(number, scale) for number in whole]
        return [format(Decimal((number < 0, tuple(map(int, str(abs(number)))), -scale)), "f") for number in whole]

    def dates(self, field, count):
        date = standard("datetime").date
        epoch = date(1970, 1, 1).toordinal()
        # Unit 0 counts days, unit 1 milliseconds; the schema's default is 1.
        if field.type.number(0, "h", 1) == 0:
            days = self._moments("i", count)
        else:
            days = [number // 86_400_000 for number in self._moments("q", count)]
        try:
            # There are fewer days than rows, mostly.
            texts = {day: date.fromordinal(epoch + day).isoformat() for day in set(days)}
        except (ValueError, OverflowError):
            raise _out_of_calendar(field) from None
        return [texts[day] for day in days]

    def times(self, field, count):
        per_second = _PER_SECOND[field.type.number(0, "h", 1)]
        form = "i" if field.type.number(1, "i", 32) == 32 else "q"
        return [_clock(number, per_second) for number in self._moments(form, count)]

    def timestamps(self, field, count):
        datetime, timedelta = standard("datetime").datetime, standard("datetime").timedelta
        per_second = _PER_SECOND[field.type.number(0, "h")]
        shift, zone = _zone(field.type.text(1))
        local = datetime(1970, 1, 1) + timedelta(seconds=shift)
        try:
            if per_second == 1_000_000_000:
                return [_with_nanoseconds(number, local, timedelta) + zone for number in self._moments("q", count)]
            microseconds = 1_000_000 // per_second
            moments = (local + timedelta(0, 0, number * microseconds) for number in self._moments("q", count))
            return [moment.isoformat() + zone for moment in moments]
        except OverflowError:
            raise _out_of_calendar(field) from None

    def lists(self, field, count):
        offsets = self._offsets(field.kind == _LARGE_LIST, count)
        items = self.column(field.children[0])
        return [items[start:end] for start, end in zip(offsets, offsets[1:])]

    def fixed_lists(self, field, count):
        size = field.type.number(0, "i")
        items = self.column(field.children[0])
        return [items[place * size : (place + 1) * size] for place in range(count)]

    def maps(self, field, count):
        offsets = self._offsets(False, count)
        (entry,) = field.children
        key, value = (child.name for child in entry.children)
        if entry.children[0].kind not in (_TEXT, _LARGE_TEXT):
            raise _without_form(field, "maps whose keys are no text")
        entries = [(item[key], item[value]) for item in self.column(entry)]
        values = [dict(entries[start:end]) for start, end in zip(offsets, offsets[1:])]
        if sum(map(len, values)) < offsets[-1] - offsets[0]:
            raise _without_form(field, "maps with one key twice")
        return values

    def structs(self, field, count):
        columns = [self.column(child) for child in field.children]
        return records([child.name for child in field.children], columns, count)


_READERS = {
    _NULL: Reader.integers,
    _INT: Reader.integers,
    _FLOAT: Reader.floats,
    _BINARY: Reader.binaries,
    _LARGE_BINARY: Reader.binaries,
    _TEXT: Reader.texts,
    _LARGE_TEXT: Reader.texts,
    _BOOL: Reader.bools,
    _DECIMAL: Reader.decimals,
    _DATE: Reader.dates,
    _TIME: Reader.times,
    _TIMESTAMP: Reader.timestamps,
    _LIST: Reader.lists,
    _LARGE_LIST: Reader.lists,
    _FIXED_LIST: Reader.fixed_lists,
    _FIXED_BINARY: Reader.fixed_binaries,
    _MAP: Reader.maps,
    _STRUCT: Reader.structs,
}


def _width(places, form, count):
    """The length of each of so many texts, which lie one behind the other from the first byte on; 0 where they have several."""
    if count < _EVEN_MIN:
        return 0
    start, width = struct.unpack_from(f"<2{form}", places)
    expected = even_places(form, count, width) if start == 0 and 0 < width <= EVEN_MAX else None
    return width if expected is not None and places[: len(expected)] == expected else 0


@lru_cache(maxsize=8)
def even_places(form, count, width):
    """The places of texts of one length."""
    return struct.pack(f"<{count + 1}{form}", *range(0, count * width + 1, width))


def _parted(data, width):
    """Texts of one length, as dates and codes are. To split at separators takes half as long as to cut each out by its place: they
    are put between all of them at once, after the characters of one place of all of them, and of the next one.
    """
    count = len(data) // width
    parted = bytearray(count * (width + 1))
    for place in range(width):
        parted[place :: width + 1] = data[place::width]
    parted[width :: width + 1] = _SEPARATOR * count
    return str(parted[:-1], "ascii").split(str(_SEPARATOR, "ascii"))


def _in_turn(data, is_ascii, lengths):
    """Texts of these lengths, in bytes, that lie one behind the other."""
    try:
        if is_ascii:
            return list(map(StringIO(str(data, "ascii"), newline="\n").read, lengths))
        return list(map(bytes.decode, map(BytesIO(data).read, lengths)))
    except OverflowError:
        raise IndexError("a text ends far behind all of them") from None


def records(names, columns, count):
    """A dict for each row."""
    if not columns:
        return [{} for _ in range(count)]
    if len(names) > count:
        return [dict(zip(names, values)) for values in zip(*columns)]
    return _maker(tuple(names))(zip(*columns))


@lru_cache(maxsize=8)
def _maker(names):
    """Makes a dict with these names of each tuple of values. Written out as a literal: such a dict is made in its size, and takes
    half the time of one that grows.
    """
    values = [f"v{place}" for place in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values))
    return eval(f"lambda rows: [{{{items}}} for {', '.join(values)}, in rows]")


def _without_form(field, what):
    message = f"the column `{field.name}` holds {what}, which plain data has no form for"
    advice = "convert it to text or a number, or ask for the table by an annotation such as pandas.DataFrame"
    return ValueError(f"{message}; {advice}")


def _meant(text):
    """What a text that is marked as JSON says; the text itself where it only claims to be JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(word):
    raise ValueError(word)


def _uuid(digits):
    return "-".join(digits[start:end] for start, end in _UUID_GROUPS)


def _zone(name):
    """Seconds east of UTC and the end of the text, for a zone such as ``+02:00``; UTC for zones known by name."""
    if not name:
        return 0, ""
    sign, hours, colon, minutes = name[:1], name[1:3], name[3:4], name[4:]
    if sign in "+-" and colon == ":" and (hours + minutes).isdigit() and len(minutes) == 2:
        seconds = int(hours) * 3_600 + int(minutes) * 60
        return (-seconds if sign == "-" else seconds), name
    return 0, "+00:00"


def _out_of_calendar(field):
    return ValueError(f"the column `{field.name}` holds a date or time outside of the calendar")


def _bits(data, count):
    """The first bits of a bitmap, the lowest of each byte first."""
    digits = bin(int.from_bytes(bytes(data[: (count + 7) // 8]) + b"\1", "little"))[:2:-1]
    return memoryview(digits[:count].encode("ascii").translate(_BOOLS)).cast("?").tolist()


def _decimal(number, scale):
    digits = str(abs(number)).zfill(scale + 1)
    return f"{'-' if number < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _with_nanoseconds(number, epoch, timedelta):
    """The moment so many nanoseconds after another one: with nine digits where those are needed."""
    microseconds, rest = divmod(number, 1_000)
    text = (epoch + timedelta(0, 0, microseconds)).isoformat()
    if not rest:
        return text
    return f"{text}{'' if '.' in text else '.000000'}{rest:03}"


def _clock(number, per_second):
    """Time of day from units since midnight, with the fraction only where there is one."""
    seconds, fraction = divmod(number, per_second)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    text = f"{hour:02}:{minute:02}:{second:02}"
    if not fraction:
        return text
    # As `isoformat` writes it: six digits, or nine where those are needed.
    nanoseconds = fraction * (1_000_000_000 // per_second)
    return f"{text}.{nanoseconds:09}" if nanoseconds % 1_000 else f"{text}.{nanoseconds // 1_000:06}"
