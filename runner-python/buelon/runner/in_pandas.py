"""Tables as pandas has them, without what its own conversion loses.

pandas makes floats of whole numbers with a null among them, which alters those beyond 53 bits, and objects of such bools.
Here a column of those gets the type of pandas that knows nulls: ``Int64`` and its like, ``boolean``. All other columns are
what pandas makes of them.
"""

EXACT_INTEGER_MAX = 2**53
"""Whole numbers up to this size are exact as 64-bit floats."""

_NONE = type(None)


def of_arrow(pandas, pyarrow, table):
    """The frame of a pyarrow table."""
    frame = table.to_pandas()
    nullable = _nullable_types(pandas, pyarrow)
    for name in table.column_names:
        if name not in frame.columns:
            # It became the index: the table says so.
            continue
        column = table.column(name)
        if column.type in nullable and column.null_count:
            frame[name] = column.to_pandas(types_mapper=nullable.get).array
        elif _has_nullable_elements(pyarrow, column, nullable):
            frame[name] = pandas.Series(column.to_pylist(), dtype=object).array
    return frame


def _nullable_types(pandas, pyarrow):
    whole = {
        getattr(pyarrow, f"{sign}int{bits}")(): getattr(pandas, f"{sign.upper()}Int{bits}Dtype")()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    }
    return {**whole, pyarrow.bool_(): pandas.BooleanDtype()}


def _has_nullable_elements(pyarrow, column, nullable):
    """Whether it is a column of lists with a null beside whole numbers in one of them."""
    kinds = pyarrow.types
    while kinds.is_list(column.type) or kinds.is_large_list(column.type) or kinds.is_fixed_size_list(column.type):
        column = pyarrow.chunked_array([chunk.flatten() for chunk in column.chunks], type=column.type.value_type)
        if column.type in nullable and column.null_count:
            return True
    return False


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
    if kinds == {int, _NONE} and -(2**63) <= min(whole) and max(whole) < 2**63:
        return "Int64"
    return None if are_exact(whole) and kinds <= {int, float, _NONE} else object


def are_exact(whole):
    """Whether floats hold all of these whole numbers."""
    return all(-EXACT_INTEGER_MAX <= number <= EXACT_INTEGER_MAX for number in whole)


def with_index(frame):
    """The frame with what its index says as columns.

    Rows that are merely counted, as they are from the start and after a filter or a sort, say nothing.
    """
    index = frame.index
    if all(name is None for name in index.names):
        if index.nlevels == 1 and (index.dtype.kind in "iu" or not len(index)):
            return frame
        _refuse("the index of the returned table has no name")
    for name in index.names:
        if name is None:
            _refuse("the index of the returned table has a level without a name")
        if name in frame.columns:
            _refuse(f"the index of the returned table is called `{name}`, and so is a column")
    return frame.reset_index()


def _refuse(what):
    from .failures import Failure

    advice = "name it apart to keep it as a column (`frame.rename_axis(…)`), or return `frame.reset_index(drop=True)`"
    raise Failure("value", f"{what}; {advice}")
