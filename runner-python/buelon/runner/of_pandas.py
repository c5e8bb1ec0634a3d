"""Tables of pandas as Arrow, without what pyarrow's own conversion loses.

pyarrow finds the type of a column of objects by its values, and makes one kind of value of several. Here a column that
holds what it came with to the step has the type that it came with, and a frame with values that no column holds as they
are is left to be written row by row.
"""

import datetime
import sys
from itertools import chain
from operator import itemgetter

from . import by_rows, failures, in_pandas, texts, unsigned

_EXACT_TIMES = frozenset(("Timestamp", "Timedelta"))
_NOTHING = frozenset(("NoneType", "NAType", "NaTType"))
_TIMES = (datetime.date, datetime.time, datetime.timedelta)
_LISTS = (list, tuple, set)

_ROWS_AT_ONCE = 4_096
"""Rows whose values are looked at together: few enough to take little memory beside the frame."""


def to_arrow(pyarrow, frame):
    """The table of a frame; else None. The frame whose rows are to be written then, and why they are."""
    came = _columns_that_came(pyarrow, frame)
    others = [place for place in range(frame.shape[1]) if place not in came]
    rest = _with_exact_times(frame.iloc[:, others] if came else frame)
    mixed = [place for place, values in _objects(rest).items() if _is_mixed(values)]
    # Rows without any column are no table.
    is_table = (frame.shape[1] or not len(frame)) and not mixed
    table = _converted(pyarrow, rest) if is_table else None
    if table is None:
        why = _reason(rest, mixed or _unconverted(pyarrow, rest))
        return None, _with_plain(pyarrow, frame, came), why
    columns = {**dict(zip(others, table.columns)), **came}
    names = [str(name) for name in frame.columns]
    return pyarrow.table([columns[place] for place in range(len(names))], names=names), frame, ""


def _unconverted(pyarrow, frame):
    """The places of columns that hold values which no type of Arrow has together."""
    return [place for place in range(frame.shape[1]) if _converted(pyarrow, frame.iloc[:, [place]]) is None]


def _reason(frame, places):
    """Why the rows of a frame are written: what the columns at these places hold."""
    objects = _objects(frame.iloc[:, places]).values()
    has_several_kinds = len(objects) == len(places) and all(map(_has_several_kinds, objects))
    return by_rows.reason([str(frame.columns[place]) for place in places], has_several_kinds)


def _has_several_kinds(values):
    """Whether the values themselves are of several types. What is missing is of none."""
    kinds = set(map(type, values)) - {float}
    is_float = any(value == value for value in values if type(value) is float)
    return len({kind for kind in kinds if kind.__name__ not in _NOTHING}) + is_float > 1


def _converted(pyarrow, frame):
    """The table of a frame; None where some column holds values that no type of Arrow has together."""
    try:
        # Threads take longer to begin than they save: nearly all of it is memory that is used as it is, or Python's.
        table = pyarrow.Table.from_pandas(frame, preserve_index=False, nthreads=1).replace_schema_metadata(None)
    except UnicodeEncodeError as error:
        raise _half_a_pair(pyarrow, frame, error) from None
    except OverflowError:
        wide = _wide(pyarrow, frame)
        return _converted(pyarrow, _replaced(frame, wide)) if wide else None
    except (pyarrow.ArrowException, TypeError):
        return None
    types = {}
    for field in in_pandas.came.get():
        types.setdefault(field.name, set()).add(field.type)
    for place, (name, field) in enumerate(zip(frame.columns, table.schema)):
        if str(field.type).startswith("extension<pandas."):
            # Numbers in a table that say nothing to anybody but pandas: months that are counted, for example.
            raise failures.no_form(name, frame[name].dtype, "make text of it, as in `.astype(str)`")
        column, came = table.column(place), types.get(field.name, ())
        typed = _typed(pyarrow, _narrow(pyarrow, frame.dtypes.iloc[place], column, came), came)
        if typed is not column:
            table = table.set_column(place, field.with_type(typed.type), typed)
    return table


def _half_a_pair(pyarrow, frame, error):
    """The failure for a text that no UTF-8 holds. pyarrow does not say in which column it is."""
    name = next((name for place, name in enumerate(frame.columns) if _is_no_text(pyarrow, frame.iloc[:, place])), None)
    where = "" if name is None else f" in the column `{name}`"
    message = f"the text {texts.excerpt(error.object)}{where} holds half of a surrogate pair"
    return failures.Failure("value", f"the returned value cannot be stored: {message}")


