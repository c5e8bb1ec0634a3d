"""Tables as pandas has them, without what its own conversion loses.

pandas makes floats of whole numbers with a null among them, which alters those beyond 53 bits, and objects of such
bools. Here a column of those gets the type of pandas that knows nulls: ``Int64`` and its like, ``boolean``; a column
that has such nulls inside of its lists, dicts or maps holds plain values of Python. All other columns are what pandas
makes of them.
"""

import datetime

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
    """Whether there is a null beside whole numbers or bools inside of its values."""
    return any(
        (part.type in nullable and part.null_count) or _has_nullable_elements(pyarrow, part, nullable)
        for part in _parts(pyarrow, column)
    )


def _parts(pyarrow, column):
    """What the values of a column of lists, structs or maps hold, as columns."""
    kinds, of = pyarrow.types, column.type
    if kinds.is_struct(of):
        return column.flatten()
    if kinds.is_map(of):
        return [pyarrow.chunked_array([chunk.items for chunk in column.chunks], type=of.item_type)]
    if kinds.is_fixed_size_list(of):
        # Also what a list that is null stands in the place of: pandas converts it with the others.
        return [pyarrow.chunked_array([chunk.values for chunk in column.chunks], type=of.value_type)]
    if kinds.is_list(of) or kinds.is_large_list(of):
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
    if kinds == {int, _NONE} and -(2**63) <= min(whole) and max(whole) < 2**63:
        return "Int64"
    return None if are_exact(whole) and kinds <= {int, float, _NONE} else object


def are_exact(whole):
    """Whether floats hold all of these whole numbers."""
    return all(-EXACT_INTEGER_MAX <= number <= EXACT_INTEGER_MAX for number in whole)


def is_mixed(frame):
    """Whether a column of objects holds values of several kinds of which pyarrow would make one.

    It makes dates of moments and bytes of text.
    """
    return any(len(set(map(_family, column[column.notna()]))) > 1 for _, column in _object_columns(frame))


def _object_columns(frame):
    """Columns of several kinds of objects, or of datetimes, each with its place."""
    for place, dtype in enumerate(frame.dtypes):
        if str(dtype) != "object":
            continue
        column = frame.iloc[:, place]
        kinds = set(map(type, column)) - {_NONE, float}
        if len(kinds) > 1 or any(issubclass(kind, datetime.datetime) for kind in kinds):
            yield place, column


def _family(value):
    if isinstance(value, datetime.datetime):
        return "moment" if value.tzinfo is None else "instant"
    kinds = (datetime.date, datetime.timedelta, str, (bytes, bytearray))
    return next((kind for kind in kinds if isinstance(value, kind)), object)


def with_exact_times(frame):
    """The frame with its objects that are pandas' own timestamps as times: pyarrow would drop their nanoseconds."""
    exact = {
        place: column.infer_objects()
        for place, column in _object_columns(frame)
        if any(type(value).__name__ == "Timestamp" for value in column)
    }
    if not exact:
        return frame
    columns = {place: exact.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])}
    changed = type(frame)(columns)
    changed.columns = frame.columns
    return changed


def with_known_codes(pyarrow, table):
    """The table of a frame without the -1 that stands for nothing in its categories: some readers do not bear it."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pyarrow.types.is_dictionary(field.type) and column.null_count:
            chunks = [_with_known_codes(pyarrow, chunk) for chunk in column.chunks]
            table = table.set_column(place, field, pyarrow.chunked_array(chunks, type=field.type))
    return table


def _with_known_codes(pyarrow, chunk):
    codes, valid = chunk.indices.fill_null(0).to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
    indices = pyarrow.array(codes, mask=~valid)
    return pyarrow.DictionaryArray.from_arrays(indices, chunk.dictionary, ordered=chunk.type.ordered)


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
