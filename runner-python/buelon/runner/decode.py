"""Reads the arguments of a step from the start frame and its files."""

import json
import sys

from . import call
from .failures import Failure


def decode_all(entries, function):
    """The arguments of a function: a table as its parameter's annotation asks for it, else as a list of dicts."""
    if not entries:
        return []
    annotated, names = call.parameters(function, len(entries))
    if not names or not _is_annotated(annotated):
        return [decode(entry) for entry in entries]
    from . import wanted

    forms = wanted.forms(annotated, names)
    # Further ones go to `*arguments`, or are one too many.
    rest = len(entries) - len(forms)
    wishes = zip(entries, forms + [None] * rest, names + [None] * rest)
    return [_in_form(entry, form, name) if form else decode(entry) for entry, form, name in wishes]


def _is_annotated(function):
    try:
        return bool(function.__annotations__)
    except (AttributeError, NameError):
        # They may be worked out when they are asked for, and name what is not there.
        return False


def _in_form(entry, form, name):
    from . import wanted

    ((kind, content),) = entry.items()
    if kind != "arrow_file":
        return wanted.of_value(form, decode(entry), name)
    try:
        is_read, table = _read_ahead(form, content, name)
        return table if is_read else wanted.of_file(form, content, name)
    except (Failure, MemoryError):
        # What is short of memory is told as such.
        raise
    except BaseException as error:
        # What goes wrong inside of polars is no `Exception`.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise Failure("input", f"the argument `{name}` cannot be read: {error}") from None


def _read_ahead(form, path, parameter):
    """Whether a table was read before its step was there, and the table."""
    ahead = sys.modules.get(f"{__package__}.ahead")
    return ahead.taken(form, path, parameter) if ahead else (False, None)


def decode(entry):
    """The value of one input. A table is a list of dicts."""
    ((form, content),) = entry.items()
    if form == "json":
        return content
    is_read, table = _read_ahead(None, content, "")
    if is_read:
        return table
    try:
        if form == "json_file":
            with open(content, "rb") as file:
                return json.load(file)
        from . import arrow_read

        return arrow_read.read(content)
    except (OSError, ValueError) as error:
        raise Failure("input", f"an argument cannot be read: {error}") from None