def _is_no_text(pyarrow, series):
    """Whether some text in the column is none that UTF-8 holds."""
    try:
        pyarrow.array(series, from_pandas=True)
    except UnicodeEncodeError:
        return True
    except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
        return False
    return False


def _narrow(pyarrow, dtype, column, types):
    """A column of pandas' own text with places of 32 bits instead of 64, where they hold it: a third less to compress.

    One that came with the other ones, or was made with a type of pyarrow's, keeps those.
    """
    is_chosen = hasattr(dtype, "pyarrow_dtype") or pyarrow.large_string() in types
    if is_chosen or not pyarrow.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pyarrow.string())
    except pyarrow.ArrowInvalid:
        return column


def _wide(pyarrow, frame):
    """Columns of objects with whole numbers that only uint64 holds as columns of that, by their places."""
    pandas = sys.modules["pandas"]
    arrays = {
        place: unsigned.array(pyarrow, _with_none(frame.iloc[:, place], values))
        for place, values in _objects(frame).items()
    }
    return {
        place: pandas.Series(pandas.arrays.ArrowExtensionArray(array), frame.index)
        for place, array in arrays.items()
        if array is not None
    }


def _typed(pyarrow, column, types):
    """The column, of the type that those of its name came with where its values say too little of theirs."""
    kinds, of = pyarrow.types, column.type
    came = next(iter(types)) if len(types) == 1 else None
    if kinds.is_null(of) or (kinds.is_dictionary(of) and kinds.is_null(of.value_type)):
        return pyarrow.chunked_array([pyarrow.nulls(len(column), pyarrow.null() if came is None else came)])
    if came is not None and kinds.is_decimal(of) and kinds.is_decimal(came):
        return column.cast(came) if of.scale == came.scale and of.precision <= came.precision else column
    if came is not None and kinds.is_nested(of) and of != came:
        return _as_it_came(pyarrow, column, came)
    if kinds.is_dictionary(of) and column.null_count:
        return pyarrow.chunked_array([_with_known_codes(pyarrow, chunk) for chunk in column.chunks], type=of)
    return column


def _as_it_came(pyarrow, column, came):
    """A column of nested values, of the type that it came with where that holds the same ones."""
    chunks = []
    for start in range(0, len(column), _ROWS_AT_ONCE):
        try:
            values = column.slice(start, _ROWS_AT_ONCE).to_pylist()
        except (OverflowError, ValueError):
            # Python has no such times.
            return column
        chunks.append(_of_type(pyarrow, values, came))
        if chunks[-1] is None:
            return column
    return pyarrow.chunked_array(chunks, type=came)


def _with_known_codes(pyarrow, chunk):
    """Categories without the -1 that stands for nothing: some readers do not bear it."""
    codes, valid = chunk.indices.fill_null(0).to_numpy(), chunk.is_valid().to_numpy(zero_copy_only=False)
    indices = pyarrow.array(codes, mask=~valid)
    return pyarrow.DictionaryArray.from_arrays(indices, chunk.dictionary, ordered=chunk.type.ordered)


def _columns_that_came(pyarrow, frame):
    """By their places, columns of plain values that are of a type that one came with, as arrays of that type.

    Those of its name go first. Maps are known by their pairs, whatever they are called now.
    """
    kinds = pyarrow.types
    fields = [field for field in in_pandas.came.get() if in_pandas.is_held_plain(kinds, field.type)]
    found = {}
    for place, values in _objects(frame).items() if fields else ():
        values = _with_none(frame.iloc[:, place], values)
        own = [field.type for field in fields if field.name == str(frame.columns[place])]
        maps = [field.type for field in fields if kinds.is_map(field.type)] if _has_pairs(values) else []
        arrays = (_of_type(pyarrow, values, of) for of in dict.fromkeys(own + maps))
        found[place] = next((array for array in arrays if array is not None), None)
        if found[place] is None and maps and any(map(kinds.is_map, own)):
            told = f"the column `{frame.columns[place]}` came as maps, and its pairs are no longer of {own[0]}"
            print(f"{told}: they are returned as lists", file=sys.stderr, flush=True)
    return {place: array for place, array in found.items() if array is not None}


def _with_none(series, values):
    """The values of a column, None where pandas says that there is none."""
    return [value if there else None for value, there in zip(values, series.notna())]


def _has_pairs(values):
    return any(type(value) is list and value and type(value[0]) is tuple for value in values)


