"""What attacks have in common: a deed that the sandbox must refuse, and calls that Python has no functions for."""

import ctypes
import errno
import functools
import json
import os
import sys

CANARY = "-".join(("canary", "7f3a91"))
"""What is planted wherever nobody may look. It is put together late, so that this file is no find."""

with open(os.path.join(os.path.dirname(__file__), "targets.json")) as file:
    TARGETS = json.load(file)

libc = ctypes.CDLL(None, use_errno=True)

REFUSALS = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT)
"""How the kernel refuses what is not allowed, or hides what is not there. Any other error may be the attack's own mistake."""

NUMBERS = {
    "x86_64": {
        "add_key": 248,
        "bpf": 321,
        "clone": 56,
        "fanotify_init": 300,
        "finit_module": 313,
        "kexec_load": 246,
        "keyctl": 250,
        "mq_open": 240,
        "mq_unlink": 241,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "perf_event_open": 298,
        "pivot_root": 155,
        "reboot": 169,
        "syslog": 103,
        "userfaultfd": 323,
    },
    "aarch64": {
        "add_key": 217,
        "bpf": 280,
        "clone": 220,
        "fanotify_init": 262,
        "finit_module": 273,
        "kexec_load": 104,
        "keyctl": 219,
        "mq_open": 180,
        "mq_unlink": 181,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "perf_event_open": 241,
        "pivot_root": 41,
        "reboot": 142,
        "syslog": 116,
        "userfaultfd": 282,
    },
}[os.uname().machine] | {
    "clone3": 435,
    "fsopen": 430,
    "io_uring_setup": 425,
    "memfd_secret": 447,
    "open_tree": 428,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "quotactl_fd": 443,
}
"""System calls that no function of Python makes; newer ones have one number on all machines."""


def attack(deed=None, refusals=REFUSALS):
    """Turns a deed into a step: its value says whether the deed was refused, by one of these errors."""
    if deed is None:
        return functools.partial(attack, refusals=refusals)

    @functools.wraps(deed)
    def step():
        try:
            got = deed()
        except OSError as error:
            return f"refused: {error}" if error.errno in refusals else f"UNCLEAR: {error!r}"
        return f"BROKE OUT: {got!r}" if got else "refused: nothing there"

    async def shared():
        return step()

    # For an interpreter that many steps share.
    deed.__globals__["in_company_" + deed.__name__] = shared
    return step


def beside_interpreter(names):
    """Names of files and folders but for those above the interpreter, which are there as far as they lead to it."""
    return [name for name in names if name not in sys.prefix.split(os.sep) + sys.base_prefix.split(os.sep)]


def checked(answer):
    """The answer of a call of the system's library; an error where it is one."""
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def called(answer):
    """As `checked`, told so that 0 is something, too."""
    return f"answered {checked(answer)}"


def syscall(name, *arguments):
    return called(libc.syscall(ctypes.c_long(NUMBERS.get(name, name)), *[ctypes.c_long(argument) for argument in arguments]))


def read(path):
    with open(path, "rb") as file:
        return file.read(1_000_000)


def found(folder):
    """Files below a folder that hold the canary."""
    finds = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            try:
                if os.path.isfile(path) and CANARY.encode() in read(path):
                    finds.append(path)
            except OSError:
                continue
    return finds
