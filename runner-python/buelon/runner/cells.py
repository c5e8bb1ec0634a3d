"""Cells of a sandbox, as the warm interpreter's forks join them.

A cell is a set of namespaces, made by the broker, that a first process holds open. A fork is born among the cell's
processes, then takes on its users, files and all else, gives up every right over it, and steps into the fence: rules on
files that the launcher prepared. See ``sandbox/src/broker.rs``.

A cell in which nothing runs any more is as it was when it was made: nobody in it could mount anything or keep anything but in
its folder, of which the worker takes care. So it serves one attempt after another.
"""

import _signal as signal
import os

_NEWNS = 0x0002_0000
_NEWIPC = 0x0800_0000
_NEWUSER = 0x1000_0000
_NEWPID = 0x2000_0000
_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION_3 = 0x2008_0522
_WORD_BYTES_MAX = 4_096
_FENCE = 4
"""Descriptor of the fence, where there is one."""
_RESTRICT_SELF = 446
"""Number of Landlock's system call, on all kinds of machines."""


DESCRIPTORS_END = _FENCE
"""The highest descriptor that a launcher leaves open."""


class _Joiner:
    """The calls and their arguments, made before any fork needs them."""

    def __init__(self, library):
        import ctypes

        self.setns, self.prctl, self.capset = library.setns, library.prctl, library.capset
        self.syscall = library.syscall
        self.get_errno = ctypes.get_errno
        self.header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        self.none = (ctypes.c_uint32 * 6)()
        try:
            self.has_fence = "landlock" in os.readlink(f"/proc/self/fd/{_FENCE}")
        except OSError:
            self.has_fence = False


def joiner(library):
    """What the functions below need. Without it no fork can join a cell, and there is no warm interpreter."""
    if library is None:
        raise OSError("this Python has no ctypes: steps cannot be forked into their sandbox")
    return _Joiner(library)


def practice_joiner(library):
    """One whose calls change nothing; None where forks join no cell."""
    if library is None:
        return None
    calls = _Joiner(library)
    calls.setns = calls.prctl = calls.capset = calls.syscall = library.getppid
    calls.has_fence = True
    return calls


def fork_into(calls, cell):
    """Has the next fork of this process be born among the processes of a cell."""
    _check(calls, calls.setns(cell, _NEWPID))


def wait_for(ready):
    """Waits until a new cell is ready."""
    word = os.read(ready, _WORD_BYTES_MAX)
    if word != b".":
        raise OSError(f"the step's sandbox cannot be built: {word.decode('utf-8', 'replace') or 'it ended'}")


def join(calls, cell):
    """In the fork: enters the cell, and keeps no rights over it."""
    _check(calls, calls.setns(cell, _NEWUSER | _NEWNS | _NEWIPC))
    _check(calls, calls.capset(calls.header, calls.none))
    if calls.has_fence:
        _check(calls, calls.syscall(_RESTRICT_SELF, _FENCE, 0))
    # The kernel hides who changed rights from itself, too; there is nobody else here to hide from.
    _check(calls, calls.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


class Cell:
    """A cell, by a descriptor of its first process."""

    def __init__(self, folder, descriptor, holder):
        self.folder = folder
        self.descriptor = descriptor
        self.children = None
        """Descriptor of the list of its first process's children; None where the kernel keeps no such lists."""
        try:
            self.children = os.open(f"/proc/{holder}/task/{holder}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass

    def is_empty(self):
        """Whether only the first process is left.

        What a process leaves behind at its end becomes a child of the first one, which takes none of them away unseen: whoever is
        in its list still runs or is about to end.
        """
        try:
            return self.children is not None and not os.pread(self.children, 1, 0)
        except OSError:
            return False

    def end(self):
        """Kills the first process, and with it all others."""
        try:
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self):
        """Ends it, and lets go of it."""
        self.end()
        os.close(self.descriptor)
        if self.children is not None:
            os.close(self.children)


def _check(calls, answer):
    if answer == -1:
        number = calls.get_errno()
        raise OSError(number, f"the step's sandbox cannot be entered: {os.strerror(number)}")
