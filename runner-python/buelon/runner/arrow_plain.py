"""Tables of pyarrow in the types that are read here: what stands for other values is replaced by them.

So a table looks the same to a Python step whoever reads it.
"""

from .arrow_columns import Unsupported

_VIEWS = {"string_view": "large_string", "binary_view": "large_binary"}


def table(pyarrow, table):
    """The table without dictionaries, views and runs. Raises ``Unsupported`` where lists inside of others are views."""
    for place, field in enumerate(table.schema):
        column = without_runs_and_lists_of_views(pyarrow, table.column(place))
        if pyarrow.types.is_dictionary(column.type):
            column = _without_codes(pyarrow, column)
        wanted = _type(pyarrow, column.type)
        if wanted != field.type:
            column = column if column.type == wanted else column.cast(wanted)
            table = table.set_column(place, field.with_type(wanted), column)
    return table


def without_runs_and_lists_of_views(pyarrow, column):
    """The column with each value written out, and with lists that lie one behind the other."""
    from pyarrow import compute

    of = column.type
    if pyarrow.types.is_run_end_encoded(of):
        chunks = [compute.run_end_decode(chunk) for chunk in column.chunks]
        return pyarrow.chunked_array(chunks, type=of.value_type)
    if is_list_view(of):
        chunks = [_in_order(pyarrow, compute, chunk) for chunk in column.chunks or [pyarrow.array([], of)]]
        return pyarrow.chunked_array(chunks)
    return column


def is_list_view(of):
    """Whether it is the type of lists that lie anywhere. Not every pyarrow knows it."""
    return str(of).startswith(("list_view<", "large_list_view<"))


def _in_order(pyarrow, compute, array):
    """Lists made of views: what pyarrow casts them to has other values."""
    if not is_list_view(array.type):
        return array
    lengths = compute.list_value_length(array).fill_null(0).cast(pyarrow.int64())
    places = pyarrow.concat_arrays([pyarrow.array([0], pyarrow.int64()), compute.cumulative_sum(lengths)])
    items = _in_order(pyarrow, compute, array.flatten())
    return pyarrow.LargeListArray.from_arrays(places, items, mask=array.is_null())


def _without_codes(pyarrow, column):
    """What a dictionary stands for. Views are no views first: pyarrow takes none by codes."""
    of = _type(pyarrow, column.type)
    chunks = [
        pyarrow.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(of)).cast(of)
        for chunk in column.chunks
    ]
    return pyarrow.chunked_array(chunks, type=of)


def _type(pyarrow, of):
    kinds = pyarrow.types
    if kinds.is_dictionary(of):
        return _type(pyarrow, of.value_type)
    if str(of) in _VIEWS:
        return getattr(pyarrow, _VIEWS[str(of)])()
    if kinds.is_list(of):
        return pyarrow.list_(_field(pyarrow, of.value_field))
    if is_list_view(of):
        raise Unsupported("lists that are views inside of other values")
    if kinds.is_large_list(of):
        return pyarrow.large_list(_field(pyarrow, of.value_field))
    if kinds.is_fixed_size_list(of):
        return pyarrow.list_(_field(pyarrow, of.value_field), of.list_size)
    if kinds.is_struct(of):
        return pyarrow.struct([_field(pyarrow, of.field(place)) for place in range(of.num_fields)])
    if kinds.is_map(of):
        return pyarrow.map_(_field(pyarrow, of.key_field), _field(pyarrow, of.item_field), of.keys_sorted)
    return of


def _field(pyarrow, field):
    return field.with_type(_type(pyarrow, field.type))
