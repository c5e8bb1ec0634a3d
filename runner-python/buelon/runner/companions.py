"""What is loaded when libraries of tables are first used, by them and by this program, for those that are there already.

An interpreter that is forked has it then, and not each fork again: pyarrow imports pandas with its first array, wherever that is
installed, which takes as long as hundreds of steps.
"""

import contextvars
import sys

_gone = set()
"""Ways that were gone."""


def load():
    """Loads it, and goes the way of a small table once. What cannot be loaded is left to who needs it."""
    loaded = {"pyarrow", "pandas", "polars"}.intersection(sys.modules)
    if not loaded:
        return
    from . import arrow_plain, foreign, wanted  # noqa: F401

    if "pyarrow" in loaded:
        _go(_use_pyarrow)
    if "pandas" in sys.modules:
        from . import in_pandas, of_pandas  # noqa: F401

        if "pyarrow" in sys.modules:
            _go(_use_pandas)
    if "polars" in loaded:
        from . import in_polars  # noqa: F401


def _go(way):
    """Leaves nothing behind that a step could see.

    Nothing of it takes memory as pyarrow does by itself: that reserves so much at once that a fork had none left of its own.
    """
    if way in _gone:
        return
    _gone.add(way)
    import warnings

    try:
        import pyarrow

        pool = pyarrow.default_memory_pool()
        pyarrow.set_memory_pool(pyarrow.system_memory_pool())
        try:
            with warnings.catch_warnings():
                # Libraries say it to the steps that use them.
                warnings.simplefilter("ignore")
                contextvars.copy_context().run(way)
        finally:
            pyarrow.set_memory_pool(pool)
    except BaseException:
        return


def _use_pyarrow():
    import pyarrow
    import pyarrow.ipc

    table = pyarrow.table({"text": pyarrow.array([""], pyarrow.large_string()), "number": [1.5]})
    # What casts and compares is registered with the first of it.
    table.column("text").cast(pyarrow.string())


def _use_pandas():
    import pandas
    import pyarrow

    from . import in_pandas, of_pandas

    table = pyarrow.table({"text": [""], "number": [1.5], "whole": [1], "yes": [True]})
    of_pandas.to_arrow(pyarrow, in_pandas.of_arrow(pandas, pyarrow, table))
