"""A warm interpreter: stays, and forks itself for each attempt.

It holds the runner and nothing of any step (but modules of its environment that a step imports, where it is told to load them),
has one thread, and runs none of a step's code itself. Its standard input
is a socket that keeps messages apart:

    to it      fork NUMBER FOLDER     with three descriptors: the step's input, output and errors
               again NUMBER FOLDER    the same, in the cell of a step that has ended before
               early NUMBER FOLDER    the same, for a step that is not there yet: there is time to get ready for it
               close FOLDER           that cell is not needed any more
               signal PID NUMBER      to the process group of a step that has not ended
               bound BYTES            memory for data that this process may have while it loads modules
               own NAME …             modules that a bundle has itself: the next orders must not bring others of these names
               load MODULE            before anything is forked
               late MODULE            it is to be loaded by forks that wait for their steps, not here; but here what it needs of the
                                      standard library
               loaded                 those were all
    from it    forked NUMBER PID
               refused NUMBER REASON  there was no process
               ended PID STATUS CPU   the exit code, or the signal as a negative number; its group is gone. With the
                                      milliseconds on a processor of it and of those it waited for
               kept PID STATUS CPU    the same, and its cell is empty and kept
               threads COUNT          it cannot be forked: something that its environment starts has threads
               unfit MODULE REASON    it cannot be forked any more: this module must not be there
               late MODULE REASON     the same, of a module that a fork may load that waits for its step
               loaded COUNT BYTES     so many modules are there that were not before; the memory for data of this process

A forked process reads two lines from its input: where it runs (a dict of ``folder``, ``environment``, ``bounds`` and perhaps
``fence``), and the start frame. It dies with this process; this process ends, and all groups with it, when the worker is gone.

In a sandbox orders to fork come from a broker, on a socket of their own and with two more descriptors: the first process of a
cell (see ``cells.py``), which the fork joins, and where that says it is ready. When the step has ended and nothing that it
started is left, its cell is kept for the next one; else the end is told when all of the cell is gone.

What a fork costs is the memory it touches: each page that it writes to, be it a reference count, is copied for it.
So this program imports little, has its forks do little, and does it beforehand where that is possible.
"""

import _signal as signal
import _socket as socket
import _thread
import gc
import os
import select
import sys

from . import arrow_read, arrow_write, cells, forked, preload, start, streams  # noqa: F401
from .practice import practise

_MESSAGE_BYTES_MAX = 1_024
_BLOCK_BYTES = 4 << 20
"""Size of a block of memory that comes again and again while tables are read."""
_DESCRIPTORS = 5
_DESCRIPTORS_WITHOUT_CELL = 3
_TOO_MANY = "too many files are open in the warm interpreter"
"""Why descriptors are missing from a message: this process has as many as it may."""
_GONE = 3
"""The system's number for: there is no such process."""
_BROKER = 3
"""Descriptor of the broker's orders, in a sandbox."""


def main():
    """Serves the worker until it is gone."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, os.dup(0))
    library = _library()
    broker, join = None, None
    if "broker" in sys.argv:
        broker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, _BROKER)
        join = cells.joiner(library)
    step = forked.Step(library, join)
    server = _Server(control, broker, join, step)
    start.allow_long_integers()
    if broker:
        # What a step writes there is gone afterwards, and a folder in which nothing was written serves the next one.
        sys.dont_write_bytecode = True
    _open_logs()
    streams.flush_when_asked_to_end()
    _keep_blocks()
    practise()
    step.practise()
    threads = _threads()
    if threads > 1:
        server.refuse(threads)
        return
    _share()
    server.serve()


def _share():
    """What is there now stays: moved out of the collector's sight, its pages are shared with all forks."""
    gc.collect()
    gc.freeze()


def _keep_blocks():
    """Has the C library keep blocks of up to this size for the next ones, which it would else give back to the system and have cleared
    again: it does so for blocks as large as the largest that was ever given back.
    """
    bytes(_BLOCK_BYTES)


