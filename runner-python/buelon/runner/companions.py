"""What is loaded when libraries of tables are first used, by them and by this program, for those that are there already.

An interpreter that is forked has it then, and not each fork again: pyarrow imports pandas with its first array, wherever that is
installed, which takes as long as hundreds of steps.
"""

import sys


def load():
    """Loads it. What cannot be loaded is left to who needs it."""
    loaded = {"pyarrow", "pandas", "polars"}.intersection(sys.modules)
    if not loaded:
        return
    from . import arrow_plain, foreign, wanted  # noqa: F401

    if "pyarrow" in loaded:
        _use_pyarrow()
    if "pandas" in sys.modules:
        from . import in_pandas, of_pandas  # noqa: F401
    if "polars" in loaded:
        from . import in_polars  # noqa: F401


def _use_pyarrow():
    try:
        import pyarrow
        import pyarrow.ipc

        pyarrow.array([])
    except BaseException:
        return
