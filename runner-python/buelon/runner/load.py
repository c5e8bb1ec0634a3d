"""Loads the code of a step, from a file by its path or from the script itself."""

import os
import sys
import types

from .failures import Failure, of_exception, type_of


def load(code, function, root):
    """The function to call, and the sources that tracebacks need beside the files on disk."""
    if "file" in code:
        path, sources = code["file"], {}
        shown = _relative(path, root)
        text = _read(path, shown)
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
        exec(compile(text, text_name, "exec", dont_inherit=True), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        raise of_exception("load", error, root, sources) from None
    return _attribute(module, function, shown), sources


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
