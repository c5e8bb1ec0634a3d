"""Tables as pandas has them, without what its own conversion loses.

pandas makes floats of whole numbers with a null among them, which alters those beyond 53 bits, and objects of such
bools. Here a column of those gets the type of pandas that knows nulls: ``Int64`` and its like, ``boolean``; a column
that has such nulls inside of its lists, dicts or maps holds plain values of Python, and so does one with maps, or with
times inside of which pandas would lose their zone or make numbers. All other columns are what pandas makes of them.
"""

import contextvars
import sys

from .columns import are_exact, are_in_64_bits

_NONE = type(None)

came = contextvars.ContextVar("came", default=())
"""The fields of all tables that the step took: pandas does not know all types. Steps may share an interpreter."""

_UNHELD = (ValueError, TypeError, NotImplementedError, OverflowError)
"""What pyarrow raises for values that pandas, or Python, has no room for."""


_SETTINGS = ("future.distinguish_nan_and_na", "future.infer_string", "mode.string_storage", "mode.use_inf_as_na")


def settings():
    """What is set of that by which pandas makes a frame of a table."""
    return [_setting(sys.modules["pandas"], name) for name in _SETTINGS]


def _setting(pandas, name):
    try:
        return pandas.get_option(name)
    except (AttributeError, KeyError):
        # Not every version has it.
        return None


def of_arrow(pandas, pyarrow, table):
    """The frame of a pyarrow table."""
    table = _with_known_types(pyarrow, table)
    came.set((*came.get(), *table.schema))
    try:
        frame = _by_one_thread(table)
    except _UNHELD:
        # Values that are missing, or there twice, are no categories.
        frame = _converted(_with_categories(pyarrow, table))
    nullable = _nullable_types(pandas, pyarrow)
    for name in table.column_names:
        if name not in frame.columns:
            # It became the index: the table says so.
            continue
        column = table.column(name)
        if column.type in nullable and column.null_count:
            frame[name] = column.to_pandas(types_mapper=nullable.get).array
        elif is_held_plain(pyarrow.types, column.type) or _has_nullable_elements(pyarrow, column, nullable):
            frame[name] = pandas.Series(_plain(pyarrow, name, column), dtype=object).array
    return frame


def _by_one_thread(table):
    """What pyarrow makes of a table. Threads take longer to begin, in each process anew, than they save: on two processors that was so
    for 10 MB, and for 200 MB in the first of a process.
    """
    return table.to_pandas(use_threads=False)


def _converted(table):
    """The frame that pyarrow makes of a table. An error names the first column that pandas has no room for."""
    try:
        return _by_one_thread(table)
    except _UNHELD:
        for name, column in zip(table.column_names, table.columns):
            try:
                column.to_pandas()
            except _UNHELD as error:
                raise _unheld(name, column, error) from None
        raise


def _unheld(name, column, reason):
    what = f"pandas does not hold the column `{name}` of the type {column.type}: {reason}"
    finer = "microseconds or " if "[ns" in str(column.type) else ""
    return ValueError(f"{what}; cast it in the step before, to {finer}text for example, or ask for a pyarrow.Table")


def _with_known_types(pyarrow, table):
    """The table without what pandas does not know: runs, lists of views, and categories with a time zone."""
    from . import arrow_plain

    kinds = pyarrow.types
    for place, field in enumerate(table.schema):
        column = table.column(place)
        known = arrow_plain.without_runs_and_lists_of_views(pyarrow, column)
        if kinds.is_dictionary(field.type) and getattr(field.type.value_type, "tz", None) is not None:
            known = column.cast(field.type.value_type)
        if known is not column:
            table = table.set_column(place, field.with_type(known.type), known)
    return table


def _with_categories(pyarrow, table):
    """The table with dictionaries that hold each value once, and none that is missing."""
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            column = table.column(place)
            chunks = [_with_each_once(pyarrow, chunk) for chunk in column.chunks]
            table = table.set_column(place, field.name, pyarrow.chunked_array(chunks) if chunks else column)
    return table


