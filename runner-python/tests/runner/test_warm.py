"""The warm interpreter, spoken to as a worker speaks to it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop()); from buelon.runner import warm; warm.main()"
DEADLINE_S = 20


class Worker:
    """The worker's end: one interpreter, and the processes forked from it."""

    def __init__(self, folder, before=""):
        self.folder = folder
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(DEADLINE_S)
        command = [sys.executable, "-I", "-B", "-c", before + PROGRAM, str(PACKAGE)]
        self.process = subprocess.Popen(command, stdin=theirs, start_new_session=True)
        theirs.close()

    def fork(self, code, log=2, order="fork", is_there=False, ready=None, variables=None):
        """Starts a step; its process and the end of its output. The step is there before its process, or comes when that is ready."""
        stdin, feed = os.pipe()
        answer, stdout = os.pipe()
        if is_there:
            os.write(feed, self.input(code, variables))
        socket.send_fds(self.control, [f"{order} 7 0".encode()], [stdin, stdout, log])
        os.close(stdin)
        os.close(stdout)
        word, number, pid = self.hear()
        assert (word, number) == ("forked", "7")
        if ready is not None:
            until(f"process {pid} is ready", lambda: ready(int(pid)))
        if not is_there:
            os.write(feed, self.input(code, variables))
        os.close(feed)
        return int(pid), answer

    def input(self, code, variables=None):
        launch = {"folder": str(self.folder), "environment": {"ONLY": "this", **(variables or {})}}
        start = {
            "protocol": 1,
            "step": "work",
            "function": "step",
            "code": {"text": {"text": code, "script": "x.bue", "line": 1}},
            "path": [str(self.folder)],
            "inputs": [],
            "values": str(self.folder),
            "inline_bytes_max": 1_000,
            "value_bytes_max": 1_000_000,
        }
        return (json.dumps(launch) + "\n" + json.dumps(start) + "\n").encode()

    def hear(self):
        try:
            message = self.control.recv(1_024)
        except ConnectionResetError:
            # It ended with orders unread. What it had said itself comes after that.
            message = self.control.recv(1_024)
        return message.decode().split(" ", 2)

    def hear_end(self):
        word, pid, rest = self.hear()
        assert word == "ended"
        status, self.cpu_ms = map(int, rest.split())
        return int(pid), status

    def close(self):
        self.control.close()
        self.process.wait(DEADLINE_S)


@pytest.fixture
def worker(tmp_path):
    worker = Worker(tmp_path)
    yield worker
    worker.close()


def answer_of(descriptor):
    with open(descriptor) as file:
        return json.loads(file.read())


def until(what, look):
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def until_gone(pid):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} is still there")


@pytest.mark.parametrize("order", ["fork", "early"])
def test_a_fork_runs_its_step_in_its_folder_with_its_environment(worker, order):
    pid, answer = worker.fork("import os\ndef step():\n    return [os.getcwd(), dict(os.environ)]\n", order=order)
    frame = answer_of(answer)
    assert json.loads(frame["value"]["place"]["json"]) == [str(worker.folder), {"ONLY": "this"}]
    assert worker.hear_end() == (pid, 0)


def test_a_fork_prints_to_pipes_that_cannot_be_rewound(worker):
    code = "import sys\ndef step():\n    return [s.seekable() or s.isatty() for s in (sys.stdout, sys.stderr)]\n"
    _, answer = worker.fork(code)
    assert json.loads(answer_of(answer)["value"]["place"]["json"]) == [False, False]


@pytest.mark.parametrize("order", ["fork", "early"])
def test_a_fork_sees_nothing_of_what_the_interpreter_practised(worker, order):
    seen = "[sys.argv, sys.path[:2], 'practice' in repr([sys.path, dict(os.environ), list(sys.modules)]).replace('runner.practice', '')]"
    code = f"import os, sys\ndef step():\n    return {seen}\n"
    _, answer = worker.fork(code, order=order)
    arguments, path, is_seen = json.loads(answer_of(answer)["value"]["place"]["json"])
    assert arguments == ["work"]
    assert path[0] == str(worker.folder) and path[1] != "/"
    assert not is_seen


