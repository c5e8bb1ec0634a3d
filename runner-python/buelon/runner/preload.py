"""Loads what steps import into a warm interpreter, before any of them is forked from it.

The worker names the modules, as the text of a step does. Only such as come from the interpreter and its packages are loaded:
what a bundle brings itself is not to be found here. A module that must not be there when a process is forked is named, and the
worker begins again without it.
"""

import os
import sys

_QUIET_THREADS = ("jemalloc_bg_thd",)
"""Threads that their library ends before a fork and begins again when it needs them."""
_BLAS = "OPENBLAS_NUM_THREADS"
"""It begins its threads when it is loaded, unless it is to have one only."""


class Preload:
    """What is loaded beforehand."""

    def __init__(self):
        self._own = set()
        self._before = set(sys.modules)
        self._descriptors = _descriptors()

    def keep_free(self, names):
        """Names that a step finds in its bundle first: no module here may have taken them."""
        self._own.update(names)

    def load(self, name):
        """Loads one module; returns why it must not be there in a fork, None where it may.

        The name may be that of something else that is taken out of a module. What cannot be loaded is left to the step, which
        says so.
        """
        module, _, child = name.rpartition(".")
        if name in sys.modules or hasattr(sys.modules.get(module), child):
            return None
        bounded = _BLAS in os.environ
        os.environ.setdefault(_BLAS, "1")
        try:
            __import__(name)
        except BaseException:
            pass  # That it asks to end this interpreter is no reason to.
        finally:
            if not bounded:
                del os.environ[_BLAS]
        return self._fault()

    def count(self):
        """How many modules there are that were not there before."""
        return len(set(sys.modules) - self._before)

    def _fault(self):
        taken = {name.partition(".")[0] for name in set(sys.modules) - self._before} & self._own
        if taken:
            return f"is, or needs, a module that the bundle has one of its own of: {min(taken)}"
        if _threads():
            return "starts threads when it is imported"
        if _has_children():
            return "starts processes when it is imported"
        if _descriptors() - self._descriptors:
            return "opens files or connections when it is imported"
        return None


def after_fork():
    """What a fork must do so that it is not the twin of all others; None where there is nothing."""
    numbers = sys.modules.get("numpy.random")
    # Its other generators, and those of Python, see to this themselves.
    return getattr(numbers, "seed", None)


def _threads():
    """Threads that would be missing in a fork."""
    try:
        tasks = os.listdir("/proc/self/task")
    except OSError:
        return 0
    return sum(1 for task in tasks if int(task) != os.getpid() and _name(task) not in _QUIET_THREADS)


def _name(task):
    try:
        with open(f"/proc/self/task/{task}/comm") as file:
            return file.read().strip()
    except OSError:
        return _QUIET_THREADS[0]  # It has ended.


def _has_children():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return True


def _descriptors():
    try:
        # The one that reads the list is in it, and gone.
        return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
    except OSError:
        return set()
