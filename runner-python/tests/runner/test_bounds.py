"""What the process of a step says of the bounds that it meets."""

import errno

import pytest

from buelon.runner import bounds, load
from buelon.runner.failures import Failure


@pytest.mark.parametrize(
    "limit, told",
    [
        (64 * 10**6, "64 MB"),
        (64 << 20, "64 MiB"),
        (1_500_000_000, "1500 MB"),
        (2 << 30, "2 GiB"),
        (16_000_001, "16000001 bytes"),
    ],
)
def test_a_bound_is_told_as_it_was_written(monkeypatch, limit, told):
    monkeypatch.setattr(bounds, "_limit", lambda _: limit)
    assert bounds.met(MemoryError()) == ("memory", f"each process of the step may use {told}: `!memory` sets how much")
    kind, sentence = bounds.met(OSError(errno.EFBIG, "File too large"))
    assert (kind, told in sentence) == ("disk", True)


UNMAPPED = 'ImportError("libpart.so: failed to map segment from shared object")'


def loaded(text, folder, in_file):
    """Loads the code of a step, from a file of its own or from the script, and returns how that fails."""
    (folder / "own.py").write_text(text)
    code = {"file": str(folder / "own.py")} if in_file else {"text": {"text": text, "script": "x.bue", "line": 1}}
    with pytest.raises(Failure) as failure:
        load.load(code, "step", str(folder))
    return failure.value


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize(
    "raised, told",
    [
        ("MemoryError", "MemoryError"),
        ('MemoryError("no room")', "MemoryError: no room"),
        (UNMAPPED, "ImportError: libpart.so: failed to map segment from shared object"),
        ('OSError(12, "Cannot allocate memory")', "OSError: [Errno 12] Cannot allocate memory"),
    ],
)
def test_too_little_memory_to_load_a_step_is_told_as_that_of_one_that_runs(monkeypatch, tmp_path, raised, told, in_file):
    monkeypatch.setattr(bounds, "_limit", lambda _: 64 * 10**6)
    failure = loaded(f"raise {raised}\n", tmp_path, in_file)
    message = f"{told}; each process of the step may use 64 MB: `!memory` sets how much"
    assert (failure.kind, failure.message) == ("memory", message)
    assert "line 1" in failure.trace


@pytest.mark.parametrize("raised", ['ImportError("no such part")', 'ValueError("failed to map segment")'])
def test_any_other_error_while_a_step_is_loaded_is_of_its_code(monkeypatch, tmp_path, raised):
    monkeypatch.setattr(bounds, "_limit", lambda _: 64 * 10**6)
    failure = loaded(f"raise {raised}\n", tmp_path, True)
    assert failure.kind == "load" and "!memory" not in failure.message


def test_without_a_bound_nothing_is_told_of_one(monkeypatch, tmp_path):
    monkeypatch.setattr(bounds, "_limit", lambda _: None)
    failure = loaded("raise MemoryError\n", tmp_path, True)
    assert (failure.kind, failure.message) == ("load", "MemoryError")


def test_a_library_that_a_step_imports_while_it_runs_may_be_too_large(monkeypatch):
    monkeypatch.setattr(bounds, "_limit", lambda _: 64 * 10**6)
    assert bounds.met(ImportError("x.so: failed to map segment from shared object"))[0] == "memory"
    assert bounds.met(ImportError("x.so: cannot open shared object file")) is None
