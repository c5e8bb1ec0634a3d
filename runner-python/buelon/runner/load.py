"""Loads the code of a step, from a file by its path or from the script itself."""

import _frozen_importlib_external
import _imp
import marshal
import os
import sys
import types

from . import AT_START, bounds
from .failures import Failure, of_exception, type_of

_UNCHECKED = _frozen_importlib_external.MAGIC_NUMBER + b"\x01\0\0\0"
"""How a file of bytecode begins that is not compared with its source (PEP 552)."""
_HEADER_BYTES = 16
_STANDARD = getattr(sys, "stdlib_module_names", ())
"""Names that parts of this program may ask for which are not loaded yet."""
_MODULE_ENDINGS = frozenset(ending[1:] for ending in _frozen_importlib_external.SOURCE_SUFFIXES + _imp.extension_suffixes())


def give_way(folders):
    """Lets the step find modules of its bundle that are called like others which only this program has loaded."""
    hidden = {name for folder in folders for name in _hidden(folder)}
    if not hidden:
        return
    # What is loaded later of this program is not to take the step's modules for those that it needs.
    from . import (  # noqa: F401
        arrow_plain,
        arrow_read,
        arrow_write,
        by_rows,
        foreign,
        in_pandas,
        in_polars,
        of_pandas,
        unsigned,
        values,
        wanted,
    )

    for loaded in list(sys.modules):
        if loaded.partition(".")[0] in hidden:
            del sys.modules[loaded]


def _hidden(folder):
    """Names of modules in the folder that this program needs, or may need, for others."""
    try:
        entries = os.listdir(folder)
    except OSError:
        return
    for entry in entries:
        name, _, ending = entry.partition(".")
        is_taken = name in sys.modules or name in _STANDARD
        if not is_taken or name in AT_START or name == "buelon":
            continue
        if ending in _MODULE_ENDINGS or os.path.isfile(f"{folder}/{entry}/__init__.py"):
            yield name


def load(code, function, root):
    """The function to call, and the sources that tracebacks need beside the files on disk."""
    program = None
    if "file" in code:
        path, sources = code["file"], {}
        shown = _relative(path, root)
        program = _compiled(path)
        text = _read(path, shown) if program is None else None
        module = _module(_module_name(path), path)
        text_name = path
    else:
        part = code["text"]
        # Empty lines before the code make line numbers those of the script.
        text = "\n" * (part["line"] - 1) + part["text"]
        shown = text_name = part["script"]
        sources = {text_name: text}
        module = _module("step_of_script", os.path.join(root, text_name))
    try:
        exec(program or compile(text, text_name, "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        raise bounds.told_by_name(of_exception("load", error, root, sources), error) from None
    return _attribute(module, function, shown), sources


def _compiled(path):
    """The program of a file, from bytecode that lies beside it and is to be taken as it is; None where there is none."""
    folder, name = os.path.split(path)
    name = f"{os.path.splitext(name)[0]}.{sys.implementation.cache_tag}.pyc"
    try:
        with open(f"{folder}/__pycache__/{name}", "rb") as file:
            data = file.read()
        if data[:8] != _UNCHECKED:
            return None
        program = marshal.loads(memoryview(data)[_HEADER_BYTES:])
        _imp._fix_co_filename(program, path)
    except (OSError, ValueError, EOFError, TypeError, AttributeError):
        return None
    return program


def _read(path, shown):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure("load", f"the file {shown} cannot be read: {error.strerror}") from None


def _module_name(path):
    """The file's own name, so that what it defines can be pickled; another where Python has such a module."""
    name = os.path.splitext(os.path.basename(path))[0]
    taken = name in sys.modules or name in getattr(sys, "stdlib_module_names", ())
    return f"step_{name}" if taken or not name.isidentifier() else name


def _module(name, path):
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    return module


def _attribute(module, function, shown):
    try:
        found = getattr(module, function)
    except AttributeError:
        raise Failure("load", f"{shown} has no function `{function}`{_hint(module, function)}") from None
    if not callable(found):
        raise Failure("load", f"`{function}` in {shown} is {type_of(found)}, which cannot be called")
    return found


def _hint(module, function):
    import difflib

    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("__")]
    close = difflib.get_close_matches(function, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _relative(path, root):
    return path[len(root) + 1 :] if path.startswith(root + os.sep) else path
