"""The lines exchanged with the worker: the mirror of ``protocol/src/frame.rs``.

A frame is a plain dict here. An enum of Rust is a dict with one entry, named by the variant.
"""

import json

from .failures import Failure

PROTOCOL_VERSION = 1

_parse = json.JSONDecoder().raw_decode
_write = json.JSONEncoder(separators=(",", ":")).encode


def parse(line):
    """A line of JSON that the worker wrote: it begins with its document."""
    return _parse(line.decode("utf-8"))[0]


def parse_start(line):
    """The start frame; refuses a worker of another protocol."""
    frame = parse(line)
    if frame["protocol"] != PROTOCOL_VERSION:
        raise Failure("protocol", f"the worker speaks protocol {frame['protocol']}, the runner {PROTOCOL_VERSION}")
    return frame


def draft(name, size_bytes):
    """How far the table is written that the step will return: bytes of its file that stay as they are."""
    return {"draft": name, "bytes": size_bytes}


def result(status, value, priority):
    """The step returned; ``value`` is an output (see ``output``) or None."""
    return {"type": "result", "status": status, "value": value, "priority": priority}


def output(kind, length, place):
    """A value: its kind, its size in the words of its kind, and one of the places below."""
    return {"kind": kind, "length": length, "place": place}


def json_text(text):
    """A place: JSON inside the frame."""
    return {"json": text}


def json_file(name):
    """A place: a file in the values folder that holds one JSON document."""
    return {"json_file": name}


def arrow_file(name):
    """A place: a file in the values folder that holds one Arrow IPC stream."""
    return {"arrow_file": name}


def error(failure):
    """The step raised, or its value cannot be stored."""
    return {"type": "error", "kind": failure.kind, "message": failure.message, "trace": failure.trace}


def to_line(frame):
    """The bytes of a frame."""
    return _write(frame).encode("ascii") + b"\n"