def _with_each_once(pyarrow, chunk):
    from pyarrow import compute

    values = chunk.dictionary
    if pyarrow.types.is_floating(values.type):
        values = compute.if_else(compute.is_nan(values), None, values)
    categories = values.drop_null().unique()
    codes = compute.index_in(values, categories).take(chunk.indices)
    return pyarrow.DictionaryArray.from_arrays(codes, categories, ordered=chunk.type.ordered)


def is_held_plain(kinds, of, inside=None):
    """Whether all columns of this type hold plain values. ``inside`` says what its values lie in: a "list" or a "dict"."""
    if kinds.is_map(of):
        return True
    if kinds.is_struct(of):
        fields = [of.field(place) for place in range(of.num_fields)]
        # A key that is there twice is an error of pyarrow's, where pandas would have its last value.
        is_twice = len({field.name for field in fields}) < len(fields)
        return is_twice or any(is_held_plain(kinds, field.type, "dict") for field in fields)
    if kinds.is_nested(of) and hasattr(of, "value_type"):
        return is_held_plain(kinds, of.value_type, "list")
    if kinds.is_timestamp(of) or kinds.is_duration(of):
        return inside is not None and (getattr(of, "tz", None) is not None or (inside == "dict" and of.unit == "ns"))
    return kinds.is_uint64(of) and inside == "dict"


def _plain(pyarrow, name, column):
    try:
        values = column.to_pylist()
    except _UNHELD as error:
        raise _unheld(name, column, error) from None
    if "time64[ns]" in str(column.type) and pyarrow.chunked_array([pyarrow.array(values, column.type)]) != column:
        raise _unheld(name, column, "there are times of day with nanoseconds inside of other values")
    return values


def _nullable_types(pandas, pyarrow):
    whole = {
        getattr(pyarrow, f"{sign}int{bits}")(): getattr(pandas, f"{sign.upper()}Int{bits}Dtype")()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    }
    return {**whole, pyarrow.bool_(): pandas.BooleanDtype()}


def _has_nullable_elements(pyarrow, column, nullable):
    """Whether there is a null beside whole numbers or bools inside of its values."""
    return any(
        (part.type in nullable and part.null_count) or _has_nullable_elements(pyarrow, part, nullable)
        for part in parts(pyarrow, column)
    )


def parts(pyarrow, column):
    """What the values of a column of lists, structs or maps hold, as columns."""
    from . import arrow_plain

    kinds, of = pyarrow.types, column.type
    if kinds.is_struct(of):
        return column.flatten()
    if kinds.is_map(of):
        return [pyarrow.chunked_array([chunk.items for chunk in column.chunks], type=of.item_type)]
    if kinds.is_fixed_size_list(of):
        # Also what a list that is null stands in the place of: pandas converts it with the others.
        return [pyarrow.chunked_array([chunk.values for chunk in column.chunks], type=of.value_type)]
    if kinds.is_list(of) or kinds.is_large_list(of) or arrow_plain.is_list_view(of):
        return [pyarrow.chunked_array([chunk.flatten() for chunk in column.chunks], type=of.value_type)]
    return []


def of_records(pandas, records):
    """The frame of a list of dicts."""
    frame = pandas.DataFrame(records)
    for name in frame.columns:
        # Only here pandas may have made whole numbers something else.
        if frame[name].dtype.kind not in "fO":
            continue
        values = [record.get(name) for record in records]
        dtype = _dtype(values)
        if dtype is not None:
            frame[name] = pandas.Series(values, dtype=dtype).array
    return frame


def _dtype(values):
    """The type that holds all of them as they are; None for what pandas makes of them."""
    kinds = set(map(type, values))
    if kinds == {bool, _NONE}:
        return "boolean"
    if int not in kinds:
        return None
    whole = [value for value in values if type(value) is int]
    if kinds == {int, _NONE} and are_in_64_bits(whole):
        return "Int64" if max(whole) < 2**63 else "UInt64"
    return None if are_exact(whole) and kinds <= {int, float, _NONE} else object
