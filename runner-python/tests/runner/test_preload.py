"""Modules that a warm interpreter loads before it is forked."""

import json
import os
import resource
import sys

import pytest
from test_warm import Worker, answer_of

MODULES = {
    "plain": "word = 'plain'",
    "package/__init__": "import plain",
    "package/part": "word = 'part'",
    "names": "Thing = 1",
    "with_threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "with_process": "import subprocess\nchild = subprocess.Popen(['sleep', '60'], stdin=subprocess.DEVNULL)",
    "with_socket": "import socket\nkept = socket.socket()",
    "needs_helpers": "import helpers",
    "helpers": "",
    "leaves": "raise SystemExit(3)",
    "broken": "import plain\nraise ValueError('broken')",
    "large": "kept = bytearray(200_000_000)",
    "of_blas": "import os\nthreads = os.environ.get('OPENBLAS_NUM_THREADS')",
}


@pytest.fixture
def worker(tmp_path):
    library = tmp_path / "library"
    for name, text in MODULES.items():
        path = library / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    worker = Worker(tmp_path, f"import sys; sys.path.append({str(library)!r}); ")
    yield worker
    worker.close()


def loaded(worker, *names, own=(), late=()):
    """What the interpreter says when it is told to load these, and others in forks that wait."""
    loads = [f"load {name}" for name in names] + [f"late {name}" for name in late]
    for order in (f"own {' '.join(own)}", *loads, "loaded"):
        try:
            worker.control.send(order.encode())
        except OSError:
            break  # It has said why, and ended.
    word, *rest = worker.hear()
    # The memory that it has differs.
    return " ".join((word, rest[0])) if word == "loaded" else " ".join((word, *rest))


def returned(worker, code, **how):
    _, answer = worker.fork(code, **how)
    frame = answer_of(answer)
    worker.hear_end()
    return json.loads(frame["value"]["place"]["json"])


def test_modules_are_there_when_a_step_imports_them(worker):
    assert loaded(worker, "names", "names.Thing", "package", "package.part") == "loaded 4"
    code = "import sys\nhad = [name in sys.modules for name in ('names', 'plain', 'package.part', 'helpers')]\ndef step(): return had"
    assert returned(worker, code) == [True, True, True, False]


def test_what_is_there_anyway_is_not_counted(worker):
    assert loaded(worker, "sys", "json", "os.path", "sys.argv") == "loaded 0"


def test_what_cannot_be_loaded_is_left_to_the_step(worker):
    assert loaded(worker, "there_is_none", "broken", "leaves", "names") == "loaded 2"
    code = "try:\n    import broken\nexcept ValueError as error:\n    found = str(error)\ndef step(): return found"
    assert returned(worker, code) == "broken"


@pytest.mark.parametrize(
    "word, module, reason",
    [
        ("late", "with_threads", "starts threads when it is imported"),
        ("unfit", "with_process", "starts processes when it is imported"),
        ("unfit", "with_socket", "opens files or connections when it is imported"),
        ("unfit", "needs_helpers", "is, or needs, a module that the bundle has one of its own of: helpers"),
    ],
)
def test_what_must_not_be_there_in_a_fork_is_named_and_ends_the_interpreter(worker, word, module, reason):
    assert loaded(worker, "plain", module, own=("other", "helpers")) == f"{word} {module} {reason}"
    assert worker.process.wait(20) == 0


def test_a_fork_that_waits_for_its_step_has_what_only_starts_threads_and_others_have_not(worker):
    worker.control.send(b"bound 100000000")
    late = ("with_threads", "large", "leaves", "there_is_none")
    assert loaded(worker, "plain", late=late).startswith("loaded ")
    code = (
        "import resource, sys\nhad = [name in sys.modules for name in ('plain', 'threading', 'with_threads', 'large')]\n"
        "import threading\n"
        "limit = resource.getrlimit(resource.RLIMIT_DATA)[0]\n"
        "def step():\n    import with_threads\n    return [*had, threading.active_count(), limit]"
    )
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]

    def has_thread(pid):
        return len(os.listdir(f"/proc/{pid}/task")) == 2

    assert returned(worker, code, order="early", ready=has_thread) == [True, True, True, False, 2, limit]
    # For a step that is there nothing is loaded that it may not need.
    assert returned(worker, code, order="early", is_there=True) == [True, True, False, False, 2, limit]
    # What it needs of the standard library is there in all.
    assert returned(worker, code) == [True, True, False, False, 2, limit]


def test_no_library_begins_threads_for_its_arithmetic_and_a_step_does_not_see_how(worker):
    assert loaded(worker, "of_blas") == "loaded 1"
    code = "import os, of_blas\ndef step(): return [of_blas.threads, 'OPENBLAS_NUM_THREADS' in os.environ]"
    assert returned(worker, code) == ["1", False]


def test_memory_for_modules_is_bounded_and_only_while_they_are_loaded(worker):
    worker.control.send(b"bound 100000000")
    assert loaded(worker, "large", "names") == "loaded 1"
    code = "import resource\ndef step(): return [len(bytearray(200_000_000)), resource.getrlimit(resource.RLIMIT_DATA)[0]]"
    assert returned(worker, code) == [200_000_000, resource.getrlimit(resource.RLIMIT_DATA)[0]]


def test_the_memory_of_the_interpreter_is_told(worker):
    for order in ("load names", "loaded"):
        worker.control.send(order.encode())
    word, count, data_bytes = worker.hear()
    assert (word, count) == ("loaded", "1") and 1_000_000 < int(data_bytes) < 200_000_000


def test_what_is_logged_is_arranged_for_each_step_anew(worker):
    loaded(worker, "logging")
    code = "import logging\nlevels = [logging.root.level, logging.lastResort.level]\ndef step(): return levels"
    assert returned(worker, code) == [30, 30]


def test_random_numbers_of_numpy_differ_between_forks(tmp_path):
    site = next(path for path in sys.path if os.path.isdir(os.path.join(path, "numpy")))
    worker = Worker(tmp_path, f"import sys; sys.path.append({site!r}); ")
    try:
        assert loaded(worker, "numpy", "numpy.random").startswith("loaded ")
        code = "import sys\nhad = 'numpy.random' in sys.modules\nimport numpy\ndef step(): return [had, float(numpy.random.rand())]"
        first, second = returned(worker, code), returned(worker, code)
    finally:
        worker.close()
    assert first[0] and second[0]
    assert first != second
