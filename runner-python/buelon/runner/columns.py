"""Finds out whether a list of dicts is a table that columns can hold without any loss.

It is when there are enough rows to be worth it, all have the same keys in the same order, and each column holds,
beside None, values of one type only. That no whole number has more than 64 bits is left to whoever writes them to find out.
"""

import sys
from itertools import chain

from .texts import is_text

ROWS_MIN = 64

_VALUES_AT_ONCE = 8_192
"""Keys, and values, that are in one list while they are looked at: few enough to stay in a processor's cache."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_UNSIGNED_MAX = 2**64 - 1
_EXACT_INTEGER_MAX = 2**53
"""Whole numbers up to this size are exact as 64-bit floats."""
_INFINITY = float("inf")
_NONE = type(None)
_KINDS = {int: "int", float: "float", bool: "bool", str: "str"}


class Column:
    """A name, a kind (``int``, ``float``, ``bool``, ``str`` or ``null``) and one value or None for each row."""

    __slots__ = ("name", "kind", "values", "has_none")

    def __init__(self, name, kind, values, has_none=True):
        self.name = name
        self.kind = kind
        self.values = values
        self.has_none = has_none
        """Whether there may be None among the values."""


class _NoTable(Exception):
    """Columns do not hold these records as they are."""


def are_written(value, draft, rows_min=ROWS_MIN):
    """Writes a list of records as a table into a file (see ``drafts.Draft``) where columns hold it as it is, and tells whether they do."""
    names = _names(value, rows_min)
    if names is None:
        return False
    from . import arrow_write

    lost = {}
    try:
        arrow_write.write(draft, _batches(value, names, arrow_write.BATCH_ROWS_MAX, lost))
    except (_NoTable, *arrow_write.NOT_HELD):
        # As plain data half of a surrogate pair is refused with its place, and a whole number may have any size.
        return False
    if lost:
        from . import by_rows

        by_rows.tell_lost(list(lost))
    return True


def _names(value, rows_min):
    """The names of the columns that a list of records would have, or None where it is no such list."""
    if type(value) is not list or len(value) < rows_min or type(value[0]) is not dict or not value[0]:
        return None
    names = tuple(value[0])
    return names if all(type(name) is str and is_text(name) for name in names) else None


def _batches(records, names, rows_max, lost):
    """The columns of so many records, then of those after them, each of one kind throughout.

    Names of those in which NaN and infinities become None are added to ``lost``.
    """
    starts = range(0, len(records), rows_max)
    batches = (_values(records[start : start + rows_max], names) for start in starts)
    first = next(batches)
    kinds = [_kind(held) for _, held in first]
    if None in kinds:
        # What kind a column has is said by the first of its values: all records are looked at for that before any is written.
        rest = list(batches)
        kinds = [next(filter(None, (_kind(batch[place][1]) for batch in (first, *rest))), None) for place in range(len(names))]
        batches = iter(rest)
    for batch in chain([first], batches):
        yield [_column(name, kind, *values, lost) for name, kind, values in zip(names, kinds, batch)]


def _kind(held):
    """The type of a column's values, of those that they have; None where there is none."""
    kinds = held - {_NONE}
    if len(kinds) > 1:
        raise _NoTable
    return kinds.pop() if kinds else None


def _values(records, names):
    """The values of each key, in a list, and their types, in a set, where all records have these keys in this order.

    All keys of many records in one list are the names again and again. That tells it: in a record with more of them one would
    be there twice, and where none has more, none has fewer. So it is with the types, in most tables.
    """
    width = len(names)
    rows = min(len(records), max(ROWS_MIN, _VALUES_AT_ONCE // width))
    if set(map(type, records)) != {dict}:
        raise _NoTable
    first_kinds = list(map(type, records[0].values()))
    expected, expected_kinds = list(names) * rows, first_kinds * rows
    lists = [([], {kind}) for kind in first_kinds]
    are_alike = True
    for start in range(0, len(records), rows):
        part = records[start : start + rows]
        if len(part) < rows:
            expected, expected_kinds = list(names) * len(part), first_kinds * len(part)
        if list(chain.from_iterable(part)) != expected:
            raise _NoTable
        values = list(chain.from_iterable(map(dict.values, part)))
        are_alike = are_alike and list(map(type, values)) == expected_kinds
        for place, (of_name, kinds) in enumerate(lists):
            part_of_name = values[place::width]
            of_name += part_of_name
            if not are_alike:
                kinds.update(map(type, part_of_name))
    return lists


def _column(name, kind, values, held, lost):
    """A column of this kind of these values, whose types are these."""
    if _kind(held) not in (kind, None):
        raise _NoTable
    has_none = _NONE in held
    if kind is None:
        return Column(name, "null", values)
    if kind is float and not _are_finite(filter(None, values) if has_none else values):
        finite = [_finite(value) for value in values]
        if finite.count(None) > values.count(None):
            lost[name] = None
        return Column(name, "float", finite)
    if kind in _KINDS:
        return Column(name, _KINDS[kind], values, has_none)
    convert = _text_conversion(kind)
    if convert is None:
        raise _NoTable
    return Column(name, "str", [None if value is None else convert(value) for value in values])


def _are_finite(values):
    """Whether their sum is: it is not where one of them is not. One that is too large for a float says nothing."""
    return -_INFINITY < sum(values) < _INFINITY


def are_exact(whole):
    """Whether floats hold all of these whole numbers."""
    return all(-_EXACT_INTEGER_MAX <= number <= _EXACT_INTEGER_MAX for number in whole)


def are_in_64_bits(whole):
    """Whether a column of 64-bit numbers, with a sign or without, holds all of these whole numbers."""
    least, largest = min(whole), max(whole)
    return _INT_MIN <= least and largest <= (_INT_MAX if least < 0 else _UNSIGNED_MAX)


def _finite(value):
    return value if value is not None and -_INFINITY < value < _INFINITY else None


def _text_conversion(kind):
    """How values of exactly this type become text, as in ``values``."""
    for module, name, method in (
        ("datetime", "datetime", "isoformat"),
        ("datetime", "date", "isoformat"),
        ("datetime", "time", "isoformat"),
        ("uuid", "UUID", "__str__"),
        ("decimal", "Decimal", "__str__"),
    ):
        loaded = sys.modules.get(module)
        if loaded is not None and getattr(loaded, name, None) is kind:
            return getattr(kind, method)
    return None
