"""Reads the table that a step takes before the step is there: in a process that waits for it, and runs nothing of it yet.

In which form it asks for the table its text tells, as long as it is written plainly. Whatever is wrong here, or guessed wrong, the step
reads the table itself.
"""

import sys
import warnings

from . import wanted

_ONLY_TREE = 0x400
"""Has ``compile`` make nothing but the tree of a text: the flag that `ast` uses."""
_read = {}
"""Tables that are read, by the names of their files, each with its form."""
_frames = {}
"""Of those for pandas, the frames, each with what was set when it was made, and what it leaves behind."""


def read(frame, grows, begin):
    """Reads the argument of a start frame, which may still be written. ``begin`` begins what modules begin that are there already."""
    ((kind, path),) = frame["inputs"][0].items()
    form = form_of(_text_of(frame["code"]), frame["function"])
    library = "pyarrow" if form == "pandas" else form
    if kind != "arrow_file" or any(name is not None and name not in sys.modules for name in (form, library)):
        return
    from . import arrow_read

    if form is None:
        _read[path] = form, arrow_read.read_as_it_grows(path) if grows else arrow_read.read(path)
    else:
        if grows:
            arrow_read.wait_for_end(path)
        begin()
        _read[path] = form, wanted.of_file(library, path, "")
    if form == "pandas" and not _read[path][1].schema.metadata:
        # What a table says of itself may make pandas heed more.
        from . import in_pandas

        before = in_pandas.came.get()
        try:
            frame = wanted.of_read(form, _read[path][1], "")
            _frames[path] = in_pandas.settings(), frame, in_pandas.came.get()
        except MemoryError:
            # The step may have room for it where nothing else is there.
            del _read[path]
        finally:
            in_pandas.came.set(before)


def taken(form, path, parameter):
    """Whether the table of a file is read in this form already, and the table.

    How pandas makes a frame the step may have set by now; then it is made anew, of the table that is read.
    """
    read_form, table = _read.pop(path, (0, None))
    frame = _frames.pop(path, None)
    if read_form != form:
        return False, None
    if form != "pandas":
        return True, table
    from . import in_pandas

    if frame is None or frame[0] != in_pandas.settings():
        return True, wanted.of_read(form, table, parameter)
    _, table, came = frame
    in_pandas.came.set(came)
    return True, table


def form_of(text, function):
    """The form that the first parameter of a function asks for by its annotation; None for plain data.

    Raises ``LookupError`` where the text does not define the function plainly.
    """
    with warnings.catch_warnings():
        # What is to be said of the text is said when it is run.
        warnings.simplefilter("ignore")
        tree = compile(text, "", "exec", _ONLY_TREE, dont_inherit=True)
    found = [part for part in tree.body if getattr(part, "name", None) == function and hasattr(part, "args")]
    if not found or found[-1].decorator_list:
        raise LookupError(function)
    parameters = found[-1].args
    names = [part for part in (*parameters.posonlyargs, *parameters.args) if part.arg != "mut"]
    annotation = names[0].annotation if names else None
    return None if annotation is None else wanted.form_of_words(*_words(annotation), _imports(tree.body))


def _words(annotation):
    """Module and name of an annotation, as they are written."""
    if isinstance(getattr(annotation, "value", None), str):
        root, _, name = annotation.value.strip().strip("\"'").rpartition(".")
        return root, name
    name = getattr(annotation, "attr", None)
    return (getattr(annotation.value, "id", ""), name) if name else ("", getattr(annotation, "id", ""))


def _imports(body):
    """What the names mean that a text imports: modules, and names of modules."""
    meanings = {}
    for part in body:
        for alias in getattr(part, "names", ()):
            if hasattr(part, "module"):
                meanings[alias.asname or alias.name] = f"{part.module}.{alias.name}"
            elif hasattr(alias, "name"):
                meanings[alias.asname or alias.name.partition(".")[0]] = alias.name
    return meanings


def _text_of(code):
    if "text" in code:
        return code["text"]["text"]
    with open(code["file"], "rb") as file:
        return file.read()
