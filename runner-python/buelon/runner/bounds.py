"""What the process of a step may use up: set by itself before any code of the step runs, and told by name where it is met."""

import errno
import os

from .failures import standard

NO_MEMORY = "failed to map segment"
"""What the system says of a library for which there is no memory."""

_STARTS = ("_execute_child", "_fork_exec", "_launch", "spawnv_passfds")
"""Functions of `subprocess` and `multiprocessing` that start processes."""

# Units of sizes in scripts and settings.
_UNITS = (("GiB", 1 << 30), ("GB", 10**9), ("MiB", 1 << 20), ("MB", 10**6), ("KiB", 1 << 10), ("KB", 10**3))


class Bounds:
    """Knows the limits that hold already: none of them can be raised."""

    def __init__(self):
        try:
            import resource
        except ImportError:
            # Not every system's Python has it; those that workers run on do.
            self._set, self._highest = None, {}
            return
        self._set = resource.setrlimit
        self._none = resource.RLIM_INFINITY
        names = ("CORE", "DATA", "AS", "NPROC", "FSIZE", "NOFILE", "CPU")
        numbers = [getattr(resource, f"RLIMIT_{name}") for name in names if hasattr(resource, f"RLIMIT_{name}")]
        self._highest = {number: resource.getrlimit(number)[1] for number in numbers}

    def now(self):
        """The limits that hold already, as ``apply`` takes them."""
        if self._set is None:
            return []
        import resource

        return [(number, *resource.getrlimit(number)) for number in self._highest]

    def apply(self, bounds):
        """Sets limits, each a resource's number with its soft and hard limit."""
        for number, soft, hard in bounds:
            highest = self._highest.get(number)
            if highest is None:
                continue
            if highest != self._none:
                soft, hard = min(soft, highest), min(hard, highest)
            self._set(number, (soft, hard))


def told_by_name(failure, error):
    """The same failure, named by the bound that the step met where it met one."""
    try:
        bound = met(error)
    except Exception:  # What is broken here must not hide the error itself.
        bound = None
    if bound:
        kind, sentence = bound
        failure.kind, failure.message = kind, f"{failure.message}; {sentence}"
    return failure


def met(error):
    """The bound that an exception comes from: its kind, and a sentence about it; None for any other exception."""
    if _comes_of_no_memory(error):
        limit = _limit("DATA")
        return limit and ("memory", f"each process of the step may use {_size(limit)}: `!memory` sets how much")
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        limit = _limit("FSIZE")
        return limit and ("disk", f"a file of the step may hold {_size(limit)}: BUE_STEP_SCRATCH_BYTES_MAX sets how much")
    if _comes_of_no_process(error) and _limit("NPROC") and (_is_of_a_fork(error) or not _can_fork()):
        bounds = "`!processes` sets how many, and BUE_WORKER_STEPS_PROCESSES_MAX how many all steps of a worker have together"
        return "processes", f"there are all the processes and threads that there may be: {bounds}"
    return None


def _size(limit):
    """A number of bytes as a script has it: in the unit that makes the shortest whole number of it."""
    whole = [(limit // unit, name) for name, unit in _UNITS if limit % unit == 0]
    number, name = min(whole, default=(limit, "bytes"))
    return f"{number} {name}"


def _comes_of_no_memory(error):
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, ImportError) and NO_MEMORY in str(error))


def _comes_of_no_process(error):
    if isinstance(error, OSError):
        return error.errno == errno.EAGAIN
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def _is_of_a_fork(error):
    """Whether it was raised where the standard library starts processes."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_code.co_name in _STARTS


def _can_fork():
    """Other things than processes can be had again later, too: whether it is these is seen by trying."""
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def _limit(name):
    try:
        resource = standard("resource")
        soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
    except (ImportError, AttributeError):
        return None
    return None if soft == resource.RLIM_INFINITY else soft
