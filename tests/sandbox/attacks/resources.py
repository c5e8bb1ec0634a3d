"""Uses up what all share."""

import errno
import mmap
import os
import signal
import threading
import time

from attack import attack

MIB = 1 << 20


def fork_bomb():
    while True:
        if os.fork() == 0:
            time.sleep(600)


def thread_bomb():
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def memory_bomb():
    kept = []
    while True:
        kept.append(bytearray(b"x") * (8 * MIB))


def memory_bomb_by_children():
    for _ in range(3):
        if os.fork() == 0:
            try:
                memory_bomb()
            except MemoryError:
                os._exit(1)
    memory_bomb()


def shared_memory_bomb():
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 1024 * MIB))


def large_file():
    with open("large", "wb", buffering=0) as file:
        while True:
            file.write(bytes(8 * MIB))


def many_large_files():
    number = 0
    while True:
        number += 1
        with open(f"large-{number}", "wb", buffering=0) as file:
            file.write(bytes(8 * MIB))


def many_small_files():
    number = 0
    while True:
        number += 1
        open(f"/tmp/small-{number}", "w").close()


def shared_memory_files():
    number = 0
    while True:
        number += 1
        with open(f"/dev/shm/{number}", "wb", buffering=0) as file:
            file.write(bytes(8 * MIB))


def burn():
    while True:
        pass


def burn_deaf():
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    burn()


@attack(refusals=(errno.EMFILE,))
def open_files_without_end():
    kept = []
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))


def print_for_ever():
    while True:
        print("x" * 1_000)


def flood_the_log():
    """More than is kept of a log, as fast as it goes: it slows itself and nobody else."""
    line = b"x" * 65_535 + b"\n"
    for _ in range(2_000):
        os.write(1, line)
    return "refused: the worker keeps what it likes"


def sockets_without_end():
    import socket

    kept = []
    try:
        while True:
            kept.append(socket.socket())
    except OSError as error:
        return f"refused: {error}"
