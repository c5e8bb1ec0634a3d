"""A warm interpreter: stays, and forks itself for each attempt.

It holds the runner and nothing of any step, has one thread, and runs none of a step's code itself. Its standard input
is a socket that keeps messages apart:

    to it      fork NUMBER FOLDER     with three descriptors: the step's input, output and errors
               again NUMBER FOLDER    the same, in the cell of a step that has ended before
               close FOLDER           that cell is not needed any more
               signal PID NUMBER      to the process group of a step that has not ended
    from it    forked NUMBER PID
               refused NUMBER REASON  there was no process
               ended PID STATUS CPU   the exit code, or the signal as a negative number; its group is gone. With the
                                      milliseconds on a processor of it and of those it waited for
               kept PID STATUS CPU    the same, and its cell is empty and kept
               threads COUNT          it cannot be forked: something that its environment starts has threads

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

from . import bounds, cells, failures, fence, frames, start, streams
from .practice import TIMES, practise

_MESSAGE_BYTES_MAX = 1_024
_DESCRIPTORS = 5
_DESCRIPTORS_WITHOUT_CELL = 3
_TOO_MANY = "too many files are open in the warm interpreter"
"""Why descriptors are missing from a message: this process has as many as it may."""
_GONE = 3
"""The system's number for: there is no such process."""
_BROKER = 3
"""Descriptor of the broker's orders, in a sandbox."""
_ANSWER = 3
"""Descriptor of a step's way back to the worker: the one after its standard streams."""
_PR_SET_PDEATHSIG = 1


def main():
    """Serves the worker until it is gone."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, os.dup(0))
    empty = os.open(os.devnull, os.O_RDONLY)
    wake, wake_end = os.pipe()
    for descriptor in (wake, wake_end):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    library = _library()
    broker, join = None, None
    if "broker" in sys.argv:
        broker = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, _BROKER)
        join = cells.joiner(library)
    server = _Server(control, wake, empty, library, broker, join)
    start.allow_long_integers()
    if broker:
        # What a step writes there is gone afterwards, and a folder in which nothing was written serves the next one.
        sys.dont_write_bytecode = True
    _open_logs()
    streams.flush_when_asked_to_end()
    practise()
    threads = _threads()
    if threads > 1:
        server.refuse(threads)
        return
    # What is there now stays: moved out of the collector's sight, its pages are shared with all forks.
    gc.collect()
    gc.freeze()
    server.serve()


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
    def __init__(self, control, wake, empty, library, broker, join):
        self._control = control
        self._wake = wake
        self._empty = empty
        self._library = library
        self._follow = _death_signal(library)
        self._broker = broker
        self._join = join
        self._environment = dict(os.environ)
        self._bounds = bounds.Bounds()
        self._running = {}
        """Processes of steps, each with its cell where it has one."""
        self._kept = {}
        """Cells in which nothing runs, by the folder they show."""
        self._closing = {}
        """Cells that are being ended, by their descriptors, each with what is told when all in it is gone."""
        self._highest = cells.DESCRIPTORS_END
        """The highest descriptor there ever was: new ones only come with orders."""
        self._poll = select.poll()

    def serve(self):
        poll = self._poll
        orders = {self._control.fileno(): self._control}
        if self._broker:
            orders[self._broker.fileno()] = self._broker
        for descriptor in (*orders, self._wake):
            poll.register(descriptor, select.POLLIN)
        is_wanted = True
        while is_wanted:
            for descriptor, _ in poll.poll():
                if descriptor in orders:
                    is_wanted = self._take_order(orders[descriptor]) and is_wanted
                elif descriptor in self._closing:
                    self._report_closed(descriptor)
                else:
                    self._report_ended()
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
        order, *words = data.decode("ascii").split()
        if order == "fork":
            self._fork_first(words, descriptors)
        elif order == "again":
            self._fork(words[0], descriptors, self._kept.pop(words[1], None))
        elif order == "close":
            self._forget_cell(words[0])
        else:
            self._signal(int(words[0]), int(words[1]))
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

    def _fork(self, number, descriptors, cell=None, ready=None):
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
            self._become_step(descriptors, cell, ready)
        for descriptor in descriptors:
            os.close(descriptor)
        self._running[pid] = cell
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

    def _become_step(self, descriptors, cell, ready):
        """In the new process: never returns."""
        try:
            os.setsid()
            if cell is None:
                self._follow()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            step_input, answer, log = descriptors
            os.dup2(log, 1)
            os.dup2(log, 2)
            given = streams.read_all(step_input)
            if cell is not None:
                # Whoever is in a cell ends with its first process, which ends with the broker.
                self._enter(cell, ready, answer)
            os.dup2(self._empty, 0)
            # All of this process's own descriptors are above it, and go.
            os.dup2(answer, _ANSWER, False)
            os.closerange(_ANSWER + 1, self._highest + 1)
            self._run_step(given)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            streams.flush()
        os._exit(70)

    def _enter(self, cell, ready, answer):
        try:
            if ready is not None:
                cells.wait_for(ready)
            cells.join(self._join, cell.descriptor)
        except OSError as error:
            failure = failures.Failure("start", error.strerror or str(error))
            streams.Channel(answer).send(frames.to_line(frames.error(failure)))
            os._exit(0)

    def _run_step(self, given):
        launch, _, frame = given.partition(b"\n")
        launch = frames.parse(launch)
        self._take_on(launch["environment"])
        if "fence" in launch:
            fence.step_into(self._library, launch["fence"])
        self._bounds.apply(launch.get("bounds", ()))
        os.chdir(launch["folder"])
        start.run_and_exit(streams.Channel(_ANSWER), frame)

    def _take_on(self, environment):
        """Makes it the whole environment; most of it is there already."""
        own = self._environment
        for name, value in environment.items():
            if own.get(name) != value:
                os.environ[name] = value
        for name in own:
            if name not in environment:
                del os.environ[name]

    def _signal(self, pid, number):
        # One that has ended is in here no more, so its number cannot be another's yet.
        if pid in self._running:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                os.kill(pid, number)  # It has not made its group yet.

    def _report_ended(self):
        # Where more has come than is read at once, the next poll says so.
        os.read(self._wake, _MESSAGE_BYTES_MAX)
        while self._running:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if ended is None:
                return
            _kill_group(ended.si_pid)
            used = os.wait4(ended.si_pid, 0)[2]
            cell = self._running.pop(ended.si_pid, None)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            cpu = int((used.ru_utime + used.ru_stime) * 1000)
            if cell is None:
                self._say(f"ended {ended.si_pid} {status} {cpu}")
            elif cell.is_empty():
                self._kept[cell.folder] = cell
                self._say(f"kept {ended.si_pid} {status} {cpu}")
            else:
                self._close_cell(cell, f"ended {ended.si_pid} {status} {cpu}")

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


def _death_signal(library):
    """A function that lets the calling process die with its parent."""
    if library is None:
        # Then a step outlives this process only where that is killed alone.
        return lambda: None

    parent = os.getpid()
    prctl, killed = library.prctl, int(signal.SIGKILL)
    for _ in range(TIMES):
        prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)  # Practice: none is what this process has.

    def follow():
        prctl(_PR_SET_PDEATHSIG, killed, 0, 0, 0)
        # The parent may have died before the signal was asked for.
        if os.getppid() != parent:
            os._exit(70)

    return follow
