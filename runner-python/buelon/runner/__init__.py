"""The program that runs one Python step. It is started by a worker, and needs nothing but Python 3.9.

- ``start``: the way of one step, from the first frame to the last.
- ``streams``, ``frames``: what is said to the worker, kept apart from what the step prints.
- ``load``, ``call``: the step's code.
- ``returned``, ``values``, ``encode``, ``decode``: what goes in and comes out.
- ``columns``, ``foreign``, ``arrow``: tables.
- ``failures``: errors in the words their author should read.
"""

import sys

AT_START = frozenset(sys.modules)
"""What any program finds loaded: a module of that name beside it is never found."""
