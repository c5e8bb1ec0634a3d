"""Asks the kernel for what a step has no need of."""

import ctypes
import errno
import os
import struct

from attack import attack, called, checked, libc, syscall

NEWNS, NEWUSER, NEWNET, NEWPID = 0x0002_0000, 0x1000_0000, 0x4000_0000, 0x2000_0000

_kept = []
"""What the kernel reads and writes must be there as long as it may."""


def memory(content):
    """The address of a buffer with this content, or of this size."""
    _kept.append(ctypes.create_string_buffer(content))
    return ctypes.addressof(_kept[-1])


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
    return syscall("pivot_root", memory(b"."), 0)


@attack
def open_mount_tree():
    return syscall("open_tree", -100, memory(b"/"), 1)


@attack
def new_mount_by_descriptor():
    return syscall("fsopen", memory(b"tmpfs"), 0)


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
    return syscall("clone", NEWUSER | 17, 0, 0, 0, 0)


@attack
def clone_by_the_newer_call():
    arguments = (ctypes.c_uint64 * 11)(NEWUSER | NEWPID)
    arguments[4] = 17
    return syscall("clone3", ctypes.addressof(arguments), ctypes.sizeof(arguments))


@attack
def load_bpf():
    """A map, as the most harmless programs make them."""
    kind, key, value, entries = 2, 4, 4, 1
    wanted = ctypes.create_string_buffer(struct.pack("=IIII", kind, key, value, entries), 128)
    return syscall("bpf", 0, ctypes.addressof(wanted), 128)


@attack
def make_io_uring():
    return syscall("io_uring_setup", 8, memory(120))


@attack
def perf_events():
    """Counts the time of its own on a processor."""
    software, size, clock = 1, 128, 0
    wanted = ctypes.create_string_buffer(struct.pack("=IIQ", software, size, clock), size)
    return syscall("perf_event_open", ctypes.addressof(wanted), 0, -1, -1, 0)


@attack
def user_faults():
    return syscall("userfaultfd", 0)


@attack
def add_key():
    kind, name = ctypes.create_string_buffer(b"user"), ctypes.create_string_buffer(b"mine")
    return syscall("add_key", ctypes.addressof(kind), ctypes.addressof(name), ctypes.addressof(name), 4, -3)


@attack
def session_keyring():
    return syscall("keyctl", 0, -3, 1)


@attack
def open_by_handle():
    handle = ctypes.create_string_buffer(struct.pack("=IiQ", 8, 1, 2), 128)
    return syscall("open_by_handle_at", -100, ctypes.addressof(handle), 0)


@attack
def name_by_handle():
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 100, 0), 128)
    mount, path = ctypes.c_int(), ctypes.create_string_buffer(b"/usr")
    return syscall(
        "name_to_handle_at", -100, ctypes.addressof(path), ctypes.addressof(handle), ctypes.addressof(mount), 0
    )


@attack
def load_module():
    with open(__file__, "rb") as file:
        return syscall("finit_module", file.fileno(), memory(b""), 0)


@attack
def load_kernel():
    return syscall("kexec_load", 0, 0, 0, 0)


@attack
def restart_machine():
    return syscall("reboot", 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0)


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
    return syscall("syslog", 3, memory(4_096), 4_096)


@attack
def watch_whole_file_system():
    return syscall("fanotify_init", 0, 0)


@attack(refusals=(errno.ENOSYS,))
def call_by_x32_number():
    """The same call by its other number, where the kernel has both."""
    return syscall(0x4000_0000 | 39)


REMOVE = 0
"""`IPC_RMID`. What an attack got outlives its process: left behind, it would use up the limits of the machine run by run."""


@attack
def shared_memory_of_system_v():
    identifier = checked(libc.shmget(0, 4_096, 0o1600))
    checked(libc.shmctl(identifier, REMOVE, None))
    return f"has {identifier}"


@attack
def semaphores_of_system_v():
    identifier = checked(libc.semget(0, 1, 0o1600))
    checked(libc.semctl(identifier, 0, REMOVE))
    return f"has {identifier}"


@attack
def messages_of_system_v():
    identifier = checked(libc.msgget(0, 0o1600))
    checked(libc.msgctl(identifier, REMOVE, None))
    return f"has {identifier}"


@attack
def messages_of_posix():
    name = ctypes.create_string_buffer(f"bue-{os.getpid()}".encode())
    # Flags, messages, bytes of one, messages there: as small as may be, beside what other programs of this user have.
    attributes = (ctypes.c_long * 8)(0, 1, 1, 0)
    flags = os.O_RDWR | os.O_CREAT
    answer = syscall("mq_open", ctypes.addressof(name), flags, 0o600, ctypes.addressof(attributes))
    syscall("mq_unlink", ctypes.addressof(name))
    return answer


@attack
def file_in_memory():
    return os.memfd_create("mine")


@attack
def secret_memory():
    return syscall("memfd_secret", 0)


@attack
def advise_others():
    return syscall("process_madvise", -1, 0, 0, 0, 0)


@attack
def quotas():
    return syscall("quotactl_fd", 0, 0, 0, 0)


@attack
def other_personality():
    return f"was {called(libc.personality(0x0004_0000))}"
