"""Loads what steps import into a warm interpreter, before any of them is forked from it.

The worker names the modules, as the text of a step does. Only such as come from the interpreter and its packages are loaded:
what a bundle brings itself is not to be found here. A module that must not be there when a process is forked is named, and the
worker begins again without it. One that only starts threads is loaded later then: by a fork that waits for its step, from which
nothing is forked.
"""

import _signal as signal
import os
import select
import sys

from . import companions, failures
from .beginnings import Beginnings

_QUIET_THREADS = ("jemalloc_bg_thd",)
"""Threads that their library ends before a fork and begins again when it needs them."""
_BLAS = "OPENBLAS_NUM_THREADS"
"""It begins its threads when it is loaded, unless it is to have one only."""


_TRY_S = 60
"""Longest time to find out what a module needs; who takes longer has it ended by the system."""
_LOOKS, _LOOK_EVERY_MS = 20, 5
"""How often threads are looked for before they count as ones that stay."""


class Preload:
    """What is loaded beforehand."""

    def __init__(self):
        self._own = set()
        self._before = set(sys.modules)
        self._descriptors = _descriptors()
        self._data_bytes = None
        self._limits = None
        """Of memory, from before it was bounded."""
        self._late = []
        self._beginnings = Beginnings()

    def bound(self, data_bytes):
        """Bounds what may be taken for modules, as each step is bounded that loads them itself."""
        self._data_bytes = data_bytes
        self._limits = _bound(data_bytes)

    def finish(self):
        """How many modules there are that were not there before, or will be in a fork that waits, and how much memory this process
        has for data."""
        if self._limits is not None:
            _set_limits(self._limits)
        return len(set(sys.modules) - self._before) + len(self._late), _data_bytes()

    def load_late(self, name):
        """Has a fork that waits for its step load a module, and loads here what that needs of the standard library; returns as
        ``load`` does."""
        self._late.append(name)
        return next(filter(None, map(self.load, _needs(name))), None)

    def late(self):
        """What such a fork does; None where there is nothing."""
        return self._load_late_ones if self._late else None

    def _load_late_ones(self):
        limits = None if self._data_bytes is None else _bound(self._data_bytes)
        for name in self._late:
            _import(name)
        if limits is not None:
            _set_limits(limits)

    def begin(self):
        """What a fork does so that it has what modules begin that are there; None where there is nothing."""
        return self._beginnings.begin if self._beginnings else None

    def keep_free(self, names):
        """Names that a step finds in its bundle first: no module here may have taken them."""
        self._own.update(names)

    def load(self, name):
        """Loads one module; returns why it must not be there in a fork, and the word for it, None where it may.

        The name may be that of something else that is taken out of a module. What cannot be loaded is left to the step, which
        says so.
        """
        module, _, child = name.rpartition(".")
        if name in sys.modules or hasattr(sys.modules.get(module), child):
            return None
        bounded = _BLAS in os.environ
        os.environ.setdefault(_BLAS, "1")
        put_off = len(self._beginnings)
        with self._beginnings:
            is_there = _import(name)
            companions.load()
        if not bounded:
            del os.environ[_BLAS]
        if not is_there and len(self._beginnings) > put_off:
            # It may have missed what it did not begin.
            return "late", "cannot be imported in part"
        return self._fault()

    def _fault(self):
        taken = {name.partition(".")[0] for name in set(sys.modules) - self._before} & self._own
        if taken:
            return "unfit", f"is, or needs, a module that the bundle has one of its own of: {min(taken)}"
        if _has_children():
            return "unfit", "starts processes when it is imported"
        if _descriptors() - self._descriptors:
            return "unfit", "opens files or connections when it is imported"
        if _threads_stay():
            return "late", "starts threads when it is imported"
        return None


def _needs(name):
    """Modules of the standard library that a module loads which must not be loaded here: a fork tries."""
    answer, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(_TRY_S)
            before = set(sys.modules)
            _import(name)
            standard = getattr(sys, "stdlib_module_names", ())
            needs = [needed for needed in sys.modules if needed not in before and needed.partition(".")[0] in standard]
            with open(told, "w") as file:
                file.write(" ".join(needs))
        finally:
            os._exit(0)
    os.close(told)
    with open(answer) as file:
        needs = file.read().split()
    os.waitpid(pid, 0)
    return needs


def _import(name):
    """Whether it can be imported."""
    try:
        __import__(name)
    except BaseException:
        return False  # That it asks to end this interpreter is no reason to. The step that needs it says what is wrong.
    return True


def _bound(data_bytes):
    """Bounds the memory for data; returns the limits from before."""
    resource = failures.standard("resource")
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    hard = limits[1]
    soft = data_bytes if hard == resource.RLIM_INFINITY else min(data_bytes, hard)
    _set_limits((soft, hard))
    return limits


def _set_limits(limits):
    resource = failures.standard("resource")
    resource.setrlimit(resource.RLIMIT_DATA, limits)


def after_fork():
    """What a fork must do so that it is not the twin of all others; None where there is nothing."""
    numbers = sys.modules.get("numpy.random")
    # Its other generators, and those of Python, see to this themselves.
    return getattr(numbers, "seed", None)


def _threads_stay():
    """Whether there are threads that would be missing in a fork. Some end at once, some have no name of their own yet."""
    return all(_threads() and _pause() for _ in range(_LOOKS)) and bool(_threads())


def _pause():
    select.poll().poll(_LOOK_EVERY_MS)
    return True


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


def _data_bytes():
    """What the limit of memory counts."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmData:"))
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1_024


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
