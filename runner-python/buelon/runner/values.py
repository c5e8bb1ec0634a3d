"""Turns what a step returned into plain JSON-like data, or says which part of it cannot be stored.

Plain are None, bool, int, finite float, str, and lists and dicts of those with string keys. Tuples become lists; UUID,
date, time, datetime and Decimal their text; NaN and infinities None; tables inside of other values lists of dicts.
"""

import sys

from . import foreign
from .failures import Failure, type_of
from .texts import is_text

DEPTH_MAX = 100
"""Deepest nesting of lists and dicts: other readers of JSON have a limit not far above."""

_INFINITY = float("inf")
_TEXT_FORMS = (("datetime", ("date", "time")), ("uuid", ("UUID",)), ("decimal", ("Decimal",)))


def plain(value, lost=None):
    """The value as plain data. The same object where it is plain already; never changes what the step holds.

    Places of NaN and infinities, which become None, are added to the list ``lost``.
    """
    return value if _is_plain(value, DEPTH_MAX) else _converted(value, [], [] if lost is None else lost)


def place_of_half_a_pair(value):
    """Where plain data has a text with half of a surrogate pair, and that text; None where it has none."""
    return _half_a_pair(value, [])


def _half_a_pair(value, path):
    if isinstance(value, str):
        return None if is_text(value) else (_place(path), value)
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    path.append([value, None])
    for place, item in items:
        if isinstance(place, str) and not is_text(place):
            return f"a key of {_place(path[:-1])}", place
        path[-1][1] = place
        found = _half_a_pair(item, path)
        if found:
            return found
    path.pop()
    return None


def _is_plain(value, depth):
    kind = type(value)
    if kind is str or kind is int or value is None or kind is bool:
        return True
    if kind is float:
        return -_INFINITY < value < _INFINITY
    if depth == 0:
        return False
    if kind is list:
        return all(_is_plain(item, depth - 1) for item in value)
    if kind is dict:
        return all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
    return False


def _converted(value, path, lost):
    """``path`` holds the containers and places on the way here."""
    if isinstance(value, (list, tuple)):
        _go_in(value, path)
        return _through(value, path, lambda: [_item(item, path, place, lost) for place, item in enumerate(value)])
    if isinstance(value, dict):
        _go_in(value, path)
        return _through(value, path, lambda: {_key(key, path): _item(item, path, key, lost) for key, item in value.items()})
    if isinstance(value, float) and not -_INFINITY < value < _INFINITY:
        lost.append(_place(path))
    return scalar(value, lambda: _place(path))


def _item(item, path, place, lost):
    path[-1][1] = place
    return _converted(item, path, lost)


def _go_in(value, path):
    if any(container is value for container, _ in path):
        raise Failure("value", f"the returned value cannot be stored: {_place(path)} contains itself")
    if len(path) >= DEPTH_MAX:
        message = f"the returned value is nested deeper than {DEPTH_MAX} levels"
        raise Failure("value", f"{message}, at {_place(path[:8])}…")


def _through(value, path, convert):
    path.append([value, None])
    try:
        return convert()
    finally:
        path.pop()


def _key(key, path):
    if isinstance(key, str):
        return str.__str__(key)
    holder = _place(path[:-1])
    message = f"{holder} has the key {key!r}, {type_of(key)}; keys of a dict must be strings"
    raise Failure("value", f"the returned value cannot be stored: {message}")


def scalar(value, place):
    """A value that is no list or dict; ``place()`` names it in errors."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if -_INFINITY < value < _INFINITY else None
    if _has_text_form(value):
        return _text_form(value)
    known, converted = foreign.plain(value)
    if known:
        return converted
    raise Failure("value", f"the returned value cannot be stored: {place()} is {_described(value)}")


def _has_text_form(value):
    """Whether it is a UUID, date, time, datetime or Decimal. Where their module was never imported, it is none."""
    kinds = type(value).__mro__
    return any(_is_of(module, names, kinds) for module, names in _TEXT_FORMS)


def _text_form(value):
    if hasattr(value, "isoformat"):
        # A missing time of pandas is a datetime too, unequal to itself.
        return value.isoformat() if value == value else None
    return str(value)


def _is_of(module, names, kinds):
    loaded = sys.modules.get(module)
    return loaded is not None and any(getattr(loaded, name, None) in kinds for name in names)


def _described(value):
    kind = type(value).__name__
    hints = {
        "bytes": "decode it, or encode it as base64 text",
        "bytearray": "decode it, or encode it as base64 text",
        "set": "return a sorted list",
        "frozenset": "return a sorted list",
        "ndarray": "return array.tolist()",
        "Series": "return series.to_list()",
        "StepStatus": "return Result(status=…)",
    }
    hint = f"; {hints[kind]}" if kind in hints else ""
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{article} {kind}{hint}"


def _place(path):
    """``[3].user.avatar``; the value itself is "it"."""
    text = ""
    for container, place in path:
        if isinstance(container, dict):
            text += f".{place}" if str(place).isidentifier() else f"[{place!r}]"
        else:
            text += f"[{place}]"
    return text.lstrip(".") or "it"
