"""Modules that a warm interpreter loads before it is forked."""

import json
import os
import resource
import sys
import warnings

import pyarrow
import pytest
from test_warm import Worker, answer_of

from buelon.runner import companions, in_pandas

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


@pytest.fixture
def polars_worker(tmp_path):
    site = next(path for path in sys.path if os.path.isdir(os.path.join(path, "polars")))
    worker = Worker(tmp_path, f"import sys; sys.path.append({site!r}); ")
    yield worker
    worker.close()


@pytest.fixture
def faked(tmp_path):
    """Starts interpreters that find modules of these texts before all others."""
    workers = []

    def start(texts):
        library = tmp_path / f"library_{len(workers)}"
        for name, text in texts.items():
            path = library / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        workers.append(Worker(tmp_path, f"import sys; sys.path.insert(0, {str(library)!r}); "))
        return workers[-1]

    yield start
    for worker in workers:
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


def test_polars_is_there_in_all_forks_with_the_thread_that_it_begins(polars_worker):
    assert loaded(polars_worker, "polars").startswith("loaded ")
    code = (
        "import sys\nhad = 'polars' in sys.modules\nimport os, polars, time\n"
        "def thread():\n"
        "    for _ in range(500):\n"
        "        names = [open(f'/proc/self/task/{task}/comm').read() for task in os.listdir('/proc/self/task')]\n"
        "        if any(name.startswith('polars-ooc') for name in names): return True\n"
        "        time.sleep(0.02)\n"
        "def step():\n"
        "    begun = thread()\n"
        "    frame = polars.DataFrame({'n': range(1000)})\n"
        "    lazy = frame.lazy().group_by(polars.col('n') % 3).agg(polars.col('n').sum().alias('sum'))\n"
        "    sums = [int(lazy.collect(engine=engine)['sum'].sum()) for engine in ('in-memory', 'streaming')]\n"
        "    return [had, begun, sums, polars.thread_pool_size(), frame.sample(5)['n'].to_list()]"
    )
    for order in ("fork", "early"):
        had, begun, sums, threads, first = returned(polars_worker, code, order=order, variables={"POLARS_MAX_THREADS": "3"})
        # It looks at the variables of the step, not at those of who imported it.
        assert (had, begun, sums, threads) == (True, True, [499_500, 499_500], 3)
        assert first != returned(polars_worker, code, order=order)[-1]


def test_what_libraries_of_tables_load_when_they_are_first_used_is_there(polars_worker):
    assert loaded(polars_worker, "pyarrow").startswith("loaded ")
    code = (
        "import sys\nnames = ('pyarrow.ipc', 'pandas', 'pyarrow.pandas_compat', 'buelon.runner.in_pandas')\n"
        "had = [name in sys.modules for name in names]\ndef step(): return had"
    )
    assert returned(polars_worker, code) == [True, True, True, True]
    # None of it has reserved memory that each fork would count as its own: pyarrow does so by the gigabyte.
    code = (
        "import pyarrow\n"
        "with open('/proc/self/status') as file:\n"
        "    data_kb = next(int(line.split()[1]) for line in file if line.startswith('VmData:'))\n"
        "from buelon.runner import in_pandas\n"
        "def step(): return [data_kb < 700_000, pyarrow.total_allocated_bytes(), list(in_pandas.came.get())]"
    )
    assert returned(polars_worker, code) == [True, 0, []]


def test_to_go_the_way_of_a_table_leaves_nothing_behind_whether_it_ends_well_or_not(recwarn):
    pool = pyarrow.default_memory_pool().backend_name
    pools = []

    def way():
        in_pandas.came.set(("left",))
        pools.append(pyarrow.default_memory_pool().backend_name)
        warnings.warn("said", FutureWarning)
        if len(pools) > 1:
            raise MemoryError

    for each in (way, lambda: way()):
        companions._go(each)
        companions._go(each)
        assert pyarrow.default_memory_pool().backend_name == pool and in_pandas.came.get() == ()
    assert pools == ["system", "system"] and not recwarn.list


FAKE_POLARS = {
    "polars/_plr": "begun = []\ndef __register_startup_deps(word): begun.append(word)",
    "polars/__init__": "from polars._plr import __register_startup_deps\n__register_startup_deps('deps')\n",
}


def test_what_a_module_begins_is_begun_once_in_each_fork(faked):
    worker = faked(FAKE_POLARS)
    assert loaded(worker, "polars").startswith("loaded ")
    code = (
        "import polars._plr\nasked = getattr(polars._plr, '__register_startup_deps')\n"
        "def step(): return [polars._plr.begun, asked.__name__]"
    )
    for _ in range(2):
        assert returned(worker, code) == [["deps"], "__register_startup_deps"]


def test_a_module_that_needs_what_it_begins_is_loaded_late(faked):
    needs = "from polars import _plr\nif not _plr.begun: raise ImportError('it has not begun')\n"
    texts = {**FAKE_POLARS, "polars/__init__": FAKE_POLARS["polars/__init__"] + needs}
    assert loaded(faked(texts), "polars") == "late polars cannot be imported in part"
    worker = faked(texts)
    assert loaded(worker, late=("polars",)).startswith("loaded ")
    assert returned(worker, "import polars._plr\ndef step(): return polars._plr.begun") == ["deps"]


def test_what_a_module_cannot_begin_ends_no_fork(faked):
    texts = {**FAKE_POLARS, "polars/_plr": "def __register_startup_deps(word): raise SystemExit('no')"}
    worker = faked(texts)
    assert loaded(worker, "polars").startswith("loaded ")
    assert returned(worker, "def step(): return 'all the same'") == "all the same"


def test_threads_that_end_at_once_are_no_obstacle(faked):
    worker = faked({"short": "import threading, time\nthreading.Thread(target=time.sleep, args=(0.02,)).start()"})
    assert loaded(worker, "short").startswith("loaded ")


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