def _of_type(pyarrow, values, of):
    """The values as an array of this type; None unless it holds the same ones."""
    try:
        array = pyarrow.array(values, of)
    except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
        return None
    if "not null" in str(of) and _has_nulls(pyarrow, pyarrow.chunked_array([array])):
        return None
    return array if all(repr(held) == repr(value) for held, value in zip(array.to_pylist(), values)) else None


def _has_nulls(pyarrow, column):
    """Whether a null is inside of its values."""
    return any(part.null_count or _has_nulls(pyarrow, part) for part in in_pandas.parts(pyarrow, column))


def _with_plain(pyarrow, frame, came):
    """The frame with what came as it looks in plain records."""
    if not came:
        return frame
    from . import foreign

    names = {place: str(frame.columns[place]) for place in came}
    rows = foreign.rows_of_arrow(pyarrow.table(list(came.values()), names=list(names.values())))
    plain = {place: [row[name] for row in rows] for place, name in names.items()}
    series = sys.modules["pandas"].Series
    return _replaced(frame, {place: series(values, frame.index, object) for place, values in plain.items()})


def _objects(frame):
    """The values of columns of objects, by their places."""
    return {place: frame.iloc[:, place].tolist() for place, dtype in enumerate(frame.dtypes) if str(dtype) == "object"}


def _with_exact_times(frame):
    """The frame with objects that are pandas' own times as columns of those: pyarrow would drop their nanoseconds."""
    exact = {
        place: frame.iloc[:, place].infer_objects()
        for place, values in _objects(frame).items()
        if not _EXACT_TIMES.isdisjoint(kind.__name__ for kind in set(map(type, values)))
    }
    return _replaced(frame, exact) if exact else frame


def _replaced(frame, others):
    """The frame with other columns at some places."""
    columns = {place: others.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])}
    changed = type(frame)(columns)
    changed.columns = frame.columns
    return changed


def _is_mixed(values):
    """Whether values, or those inside of them, are of several kinds that pyarrow makes one, or of one that it cuts.

    It makes dates of moments, times of numbers and bytes of text; it drops zones of times of day, and nanoseconds.
    """
    types = set(map(type, values))
    kinds = {kind for kind in types if kind.__name__ not in _NOTHING}
    if len(kinds - {float}) < 2 and not any(map(_is_looked_into, kinds)):
        return False
    families, elements, dicts = set(), [], []
    for kind in kinds:
        own = [value for value in values if type(value) is kind] if len(types) > 1 else values
        if kind.__name__ == "ndarray":
            # Others hold what is of one type.
            elements.extend(chain.from_iterable(value.ravel() for value in own if value.dtype.hasobject))
        elif issubclass(kind, _LISTS):
            elements.extend(chain.from_iterable(own))
        elif issubclass(kind, dict):
            dicts += own
        else:
            families |= _families(kind, own)
    items = _items(dicts)
    if len(families) > 1 or "cut" in families or not all(isinstance(key, str) for key in items):
        return True
    return _is_mixed(elements) or any(map(_is_mixed, items.values()))


def _is_looked_into(kind):
    """Whether values of one such type may be of several kinds, or hold some."""
    if kind in (datetime.date, datetime.timedelta):
        return False
    return kind.__name__ == "ndarray" or issubclass(kind, (dict, *_LISTS, *_TIMES))


def _items(dicts):
    """The values of each key."""
    keys = set(map(tuple, dicts))
    if len(keys) == 1:
        return {key: list(map(itemgetter(key), dicts)) for key in keys.pop()}
    items = {}
    for key, item in chain.from_iterable(each.items() for each in dicts):
        items.setdefault(key, []).append(item)
    return items


def _families(kind, values):
    """The kinds of values that are of one type, which is none of lists or dicts."""
    if issubclass(kind, datetime.datetime):
        if any(getattr(value, "nanosecond", 0) for value in values if kind is not datetime.datetime):
            return {"cut"}
        return {"moment" if value.tzinfo is None else "instant" for value in values}
    if issubclass(kind, datetime.timedelta):
        return {"cut" if any(getattr(value, "nanoseconds", 0) for value in values) else "timedelta"}
    if issubclass(kind, datetime.time):
        return {"time" if all(value.tzinfo is None for value in values) else "cut"}
    if kind is float and all(value != value for value in values):
        return set()
    return {next((base for base in (datetime.date, str, (bytes, bytearray)) if issubclass(kind, base)), object)}


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
    advice = "name it apart to keep it as a column (`frame.rename_axis(…)`), or return `frame.reset_index(drop=True)`"
    raise failures.Failure("value", f"{what}; {advice}")
