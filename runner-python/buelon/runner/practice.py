"""Has an interpreter go the way of a step a few times, with a step of its own, before it is forked.

Then its memory is as a step needs it: the parser has its tables, types remember their attributes, code is specialised.
What is written beforehand is shared by all forks and need not be written by each. No code of any user is run here.
"""

import os
import sys

from . import failures, start

TIMES = 20
"""Enough for an interpreter to take code for hot."""

_VARIABLE = "BUE_PRACTICE"

_FRAME = b"""{"protocol":1,"run":"","job":"","attempt":1,"step":"practice","language":"python","function":"step",
"code":{"text":{"text":"def step(given):\\n    return given\\n","script":"practice","line":3}},"path":["/"],
"inputs":[{"json":1}],"values":"/","inline_bytes_max":1000,"value_bytes_max":1000}
"""


def practise(times=TIMES):
    """Leaves the interpreter as it was, to all that a step can see."""
    # A step of the practice must not arrange what is logged, in a module that may be there already.
    logging = sys.modules.pop("logging", None)
    last, path, arguments = next(reversed(sys.modules)), sys.path[:], sys.argv[:]
    for _ in range(times):
        os.environ[_VARIABLE] = "practice"
        start.answer(_FRAME)
        sys.path[:], sys.argv[:] = path, arguments
        failures.step_folders.clear()
        del os.environ[_VARIABLE]
    # New ones come last. To compare the names of all would write to each of them, wherever it lies.
    while last in sys.modules and next(reversed(sys.modules)) != last:
        sys.modules.popitem()
    if logging is not None:
        sys.modules["logging"] = logging