def test_a_fork_that_had_time_has_the_modules_of_one_that_had_none(worker):
    code = (
        "import sys\nnames = ' '.join(sorted(sys.modules))\n"
        "def step():\n    import zlib\n    return [zlib.crc32(names.encode()), len(names.split()), 'logging' in names]\n"
    )
    seen = []
    for order in ("fork", "early"):
        _, answer = worker.fork(code, order=order)
        seen.append(json.loads(answer_of(answer)["value"]["place"]["json"]))
        worker.hear_end()
    assert seen[0] == seen[1] and seen[0][2] is False


def test_the_end_of_a_step_is_told(worker):
    pid, _ = worker.fork("import sys\ndef step():\n    sys.exit(3)\n")
    assert worker.hear_end() == (pid, 3)
    pid, _ = worker.fork("import time\ndef step():\n    time.sleep(100)\n")
    worker.control.send(f"signal {pid} {int(signal.SIGKILL)}".encode())
    assert worker.hear_end() == (pid, -9)


def test_a_signal_to_a_process_that_has_ended_reaches_nobody(worker):
    pid, _ = worker.fork("def step():\n    pass\n")
    assert worker.hear()[0] == "ended"
    worker.control.send(f"signal {pid} 9".encode())
    worker.control.send(b"signal 1 9")
    pid, answer = worker.fork("def step():\n    return 1\n")
    assert answer_of(answer)["status"] == "success"


WITH_CHILD = """
import subprocess, time
def step():
    child = subprocess.Popen(["sleep", "1000"])
    with open("child", "w") as file:
        file.write(f"{child.pid}\\n")
    time.sleep(SECONDS)
"""


def child_of_step(folder):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        path = folder / "child"
        if path.exists() and path.read_text().endswith("\n"):
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError("the step has started nothing")


def test_the_group_of_a_step_is_gone_before_its_end_is_told(worker):
    worker.fork(WITH_CHILD.replace("SECONDS", "0"))
    assert worker.hear()[0] == "ended"
    until_gone(child_of_step(worker.folder))


def test_nothing_stays_when_the_worker_is_gone(worker):
    pid, _ = worker.fork(WITH_CHILD.replace("SECONDS", "1000"))
    child = child_of_step(worker.folder)
    worker.control.close()
    for process in (pid, child):
        until_gone(process)
    worker.process.wait(DEADLINE_S)


def test_no_step_sees_the_descriptors_of_another(worker):
    listing = "import os\ndef step():\n    return len(os.listdir('/proc/self/fd'))\n"
    counts = []
    slow, _ = worker.fork("import time\ndef step():\n    time.sleep(1000)\n")
    for _ in range(3):
        _, answer = worker.fork(listing)
        counts.append(json.loads(answer_of(answer)["value"]["place"]["json"]))
        assert worker.hear()[0] == "ended"
    # Three standard streams, the way back, the folder being listed.
    assert counts == [5, 5, 5]
    worker.control.send(f"signal {slow} 9".encode())
    assert worker.hear()[0] == "ended"


def test_the_time_on_a_processor_is_told_with_the_end(worker):
    code = "import time\ndef step():\n    while time.process_time() < 0.3:\n        pass\n"
    pid, answer = worker.fork(code)
    answer_of(answer)
    assert worker.hear_end() == (pid, 0)
    assert 300 <= worker.cpu_ms < 20_000


def test_an_order_whose_descriptors_were_lost_is_refused_and_the_next_one_is_carried_out(worker):
    with open(os.devnull) as one:
        socket.send_fds(worker.control, [b"fork 5 0"], [one.fileno()])
    word, number, reason = worker.hear()
    assert (word, number) == ("refused", "5")
    assert "too many files" in reason
    pid, answer = worker.fork("def step():\n    return 1\n")
    assert answer_of(answer)["type"] == "result"
    assert worker.hear_end() == (pid, 0)