def _threads():
    """Threads of this process: none but the one that forks is there in a fork, with whatever the others hold."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1 + _thread._count()


def _open_logs():
    """The streams of all steps to come. They ask once what kind of file they write to: pipes."""
    kept = os.dup(1), os.dup(2)
    pipe = os.pipe()
    for target in (1, 2):
        os.dup2(pipe[1], target)
    streams.open_log()
    for target, descriptor in enumerate(kept, 1):
        os.dup2(descriptor, target)
    for descriptor in (*kept, *pipe):
        os.close(descriptor)


class _Server:
    def __init__(self, control, broker, join, step):
        self._control = control
        self._broker = broker
        self._join = join
        self._step = step
        self._running = {}
        """Processes of steps, each with the descriptor that tells its end."""
        self._told = {}
        """The same by those descriptors, each with its cell where it has one."""
        self._kept = {}
        """Cells in which nothing runs, by the folder they show."""
        self._closing = {}
        """Cells that are being ended, by their descriptors, each with what is told when all in it is gone."""
        self._highest = cells.DESCRIPTORS_END
        """The highest descriptor there ever was: new ones only come with orders."""
        self._poll = select.poll()
        self._preload = None
        """What is loaded beforehand, where anything is."""

    def serve(self):
        poll = self._poll
        orders = {self._control.fileno(): self._control}
        if self._broker:
            orders[self._broker.fileno()] = self._broker
        for descriptor in orders:
            poll.register(descriptor, select.POLLIN)
        is_wanted = True
        while is_wanted:
            for descriptor, _ in poll.poll():
                if descriptor in orders:
                    is_wanted = self._take_order(orders[descriptor]) and is_wanted
                elif descriptor in self._told:
                    self._report_ended(descriptor)
                else:
                    self._report_closed(descriptor)
        # The worker is gone, perhaps killed: nothing of its steps stays.
        for pid in self._running:
            _kill_group(pid)

    def refuse(self, threads):
        """Says why it serves nobody."""
        self._say(f"threads {threads}")

    def _take_order(self, source):
        data, descriptors = _receive(source)
        if not data:
            return False
        order, *words = data.decode("utf-8").split()
        if order == "fork":
            self._fork_first(words, descriptors)
        elif order in ("again", "early"):
            self._fork(words[0], descriptors, self._kept.pop(words[1], None), has_time=order == "early")
        elif order == "close":
            self._forget_cell(words[0])
        elif order == "signal":
            self._signal(int(words[0]), int(words[1]))
        else:
            return self._load(order, words)
        return True

    def _load(self, order, words):
        """Carries out an order to load modules; tells whether this interpreter is of use any more."""
        self._preload = self._preload or preload.Preload()
        if order == "bound":
            self._preload.bound(int(words[0]))
        elif order == "own":
            self._preload.keep_free(words)
        elif order in ("load", "late"):
            load = self._preload.load if order == "load" else self._preload.load_late
            fault = load(words[0])
            if fault:
                word, reason = fault
                self._say(f"{word} {words[0]} {reason}")
                return False
        else:
            _share()
            self._step.prepare(preload.after_fork(), self._preload.late(), self._preload.begin())
            count, data_bytes = self._preload.finish()
            self._say(f"loaded {count} {data_bytes}")
        return True

    def _fork_first(self, words, descriptors):
        number, folder, *holder = words
        if not self._broker:
            self._fork(number, descriptors)
            return
        if len(descriptors) < _DESCRIPTORS:
            self._refuse(number, descriptors, _TOO_MANY)
            return
        *streams_of_step, descriptor, ready = descriptors
        self._highest = max(self._highest, descriptor, ready)
        self._fork(number, streams_of_step, cells.Cell(folder, descriptor, int(holder[0])), ready)
        os.close(ready)

    def _fork(self, number, descriptors, cell=None, ready=None, has_time=False):
        if len(descriptors) < _DESCRIPTORS_WITHOUT_CELL:
            self._refuse(number, descriptors, _TOO_MANY, cell)
            return
        self._highest = max(self._highest, *descriptors)
        try:
            if cell is not None:
                cells.fork_into(self._join, cell.descriptor)
                self._highest = max(self._highest, cell.children or 0)
            elif self._broker:
                raise OSError(_GONE, "its cell is gone")
            pid = os.fork()
        except OSError as error:
            self._refuse(number, descriptors, error.strerror, cell)
            return
        if pid == 0:
            self._step.become(descriptors, cell, ready, self._highest, has_time)
        for descriptor in descriptors:
            os.close(descriptor)
        told = os.pidfd_open(pid)
        self._highest = max(self._highest, told)
        self._running[pid] = told
        self._told[told] = pid, cell
        self._poll.register(told, select.POLLIN)
        self._say(f"forked {number} {pid}")

    def _forget_cell(self, folder):
        cell = self._kept.pop(folder, None)
        if cell is not None:
            cell.close()

    def _refuse(self, number, descriptors, reason, cell=None):
        for descriptor in descriptors:
            os.close(descriptor)
        if cell is not None:
            cell.close()
        self._say(f"refused {number} {reason}")

    def _signal(self, pid, number):
        # One that has ended is in here no more, so its number cannot be another's yet.
        if pid in self._running:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                os.kill(pid, number)  # It has not made its group yet.

    def _report_ended(self, told):
        self._poll.unregister(told)
        os.close(told)
        pid, cell = self._told.pop(told)
        del self._running[pid]
        # It is not reaped yet: its group cannot be another's.
        _kill_group(pid)
        _, status, used = os.wait4(pid, 0)
        status = os.waitstatus_to_exitcode(status)
        cpu = int((used.ru_utime + used.ru_stime) * 1000)
        if cell is None:
            self._say(f"ended {pid} {status} {cpu}")
        elif cell.is_empty():
            self._kept[cell.folder] = cell
            self._say(f"kept {pid} {status} {cpu}")
        else:
            self._close_cell(cell, f"ended {pid} {status} {cpu}")

    def _close_cell(self, cell, end):
        """Ends all that is in a cell; its descriptor is readable when nothing is left."""
        self._closing[cell.descriptor] = cell, end
        self._poll.register(cell.descriptor, select.POLLIN)
        cell.end()

    def _report_closed(self, descriptor):
        self._poll.unregister(descriptor)
        cell, end = self._closing.pop(descriptor)
        cell.close()
        self._say(end)

    def _say(self, message):
        self._control.send(message.encode("utf-8", "replace")[:_MESSAGE_BYTES_MAX])


def _receive(control):
    """One message and its descriptors."""
    size = socket.CMSG_SPACE(_DESCRIPTORS * 4)
    data, parts, _, _ = control.recvmsg(_MESSAGE_BYTES_MAX, size)
    descriptors = []
    for level, kind, content in parts:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors += memoryview(content[: len(content) // 4 * 4]).cast("i").tolist()
    return data, descriptors


def _kill_group(pid):
    """What there is of the group of a process that is not reaped yet."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        return


def _library():
    """The functions of the system's own library; None for an interpreter that is built without a way to call them."""
    try:
        import ctypes

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return None
