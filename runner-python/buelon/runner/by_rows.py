"""What is told of a table of pandas that is returned row by row, for the sake of columns that Arrow does not hold."""

import sys
from itertools import chain

from . import failures

_INFINITY = float("inf")
_NAMES_MAX = 8
"""Columns that are named in one line. There may be thousands."""


def reason(names, has_several_kinds):
    """Why a table is returned row by row: what the columns of these names hold. Nothing where there are none."""
    if not names:
        return ""
    values = "values of several kinds" if has_several_kinds else "values that no column of a table keeps as they are"
    return f"{_columns(names)} {'holds' if len(names) == 1 else 'hold'} {values}"


def with_reason(failure, why):
    """The failure of a value that has no form in a row, with the reason why it had to be in one."""
    told = f"{failure.message}; {why}, so the table is written row by row, as plain data"
    return failures.Failure(failure.kind, told, failure.trace)


def tell(why, rows):
    """Says in the log what the rows of a table do not say themselves: why they are no table, and what is lost in them."""
    told = f"{why}, so the table is returned row by row: the types of all columns become those of plain data"
    names = [name for name in rows[0] if _has_infinity([row[name] for row in rows])]
    lost = f", and infinities in {_columns(names)} become null" if names else ""
    print(f"{told}{lost}", file=sys.stderr, flush=True)


def tell_lost(names):
    """Says in the log in which columns NaN and infinities become null."""
    print(f"NaN and infinities become null in {_columns(names)}", file=sys.stderr, flush=True)


def tell_lost_at(places):
    """The same of a value that is no table: where the first of them is, and how many there are."""
    more = f", and {len(places) - 1} more" if len(places) > 1 else ""
    print(f"NaN and infinities become null in the returned value: {places[0]}{more}", file=sys.stderr, flush=True)


def _columns(names):
    """``the columns `a`, `b` and `c```, on one line whatever they are called."""
    shown = [f"`{' '.join(name.splitlines())}`" for name in names[:_NAMES_MAX]]
    if len(names) > _NAMES_MAX:
        shown.append(f"{len(names) - _NAMES_MAX} more")
    listed = " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
    return f"the column{'s' if len(names) > 1 else ''} {listed}"


def _has_infinity(values):
    """Whether there is an infinity among the values, or inside of them. One of decimals is none: it has a form as text."""
    for kind in set(map(type, values)):
        if _is_floating(kind):
            own = [value for value in values if type(value) is kind]
            is_found = _INFINITY in own or -_INFINITY in own
        elif issubclass(kind, (list, tuple)):
            is_found = _has_infinity(list(chain.from_iterable(value for value in values if type(value) is kind)))
        elif issubclass(kind, dict):
            own = (value.values() for value in values if type(value) is kind)
            is_found = _has_infinity(list(chain.from_iterable(own)))
        else:
            is_found = False
        if is_found:
            return True
    return False


def _is_floating(kind):
    """Whether it is the type of floats, or one of numpy's that is none of Python's."""
    return issubclass(kind, float) or (kind.__module__ == "numpy" and "float" in kind.__mro__[1].__name__)
