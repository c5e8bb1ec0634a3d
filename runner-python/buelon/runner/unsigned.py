"""Whole numbers beyond 63 bits as pyarrow's uint64: by itself it takes them for numbers with a sign, and fails."""

from itertools import chain

_SIGNED_MAX = 2**63 - 1


def array(pyarrow, values):
    """The values as an array; None where no such numbers are among them, or uint64 does not hold those."""
    try:
        of = _type(pyarrow, values)
        return pyarrow.array(values, of, from_pandas=True) if "uint64" in str(of) else None
    except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
        return None


def _type(pyarrow, values):
    """The type that pyarrow finds for the values, but for those numbers."""
    present = [value for value in values if value is not None]
    kinds = set(map(type, present))
    if kinds == {int} and max(present) > _SIGNED_MAX:
        return pyarrow.uint64()
    if kinds == {list}:
        return pyarrow.list_(_type(pyarrow, list(chain.from_iterable(present))))
    if kinds == {dict}:
        names = dict.fromkeys(chain.from_iterable(present))
        return pyarrow.struct([(name, _type(pyarrow, [value.get(name) for value in present])) for name in names])
    return pyarrow.array(present).type
