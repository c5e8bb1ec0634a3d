"""Errors of a step, in the words that its author should read."""

import os
import sys

MESSAGE_CHARACTERS_MAX = 2_000
TRACE_CHARACTERS_MAX = 64_000

_RUNNER_FOLDER = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    """An error that ends the attempt; ``kind`` is one of the protocol's ``ErrorKind``."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace


def no_form(column, kind, advice):
    """The failure for a column of a returned table that Arrow has no type for."""
    message = f"the column `{column}` of the returned table has the type {kind}, which a table has no form for"
    return Failure("value", f"{message}; {advice}")


def type_of(value):
    """The name of the value's type with its article: "an int", "a set"."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def of_exception(kind, error, root, sources=None):
    """The failure for an exception that the step's code raised.

    ``root`` is left out of paths. ``sources`` maps names of files that are on no disk to their text.
    """
    name = type(error).__qualname__
    text = _text_of(error)
    message = f"{name}: {text}" if text else name
    try:
        trace = _trace(error, root, sources or {})
    except Exception:  # A broken __str__ or __cause__ must not hide the error itself.
        trace = None
    return Failure(kind, clip(message, MESSAGE_CHARACTERS_MAX), trace)


def clip(text, characters_max):
    """The text as one that can be sent: not too long, and without lone surrogates."""
    if len(text) > characters_max:
        half = characters_max // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text_of(error):
    try:
        return str(error).strip()
    except Exception as fault:
        return f"(its text cannot be shown: {type(fault).__name__})"


def _trace(error, root, sources):
    linecache, traceback = standard("linecache"), standard("traceback")
    for name, text in sources.items():
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    seen = set()
    cause = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.__traceback__ = _without_runner(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return clip(text.replace(root + os.sep, ""), TRACE_CHARACTERS_MAX)


def _without_runner(frames):
    """The traceback from the step's first frame on."""
    start = frames
    while start is not None and _is_machinery(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    return start


def _is_machinery(path):
    folder = os.path.dirname(path)
    return folder == _RUNNER_FOLDER or folder.endswith(os.sep + "asyncio") or path.startswith("<frozen importlib")


def standard(name):
    """A module of the standard library, also where the step's folder holds one of the same name."""
    module = sys.modules.get(name)
    if module is not None and not _is_of_step(module):
        return module
    path, shadow = sys.path, sys.modules.pop(name, None)
    sys.path = [folder for folder in path if folder not in step_folders]
    try:
        return __import__(name, fromlist=["_"])
    finally:
        sys.path = path
        if shadow is not None:
            sys.modules[name] = shadow


step_folders = []
"""Folders of the step, which come first on ``sys.path``."""


def _is_of_step(module):
    path = getattr(module, "__file__", None) or ""
    return os.path.dirname(path) in step_folders
