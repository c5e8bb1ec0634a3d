"""Reads and writes what is not the step's own."""

import errno
import os
import stat

from attack import TARGETS, attack, beside_interpreter, found, read


@attack
def read_shadow():
    return read("/etc/shadow")


@attack
def read_passwd_of_machine():
    return b"root" in read("/etc/passwd")


@attack
def read_ssh_key():
    return read(os.path.join(TARGETS["home"], ".ssh/id_ed25519"))


@attack
def list_homes():
    homes = [folder for folder in ("/root", "/home") if os.path.isdir(folder)]
    return beside_interpreter(name for folder in homes for name in os.listdir(folder))


@attack
def read_hub_token():
    return read(os.path.join(TARGETS["data"], "hub/token"))


@attack
def read_bucket_credentials():
    return read(os.path.join(TARGETS["data"], "bucket/credentials"))


@attack
def list_worker_data():
    return os.listdir(os.path.join(TARGETS["data"], "worker"))


@attack
def read_dot_env():
    return read(os.path.join(TARGETS["folder"], ".env"))


@attack
def find_canary_anywhere():
    return found("/run") + found("/tmp") + found("/dev") + found("/etc") + found(TARGETS["folder"])


@attack
def list_attempts_of_others():
    return os.listdir("/.attempts")


@attack
def climb_out_of_scratch():
    return found("../..") + found(os.path.join("/proc/self/root", ".attempts"))


@attack
def climb_out_by_descriptor():
    folder = os.open("..", os.O_RDONLY)
    for _ in range(20):
        folder = os.open("..", os.O_RDONLY, dir_fd=folder)
    return beside_interpreter(name for name in os.listdir(folder) if name in ("root", "home", "srv", "boot"))


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def write_system_program():
    open("/usr/bin/env", "ab").close()
    return "opened"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def write_etc():
    open("/etc/ld.so.preload", "w").close()
    return "written"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def write_runner():
    import buelon.runner.start as start

    open(start.__file__, "ab").close()
    return "opened"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def write_interpreter():
    open(os.__file__, "ab").close()
    return "opened"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def write_root_folder():
    os.mkdir("/mine")
    return "made"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def make_device():
    os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))
    return "made"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def remount_by_proc():
    open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x")
    return "written"


@attack(refusals=(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT))
def press_sysrq():
    open("/proc/sysrq-trigger", "w").write("h")
    return "pressed"


@attack
def run_setuid_program():
    import subprocess

    done = subprocess.run(["su", "-c", "id -u"], capture_output=True, stdin=subprocess.DEVNULL)
    return done.returncode == 0 and done.stdout


@attack
def preload_into_setuid_program():
    import subprocess

    library = os.path.join(os.path.dirname(__file__), "evil.so")
    environment = {"LD_PRELOAD": library, "PATH": os.environ["PATH"]}
    done = subprocess.run(["passwd", "-S"], env=environment, capture_output=True, stdin=subprocess.DEVNULL)
    plain = subprocess.run(["true"], env=environment, capture_output=True, stdin=subprocess.DEVNULL)
    if b"evil as " not in plain.stdout:
        return "the library does nothing at all"
    return b"evil as 0" in done.stdout


@attack(refusals=(errno.EINVAL, errno.EPERM))
def become_root():
    os.setuid(0)
    return os.getuid()


def leave_file_for_next_step():
    """Its value is the place; the step after it must not find it."""
    path = "/tmp/left-behind"
    with open(path, "w") as file:
        file.write("left")
    return path


def find_file_of_last_step(path):
    return "BROKE OUT: it is there" if os.path.exists(path) else "refused: gone"
