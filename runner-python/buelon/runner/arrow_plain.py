"""Tables of pyarrow in the types that are read here: what stands for other values is replaced by them.

So a table looks the same to a Python step whoever reads it.
"""

_VIEWS = {"string_view": "large_string", "binary_view": "large_binary"}


def table(pyarrow, table):
    """The table without dictionaries, views and runs."""
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pyarrow.types.is_run_end_encoded(field.type):
            column = _without_runs(pyarrow, column)
        wanted = _type(pyarrow, column.type)
        if wanted != field.type:
            table = table.set_column(place, field.with_type(wanted), column.cast(wanted))
    return table


def _without_runs(pyarrow, column):
    from pyarrow import compute

    chunks = [compute.run_end_decode(chunk) for chunk in column.chunks]
    return pyarrow.chunked_array(chunks, type=column.type.value_type)


def _type(pyarrow, of):
    kinds = pyarrow.types
    if kinds.is_dictionary(of):
        return _type(pyarrow, of.value_type)
    if str(of) in _VIEWS:
        return getattr(pyarrow, _VIEWS[str(of)])()
    if kinds.is_list(of):
        return pyarrow.list_(_field(pyarrow, of.value_field))
    if kinds.is_large_list(of) or str(of).startswith(("list_view<", "large_list_view<")):
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
