"""What attacks have in common: a deed that the sandbox must refuse, and calls that Python has no functions for."""

import ctypes
import functools
import json
import os
import sys

CANARY = "-".join(("canary", "7f3a91"))
"""What is planted wherever nobody may look. It is put together late, so that this file is no find."""

with open(os.path.join(os.path.dirname(__file__), "targets.json")) as file:
    TARGETS = json.load(file)

libc = ctypes.CDLL(None, use_errno=True)


def attack(deed):
    """Turns a deed into a step: its value says whether the deed was refused."""

    @functools.wraps(deed)
    def step():
        try:
            got = deed()
        except (OSError, ValueError) as error:
            return f"refused: {error}"
        return f"BROKE OUT: {got!r}" if got else "refused: nothing there"

    return step


def beside_interpreter(names):
    """Names of files and folders but for those above the interpreter, which are there as far as they lead to it."""
    return [name for name in names if name not in sys.prefix.split(os.sep) + sys.base_prefix.split(os.sep)]


def called(answer):
    """The answer of a call of the system's library, or its error."""
    if answer == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return f"answered {answer}"


def syscall(number, *arguments):
    return called(libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments]))


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
