"""Keeps what is said to the worker apart from what the step prints.

The worker speaks on standard input and listens on standard output. Before any code of the step runs, both are taken
away: input is empty from then on, and output goes where errors go, into the log.
"""

import _signal as signal
import _thread
import os
import sys

_FIRST_BYTES = 8_192
_CHUNK_BYTES = 65_536


class Channel:
    """The way back to the worker."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._process = os.getpid()

    def send(self, line):
        """Writes one line and closes the way: there is one answer. A process that the step forked stays silent."""
        if os.getpid() != self._process:
            os._exit(0)
        self._write(line)
        os.close(self._descriptor)

    def tell(self, line):
        """Writes a line that comes before the answer."""
        if os.getpid() == self._process:
            self._write(line)

    def _write(self, line):
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def read_all(descriptor=0):
    """What the worker sends."""
    chunks = []
    # Memory that is never used before costs a page fault: most input is short.
    chunk = os.read(descriptor, _FIRST_BYTES)
    while chunk:
        chunks.append(chunk)
        chunk = os.read(descriptor, _CHUNK_BYTES)
    return b"".join(chunks)


def take_over():
    """Gives the step its own streams; returns the way back to the worker."""
    channel = Channel(os.dup(1))
    os.dup2(2, 1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    open_log()
    return channel


def open_log():
    """Python's streams for what the step prints. The descriptors must be pipes, as a worker gives them."""
    sys.stdout = sys.__stdout__ = _log_stream(1)
    sys.stderr = sys.__stderr__ = _log_stream(2)


def _log_stream(descriptor):
    """Lines reach the log as they are printed, whatever they hold."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def flush_when_asked_to_end():
    """A line that has no end yet is in the log too when the worker ends the step: it asks first."""
    signal.signal(signal.SIGTERM, _flush_and_end)
    forks.arrange()


def _flush_and_end(number, _):
    try:
        flush()
    except Exception:
        pass  # It came while something was being written. What counts is the end.
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


class _Forks:
    """Has processes that the step forks be asked to end as those of any program are: what is arranged for the step is not for them."""

    def __init__(self):
        self.are_of_step = False
        self._masks = {}
        """What threads that fork had held back before."""

    def arrange(self):
        os.register_at_fork(before=self._hold_back, after_in_parent=self._let_through, after_in_child=self._be_ordinary)

    def _hold_back(self):
        """What comes for a fork before it has its own way to end waits: the handler that it begins with would forget it."""
        if self.are_of_step:
            self._masks[_thread.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def _let_through(self):
        if self.are_of_step:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.pop(_thread.get_ident()))

    def _be_ordinary(self):
        if not self.are_of_step:
            return
        if signal.getsignal(signal.SIGTERM) is _flush_and_end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._let_through()


forks = _Forks()
"""Those of the step, from when it begins: the warm interpreter's own, which become steps, are left as they are."""


def show_logging():
    """What ``logging`` says from INFO on goes to the log with its level, unless the step arranges that itself."""
    logging = sys.modules.get("logging")
    last = getattr(logging, "lastResort", None)
    if last is None or logging.root.handlers:
        return
    last.setLevel(logging.INFO)
    last.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if logging.root.level == logging.WARNING:
        logging.root.setLevel(logging.INFO)


def flush():
    """What is printed but not written yet."""
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)


def _flush(stream):
    try:
        stream.flush()
    except (AttributeError, OSError, ValueError):
        return  # The step may have closed or replaced it.
