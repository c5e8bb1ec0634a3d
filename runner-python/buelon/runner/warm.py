"""A warm interpreter: stays, and forks itself for each attempt.

It holds the runner and nothing of any step, has one thread, and runs none of a step's code itself. Its standard input
is a socket that keeps messages apart:

    to it      fork NUMBER            with three descriptors: the step's input, output and errors
               signal PID NUMBER      to the process group of a step that has not ended
    from it    forked NUMBER PID
               refused NUMBER REASON  there was no process
               ended PID STATUS       the exit code, or the signal as a negative number; its group is gone

A forked process reads two lines from its input: where it runs (a dict of ``folder`` and ``environment``), and the start
frame. It dies with this process; this process ends, and all groups with it, when the worker is gone.

What a fork costs is the memory it touches: each page that it writes to, be it a reference count, is copied for it.
So this program imports little, has its forks do little, and does it beforehand where that is possible.
"""

import _signal as signal
import _socket as socket
import gc
import os
import select
import sys

from . import frames, start, streams
from .practice import TIMES, practise

_MESSAGE_BYTES_MAX = 1_024
_DESCRIPTORS = 3
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
    server = _Server(control, wake, empty, _death_signal())
    start.allow_long_integers()
    _open_logs()
    practise()
    # What is there now stays: moved out of the collector's sight, its pages are shared with all forks.
    gc.collect()
    gc.freeze()
    server.serve()


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
    def __init__(self, control, wake, empty, follow):
        self._control = control
        self._wake = wake
        self._empty = empty
        self._follow = follow
        self._environment = dict(os.environ)
        self._running = set()

    def serve(self):
        poll = select.poll()
        control = self._control.fileno()
        for descriptor in (control, self._wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._wake in ready:
                self._report_ended()
            if control in ready and not self._take_order():
                break
        # The worker is gone, perhaps killed: nothing of its steps stays.
        for pid in self._running:
            _kill_group(pid)

    def _take_order(self):
        data, descriptors = _receive(self._control)
        if not data:
            return False
        order, *words = data.decode("ascii").split()
        if order == "fork":
            self._fork(words[0], descriptors)
        else:
            self._signal(int(words[0]), int(words[1]))
        return True

    def _fork(self, number, descriptors):
        try:
            pid = os.fork()
        except OSError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            self._say(f"refused {number} {error.strerror}")
            return
        if pid == 0:
            self._become_step(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._running.add(pid)
        self._say(f"forked {number} {pid}")

    def _become_step(self, descriptors):
        """In the new process: never returns."""
        try:
            os.setsid()
            self._follow()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            step_input, answer, log = descriptors
            os.dup2(log, 1)
            os.dup2(log, 2)
            given = streams.read_all(step_input)
            os.dup2(self._empty, 0)
            # All of this process's own descriptors are above it, and go.
            os.dup2(answer, _ANSWER, False)
            os.closerange(_ANSWER + 1, max(descriptors) + 1)
            self._run_step(given)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            streams.flush()
        os._exit(70)

    def _run_step(self, given):
        launch, _, frame = given.partition(b"\n")
        launch = frames.parse(launch)
        self._take_on(launch["environment"])
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
            os.waitpid(ended.si_pid, 0)
            self._running.discard(ended.si_pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            self._say(f"ended {ended.si_pid} {status}")

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


def _death_signal():
    """A function that lets the calling process die with its parent."""
    try:
        import ctypes

        parent, library = os.getpid(), ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        # Some interpreters are built without it. Then a step outlives this process only where that is killed alone.
        return lambda: None

    prctl, killed = library.prctl, int(signal.SIGKILL)
    for _ in range(TIMES):
        prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)  # Practice: none is what this process has.

    def follow():
        prctl(_PR_SET_PDEATHSIG, killed, 0, 0, 0)
        # The parent may have died before the signal was asked for.
        if os.getppid() != parent:
            os._exit(70)

    return follow
