"""Finds out whether a list of dicts is a table that columns can hold without any loss.

It is when there are enough rows to be worth it, all have the same keys in the same order, and each column holds,
beside None, values of one type only.
"""

import sys
from itertools import chain

ROWS_MIN = 64

_ROWS_AT_ONCE = 4_096
"""Rows whose keys and values are in one list while they are looked at: few enough to stay in a processor's cache."""
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_UNSIGNED_MAX = 2**64 - 1
_EXACT_INTEGER_MAX = 2**53
"""Whole numbers up to this size are exact as 64-bit floats."""
_INFINITY = float("inf")
_NONE = type(None)


class Column:
    """A name, a kind (``int``, ``float``, ``bool``, ``str`` or ``null``) and one value or None for each row."""

    __slots__ = ("name", "kind", "values", "has_none")

    def __init__(self, name, kind, values, has_none=True):
        self.name = name
        self.kind = kind
        self.values = values
        self.has_none = has_none
        """Whether there may be None among the values."""


def of_records(value, rows_min=ROWS_MIN):
    """The columns of a list of records, or None where it is no such list."""
    if type(value) is not list or len(value) < rows_min or type(value[0]) is not dict or not value[0]:
        return None
    names = tuple(value[0])
    if any(type(name) is not str or not _is_text(name) for name in names):
        return None
    if set(map(type, value)) != {dict}:
        return None
    lists = _values(value, names)
    if lists is None:
        return None
    columns = []
    for name, values in zip(names, lists):
        column = _column(name, values)
        if column is None:
            return None
        columns.append(column)
    return columns


def _values(records, names):
    """The values of each key, in a list; None unless all records have these keys in this order.

    All keys of many records in one list are the names again and again. That tells it: in a record with more of them one would
    be there twice, and where none has more, none has fewer.
    """
    width = len(names)
    expected = list(names) * _ROWS_AT_ONCE
    lists = [[] for _ in names]
    for start in range(0, len(records), _ROWS_AT_ONCE):
        part = records[start : start + _ROWS_AT_ONCE]
        keys = list(chain.from_iterable(part))
        if keys != (expected if len(part) == _ROWS_AT_ONCE else list(names) * len(part)):
            return None
        values = list(chain.from_iterable(map(dict.values, part)))
        for place, of_name in enumerate(lists):
            of_name += values[place::width]
    return lists


def _column(name, values):
    kinds = set(map(type, values))
    has_none = _NONE in kinds
    kinds.discard(_NONE)
    if not kinds:
        return Column(name, "null", values)
    if len(kinds) > 1:
        return None
    kind = kinds.pop()
    if kind is int:
        present = [value for value in values if value is not None] if has_none else values
        return Column(name, "int", values, has_none) if min(present) >= _INT_MIN and max(present) <= _INT_MAX else None
    if kind is float:
        if not has_none and _are_finite(values):
            return Column(name, "float", values, has_none=False)
        return Column(name, "float", [_finite(value) for value in values])
    if kind is bool:
        return Column(name, "bool", values, has_none)
    if kind is str:
        return Column(name, "str", values, has_none)
    convert = _text_conversion(kind)
    if convert is None:
        return None
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


def _is_text(value):
    """Whether UTF-8 can hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


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