def test_an_interpreter_with_threads_says_so_and_serves_nobody(tmp_path):
    threaded = "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); "
    worker = Worker(tmp_path, threaded)
    assert worker.hear() == ["threads", "2"]
    worker.close()


def test_a_line_without_an_end_is_written_when_the_step_is_asked_to_end(worker):
    log, given = os.pipe()
    pid, _ = worker.fork("import time\ndef step():\n    print('no end', end='')\n    open('begun', 'w').close()\n    time.sleep(60)\n", given)
    os.close(given)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and not (worker.folder / "begun").exists():
        time.sleep(0.01)
    worker.control.send(f"signal {pid} {int(signal.SIGTERM)}".encode())
    assert worker.hear_end() == (pid, -int(signal.SIGTERM))
    assert os.read(log, 100) == b"no end"
    os.close(log)


def test_a_step_that_leaves_a_thread_says_what_its_end_waits_for(worker):
    read, log = os.pipe()
    code = "import threading, time\ndef step():\n    threading.Thread(target=time.sleep, args=(0.2,), name='tail').start()\n    return 1\n"
    _, answer = worker.fork(code, log=log)
    os.close(log)
    assert answer_of(answer)["type"] == "result"
    worker.hear_end()
    with open(read) as file:
        assert file.read() == "the step has returned; it ends when its threads end: tail\n"


@pytest.mark.parametrize("order", ["fork", "early"])
def test_processes_that_a_step_forks_end_when_they_are_asked_to(worker, order):
    code = """
import multiprocessing, signal, time
def step():
    codes = set()
    for _ in range(40):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        child.start()
        child.terminate()
        child.join(10)
        codes.add(child.exitcode)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        squares = pool.map(abs, [-1, -2])
    own = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignoring = multiprocessing.get_context("fork").Process(target=own_way)
    ignoring.start()
    ignoring.join()
    return [sorted(codes), squares, ignoring.exitcode, signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()]
def own_way():
    raise SystemExit(5 if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN else 6)
"""
    _, answer = worker.fork(code, order=order)
    assert json.loads(answer_of(answer)["value"]["place"]["json"]) == [[-int(signal.SIGTERM)], [1, 2], 5, True]
    worker.hear_end()


@pytest.mark.parametrize("order", ["fork", "early"])
def test_modules_of_a_bundle_are_found_whatever_the_runner_has_loaded_for_itself(worker, order):
    for name in ("resource", "json", "types", "select", "operator"):
        (worker.folder / f"{name}.py").write_text(f"WORD = 'own {name}'")
    (worker.folder / "functools").mkdir()
    (worker.folder / "functools" / "__init__.py").write_text("WORD = 'own functools'")
    (worker.folder / "struct").mkdir()
    (worker.folder / "os.py").write_text("raise OSError('no program finds this one')")
    code = """
import functools, json, operator, os, resource, select, struct, types
import decimal, datetime
def step():
    from buelon.runner import AT_START
    modules = (functools, json, operator, resource, select, types)
    words = [f"own {each.__name__}" if each.__name__ in AT_START else each.WORD for each in modules]
    return [words, struct.calcsize("q"), os.sep, decimal.Decimal("1.50"), datetime.date(2026, 1, 2)]
"""
    _, answer = worker.fork(code, order=order)
    frame = answer_of(answer)
    words, size, separator, *others = json.loads(frame["value"]["place"]["json"])
    assert words == ["own functools", "own json", "own operator", "own resource", "own select", "own types"]
    assert (size, separator, others) == (8, "/", ["1.50", "2026-01-02"])
    # The next one is not concerned.
    for path in worker.folder.glob("*.py"):
        path.unlink()
    (worker.folder / "functools" / "__init__.py").unlink()
    worker.hear_end()
    _, answer = worker.fork("import json, resource\ndef step(): return [json.dumps(1), resource.getpagesize() > 0]", order=order)
    assert json.loads(answer_of(answer)["value"]["place"]["json"]) == ["1", True]
