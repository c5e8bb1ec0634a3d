"""Reads the arguments of a step from the start frame and its files."""

import json

from .failures import Failure


def decode(entry):
    """The value of one input. A table is a list of dicts."""
    ((form, content),) = entry.items()
    if form == "json":
        return content
    try:
        if form == "json_file":
            with open(content, "rb") as file:
                return json.load(file)
        from . import arrow_read

        return arrow_read.read(content)
    except (OSError, ValueError) as error:
        raise Failure("input", f"an argument cannot be read: {error}") from None
