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
"""

import gc
import json
import os
import select
import signal
import socket
import sys

from . import start, streams

_MESSAGE_BYTES_MAX = 1_024
_DESCRIPTORS = 3
_PR_SET_PDEATHSIG = 1


def main():
    """Serves the worker until it is gone."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=os.dup(0))
    wake, wake_end = os.pipe()
    for descriptor in (wake, wake_end):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    server = _Server(control, wake, wake_end, _death_signal())
    # What is there now stays: moved out of the collector's sight, its pages are shared with all forks.
    gc.collect()
    gc.freeze()
    server.serve()


class _Server:
    def __init__(self, control, wake, wake_end, follow):
        self._control = control
        self._wake = (wake, wake_end)
        self._follow = follow
        self._running = set()

    def serve(self):
        while True:
            ready, _, _ = select.select([self._control, self._wake[0]], [], [])
            if self._wake[0] in ready:
                self._report_ended()
            if self._control in ready and not self._take_order():
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
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
            for descriptor in (*descriptors, *self._wake):
                os.close(descriptor)
            self._control.close()
            _run_step()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            streams.flush()
        os._exit(70)

    def _signal(self, pid, number):
        # One that has ended is in here no more, so its number cannot be another's yet.
        if pid in self._running:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                os.kill(pid, number)  # It has not made its group yet.

    def _report_ended(self):
        _drain(self._wake[0])
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return
            if ended is None:
                return
            _kill_group(ended.si_pid)
            os.waitpid(ended.si_pid, 0)
            self._running.discard(ended.si_pid)
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            self._say(f"ended {ended.si_pid} {status}")

    def _say(self, message):
        self._control.send(message.encode("utf-8", "replace")[:_MESSAGE_BYTES_MAX])


def _run_step():
    launch, _, frame = streams.read_all().partition(b"\n")
    launch = json.loads(launch)
    channel = streams.take_over()
    os.environ.clear()
    os.environ.update(launch["environment"])
    os.chdir(launch["folder"])
    start.run_and_exit(channel, frame)


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


def _drain(descriptor):
    try:
        while os.read(descriptor, 4_096):
            pass
    except BlockingIOError:
        return


def _death_signal():
    """A function that lets the calling process die with its parent."""
    try:
        import ctypes

        parent, library = os.getpid(), ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        # Some interpreters are built without it. Then a step outlives this process only where that is killed alone.
        return lambda: None

    def follow():
        library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # The parent may have died before the signal was asked for.
        if os.getppid() != parent:
            os._exit(70)

    return follow
