"""Asks the kernel for what a step has no need of."""

import ctypes
import os

from attack import attack, called, libc, syscall

NEWNS, NEWUSER, NEWNET, NEWPID = 0x0002_0000, 0x1000_0000, 0x4000_0000, 0x2000_0000


@attack
def mount():
    return called(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))


@attack
def unmount():
    return called(libc.umount2(b"/.attempts", 2))


@attack
def change_root():
    os.chroot("/run/step")
    return "changed"


@attack
def pivot_root():
    return syscall(155, ctypes.addressof(ctypes.create_string_buffer(b".")), 0)


@attack
def open_mount_tree():
    return syscall(428, -100, ctypes.addressof(ctypes.create_string_buffer(b"/")), 1)


@attack
def new_mount_by_descriptor():
    return syscall(430, ctypes.addressof(ctypes.create_string_buffer(b"tmpfs")), 0)


@attack
def unshare_users():
    return called(libc.unshare(NEWUSER))


@attack
def unshare_mounts():
    return called(libc.unshare(NEWNS))


@attack
def unshare_network():
    return called(libc.unshare(NEWUSER | NEWNET))


@attack
def clone_with_users():
    return syscall(56, NEWUSER | 17, 0, 0, 0, 0)


@attack
def clone_by_the_newer_call():
    arguments = (ctypes.c_uint64 * 11)(NEWUSER | NEWPID)
    arguments[4] = 17
    return syscall(435, ctypes.addressof(arguments), ctypes.sizeof(arguments))


@attack
def load_bpf():
    return syscall(321, 0, 0, 0)


@attack
def make_io_uring():
    return syscall(425, 8, ctypes.addressof(ctypes.create_string_buffer(120)))


@attack
def perf_events():
    return syscall(298, ctypes.addressof(ctypes.create_string_buffer(128)), 0, -1, -1, 0)


@attack
def user_faults():
    return syscall(323, 0)


@attack
def add_key():
    kind, name = ctypes.create_string_buffer(b"user"), ctypes.create_string_buffer(b"mine")
    return syscall(248, ctypes.addressof(kind), ctypes.addressof(name), ctypes.addressof(name), 4, -3)


@attack
def session_keyring():
    return syscall(250, 0, -3, 1)


@attack
def open_by_handle():
    return syscall(304, -100, ctypes.addressof(ctypes.create_string_buffer(128)), 0)


@attack
def load_module():
    return syscall(313, 0, ctypes.addressof(ctypes.create_string_buffer(b"")), 0)


@attack
def load_kernel():
    return syscall(246, 0, 0, 0, 0)


@attack
def restart_machine():
    return syscall(169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)


@attack
def rename_machine():
    return called(libc.sethostname(b"mine", 4))


@attack
def set_clock():
    class Time(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    return called(libc.clock_settime(0, ctypes.byref(Time(0, 0))))


@attack
def read_kernel_log():
    return syscall(103, 3, ctypes.addressof(ctypes.create_string_buffer(4_096)), 4_096)


@attack
def watch_whole_file_system():
    return syscall(300, 0, 0)
