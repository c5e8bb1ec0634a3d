"""Reaches for other processes, and stays longer than it may."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time

from attack import CANARY, TARGETS, attack, called, libc, read, syscall

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
LINGER = "import time; time.sleep(600)"


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


@attack
def own_environment_of_worker():
    return [name for name, value in os.environ.items() if CANARY in value or "TOKEN" in name or "AWS" in name]


@attack
def environments_of_all():
    finds = []
    for pid in processes():
        try:
            if CANARY.encode() in read(f"/proc/{pid}/environ"):
                finds.append(pid)
        except OSError:
            continue
    return finds


@attack
def see_other_processes():
    return [pid for pid in processes() if pid not in (1, os.getpid())]


@attack
def memory_of_worker():
    return read(f"/proc/{TARGETS['worker']}/mem")


@attack
def memory_of_first_process():
    with open("/proc/1/mem", "r+b", buffering=0):
        return "opened"


@attack
def environment_of_first_process():
    return read("/proc/1/environ")


@attack
def arguments_of_first_process():
    """They say where the worker keeps its data, where they are a launcher's own."""
    arguments = read("/proc/1/cmdline").decode()
    return [word for word in (TARGETS["data"], TARGETS["folder"], "scratch", "mountpoint") if word in arguments]


@attack
def namespaces_of_first_process():
    descriptor = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    return called(libc.setns(descriptor, 0))


@attack(refusals=(errno.ESRCH, errno.EPERM))
def trace_worker():
    return called(libc.ptrace(PTRACE_ATTACH, TARGETS["worker"], 0, 0))


@attack
def trace_first_process():
    return called(libc.ptrace(PTRACE_SEIZE, 1, 0, 0))


@attack
def trace_own_child():
    child = subprocess.Popen([sys.executable, "-c", LINGER])
    try:
        return called(libc.ptrace(PTRACE_ATTACH, child.pid, 0, 0))
    finally:
        child.kill()


@attack(refusals=(errno.ESRCH, errno.EPERM))
def read_memory_across():
    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    place = ctypes.create_string_buffer(16)
    local = Piece(ctypes.addressof(place), 16)
    remote = Piece(0x400000, 16)
    return called(libc.process_vm_readv(TARGETS["worker"], ctypes.byref(local), 1, ctypes.byref(remote), 1, 0))


@attack(refusals=(errno.ESRCH, errno.EPERM))
def kill_worker():
    os.kill(TARGETS["worker"], signal.SIGKILL)
    return "sent"


@attack(refusals=(errno.ESRCH, errno.EPERM))
def kill_group_of_worker():
    os.killpg(TARGETS["worker"], signal.SIGKILL)
    return "sent"


@attack(refusals=(errno.ESRCH, errno.EPERM))
def kill_all():
    """All it can reach is itself and its first process, which is not ended from inside."""
    os.kill(1, signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)
    return "sent"


def kill_parent():
    """Its parent is in no namespace of its own, and is called 0: that is its own group."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


@attack
def take_descriptor_of_first_process():
    pidfd = os.pidfd_open(1)
    return syscall("pidfd_getfd", pidfd, 3, 0)


@attack
def raise_own_limits():
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except ValueError:
        return None  # So it is refused by Python's own words: "not allowed to raise maximum limit".
    return "raised"


@attack
def become_realtime():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    return "set"


def daemon_with_a_session():
    subprocess.Popen([sys.executable, "-c", LINGER, TARGETS["mark"]], start_new_session=True)
    return "refused: left a daemon"


def daemon_forked_twice():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", LINGER, TARGETS["mark"]])
        os._exit(0)
    os.wait()
    return "refused: left a daemon"


def daemon_that_holds_all_streams():
    subprocess.Popen([sys.executable, "-c", LINGER, TARGETS["mark"]], close_fds=False, pass_fds=(1, 2))
    return "refused: left a daemon"


def daemon_that_ignores_signals():
    code = "import signal; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 3, 15)]; " + LINGER
    subprocess.Popen([sys.executable, "-c", code, TARGETS["mark"]], start_new_session=True)
    return "refused: left a daemon"


def sleep_for_ever():
    time.sleep(100_000)


def sleep_deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(100_000)


def exit_before_the_answer():
    os._exit(66)


def crash_in_native_code():
    ctypes.string_at(0)


def abort():
    os.abort()


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)
