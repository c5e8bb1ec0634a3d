"""Which form of table a step asks for, by the annotations of its parameters: pandas, polars or pyarrow.

    def report(orders: pandas.DataFrame, rates: "polars.DataFrame", log: pyarrow.Table): ...

A parameter without such an annotation gets plain data. The module is imported only where an argument is made with it.
"""

import importlib
import types

from .bounds import NO_MEMORY
from .columns import are_exact, are_in_64_bits
from .failures import Failure

_FORMS = {("pandas", "DataFrame"): "pandas", ("polars", "DataFrame"): "polars", ("pyarrow", "Table"): "pyarrow"}
_WORDS = {"pandas": "pandas.DataFrame", "polars": "polars.DataFrame", "pyarrow": "pyarrow.Table"}
_KINDS = {type(None): "None", bool: "a bool", int: "a number", float: "a number", str: "a string", dict: "a dict"}

_KIND_WORDS = {bool: "bools", int: "numbers", float: "numbers", str: "text", list: "lists", tuple: "lists", dict: "dicts"}


def forms(function, parameters):
    """For each parameter, by its name, the form that its annotation asks for, or None."""
    annotations = function.__annotations__
    names = getattr(function, "__globals__", {})
    return [_form(annotations.get(parameter), names) for parameter in parameters]


def _form(annotation, names):
    if annotation is None:
        return None
    if isinstance(annotation, str):
        return _form_of_text(annotation, names)
    module = getattr(annotation, "__module__", None) or ""
    return _FORMS.get((str(module).partition(".")[0], getattr(annotation, "__name__", None)))


def _form_of_text(text, names):
    """``pd.DataFrame``, whatever the module is called in the step's file, or ``DataFrame`` by itself."""
    root, dot, name = text.strip().strip("\"'").rpartition(".")
    if not dot:
        found = names.get(name)
        return None if found is None or isinstance(found, str) else _form(found, names)
    module = names.get(root)
    return _FORMS.get((module.__name__ if isinstance(module, types.ModuleType) else root, name))


def form_of_words(root, name, meanings):
    """The same for words of a text, whose imported names mean what ``meanings`` tells."""
    whole = f"{meanings.get(root, root)}.{name}" if root else meanings.get(name, "")
    module, _, name = whole.rpartition(".")
    return _FORMS.get((module.partition(".")[0], name))


def of_file(form, path, parameter):
    """The table in a file that holds an Arrow IPC stream."""
    if form == "polars":
        return _imported(form, parameter).read_ipc_stream(path)
    pyarrow = _pyarrow(form, parameter)
    if pyarrow is None:
        from . import arrow_read

        return of_value(form, arrow_read.read(path), parameter)
    with pyarrow.memory_map(path) as source:
        table = pyarrow.ipc.open_stream(source).read_all()
    return of_read(form, table, parameter)


def of_read(form, table, parameter):
    """A table that was read: by pyarrow, for pandas."""
    if form != "pandas":
        return table
    from . import in_pandas

    return in_pandas.of_arrow(_imported(form, parameter), _imported("pyarrow", parameter), table)


def of_value(form, value, parameter):
    """The table that a list of dicts is."""
    if type(value) is not list:
        _refuse(form, parameter, f"{_KINDS.get(type(value), 'something else')} came")
    place = next((place for place, record in enumerate(value) if type(record) is not dict), None)
    if place is not None:
        _refuse(form, parameter, f"a list came whose element [{place}] is {_KINDS.get(type(value[place]), 'a list')}")
    module = _imported(form, parameter)
    if form == "pandas":
        from . import in_pandas

        return in_pandas.of_records(module, value)
    names = list({name: None for record in value for name in record})
    columns = {name: [record.get(name) for record in value] for name in names}
    if form == "pyarrow":
        return module.table({name: _pyarrow_array(module, name, values, parameter) for name, values in columns.items()})
    for name, values in columns.items():
        unheld = _unheld(values)
        if unheld:
            _refuse_column(form, parameter, name, f"has {unheld}")
    try:
        frame = module.DataFrame(value, infer_schema_length=None)
    except (TypeError, ValueError, OverflowError, module.exceptions.PolarsError) as error:
        _refuse(form, parameter, f"no table can be made of the list that came: {str(error).splitlines()[0]}")
    from . import in_polars

    return in_polars.in_64_bits(module, frame)


def _unheld(values):
    """What values of one column are, where no column holds that.

    It may be more than one thing: polars would turn them into one another, and not say so.
    """
    kinds = {_KIND_WORDS.get(kind, kind.__name__) for kind in map(type, values) if kind is not type(None)}
    if len(kinds) > 1:
        return f"{' beside '.join(sorted(kinds))} in it, which no column of it holds"
    whole = [value for value in values if type(value) is int]
    if float in map(type, values) and not are_exact(whole):
        return "decimal numbers beside whole ones beyond 53 bits in it, which no column of it holds"
    if whole and not are_in_64_bits(whole):
        return "whole numbers in it that no 64-bit number holds"
    if kinds == {"lists"}:
        return _unheld([element for value in values if value is not None for element in value])
    if kinds == {"dicts"}:
        records = [value for value in values if value is not None]
        names = {name: None for record in records for name in record}
        return next(filter(None, (_unheld([record.get(name) for record in records]) for name in names)), None)
    return None


def _pyarrow_array(pyarrow, name, values, parameter):
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError) as error:
        from . import unsigned

        array = unsigned.array(pyarrow, values)
        if array is not None:
            return array
        unheld = _unheld(values)
        what = f"has {unheld}" if unheld else f"cannot be made one of a table: {error}"
        _refuse_column("pyarrow", parameter, name, what)


def _refuse_column(form, parameter, name, what):
    advice = "make its values of one kind in the step before, such as text, or take the list as it is, without the annotation"
    _refuse(form, parameter, f"the column `{name}` {what}", advice)


def _refuse(form, parameter, what, advice="return a list of dicts, or a table, from the step before"):
    raise Failure("input", f"the parameter `{parameter}` asks for a {_WORDS[form]}, but {what}; {advice}")


def _pyarrow(form, parameter):
    """pyarrow with its reader of streams; None where pandas has to do without."""
    if form == "pandas":
        _imported(form, parameter)
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        return None if form == "pandas" else _imported(form, parameter)
    return pyarrow


def _imported(form, parameter):
    try:
        return importlib.import_module(form)
    except ImportError as error:
        if NO_MEMORY in str(error):
            message = f"the parameter `{parameter}` asks for a {_WORDS[form]}, and there is too little memory to import {form}"
            raise Failure("memory", f"{message}; `!memory` sets how much the step may use") from None
        message = f"the parameter `{parameter}` asks for a {_WORDS[form]}, and {form} cannot be imported: {error}"
        raise Failure("input", f"{message}; install it in the environment of the step") from None
