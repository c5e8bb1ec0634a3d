"""Tables of polars: what its own writer would spoil is refused, and numbers of 64 bits take no more."""

from .failures import no_form

_FORMLESS = frozenset(("Object", "Int128", "UInt128"))
"""Of objects polars writes where they are in memory; its widest numbers nobody else reads."""


def refuse_formless(frame):
    """Raises ``Failure`` for a column that a table has no form for."""
    for name, dtype in frame.schema.items():
        word = _formless(dtype)
        if word is not None:
            raise no_form(name, word, "cast it, as in `.cast(polars.String)`")


def in_64_bits(polars, frame):
    """The frame with whole numbers beyond 63 bits as ones without a sign: polars may take 128 bits for them."""
    wide = {name: dtype for name, dtype in frame.schema.items() if _formless(dtype) == "Int128"}
    return frame.cast({name: _unsigned(polars, dtype) for name, dtype in wide.items()}) if wide else frame


def _unsigned(polars, dtype):
    if dtype == polars.Int128:
        return polars.UInt64()
    if isinstance(dtype, polars.List):
        return polars.List(_unsigned(polars, dtype.inner))
    if isinstance(dtype, polars.Struct):
        return polars.Struct([polars.Field(field.name, _unsigned(polars, field.dtype)) for field in dtype.fields])
    return dtype


def _formless(dtype):
    """The name of such a type, where it is one or has one inside."""
    name = getattr(dtype, "__name__", None) or type(dtype).__name__
    if name in _FORMLESS:
        return name
    parts = [getattr(dtype, part, None) for part in ("inner", "key", "value")]
    parts += [field.dtype for field in getattr(dtype, "fields", None) or ()]
    return next((word for word in map(_formless, filter(None, parts)) if word is not None), None)
