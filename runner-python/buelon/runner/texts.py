"""Texts that UTF-8 cannot hold: those with half of a surrogate pair."""

_BEFORE = 20
"""Characters before that half which are shown."""


def is_text(value):
    """Whether UTF-8 can hold it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def excerpt(text):
    """The first half of a pair in the text, with what is before it, as Python would write it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return repr(text[max(0, error.start - _BEFORE) : error.start + 1])
    return repr(text)
