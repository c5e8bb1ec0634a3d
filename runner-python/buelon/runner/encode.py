"""Writes a returned value for the worker: small JSON into the frame, the rest into files."""

import errno
import json
import os

from . import columns, drafts, foreign, frames, texts
from .failures import Failure
from .values import place_of_half_a_pair, plain

JSON_NAME = "value.json"
ARROW_NAME = "value.arrow"

_write = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_KINDS = {type(None): "null", bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "dict"}


def encode(value, folder, inline_bytes_max, value_bytes_max, tell=None):
    """The output for ``value``, as a dict of the protocol. Raises ``Failure`` where it cannot be stored.

    ``tell`` takes lines for the worker, which say how far a table is written.
    """
    try:
        return _encode(value, folder, inline_bytes_max, value_bytes_max, tell)
    except OSError as error:
        # That of closing the file may hide the one of writing it.
        if any(getattr(part, "errno", None) in _NO_ROOM for part in (error, error.__context__)):
            # No fault of the value's: another attempt may find room.
            raise Failure("away", "the worker's disk is full") from None
        raise


def _encode(value, folder, inline_bytes_max, value_bytes_max, tell):
    path = os.path.join(folder, ARROW_NAME)
    draft = drafts.Draft(path, ARROW_NAME, tell)
    if type(value) not in _KINDS:
        written = foreign.write_table(value, draft)
        if type(written) is int:
            return _table(path, written, value_bytes_max)
        if written is not None:
            return _document(written, folder, inline_bytes_max, value_bytes_max)
        if hasattr(value, "__next__"):
            value = list(value)
    if columns.are_written(value, draft):
        return _table(path, len(value), value_bytes_max)
    lost = []
    document = _document(plain(value, lost), folder, inline_bytes_max, value_bytes_max)
    if lost:
        from . import by_rows

        by_rows.tell_lost_at(lost)
    return document


def _table(path, rows, bytes_max):
    _check_size(os.path.getsize(path), bytes_max)
    return frames.output("table", rows, frames.arrow_file(ARROW_NAME))


def _document(value, folder, inline_bytes_max, value_bytes_max):
    text = _write(value)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise _half_a_pair(value) from None
    _check_size(len(data), value_bytes_max)
    if len(data) <= inline_bytes_max:
        place = frames.json_text(text)
    else:
        with open(os.path.join(folder, JSON_NAME), "wb") as file:
            file.write(data)
        place = frames.json_file(JSON_NAME)
    length = len(value) if isinstance(value, (str, list, dict)) else None
    return frames.output(_KINDS[type(value)], length, place)


def _half_a_pair(value):
    place, text = place_of_half_a_pair(value)
    message = f"the returned value cannot be stored: {place} is text with half of a surrogate pair, {texts.excerpt(text)}"
    advice = """replace what no text can hold: text.encode("utf-8", "replace").decode("utf-8")"""
    return Failure("value", f"{message}; {advice}")


def _check_size(size_bytes, bytes_max):
    if size_bytes > bytes_max:
        message = f"the returned value takes {size_bytes} bytes, over the limit of {bytes_max}"
        advice = "return it in parts, or put it into a file or a database and return where; or let the worker take more"
        raise Failure("value", f"{message}; {advice}: BUE_WORKER_VALUE_BYTES_MAX")
