"""The client against real processes."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Iterator

import pytest
from fleet import DEADLINE_S, ROOT, Fleet

import buelon


@pytest.fixture(scope="module")
def shared_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start_all()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(shared_fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The fleet, found by its data folder as on one machine."""
    monkeypatch.setenv("BUE_DATA_DIR", str(shared_fleet.data_dir))
    return shared_fleet


def copy_of(example: str, folder: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / example, folder / example))


@pytest.mark.parametrize("example", ["hello", "loops", "sql", "statuses", "bundle"])
def test_an_example_comes_to_what_it_should(fleet: Fleet, tmp_path: Path, example: str) -> None:
    folder = copy_of(example, tmp_path)
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    run = buelon.upload(folder / f"{example}.bue", progress=False)
    words = {"success": "succeeded", "cancel": "cancelled"}
    assert run.succeeded, run.failures()
    results = run.results()
    assert [(result.pipe, result.variable, result.state) for result in results] == [
        (entry["pipe"], entry["variable"], words[entry["status"]]) for entry in expected["results"]
    ]
    for result, entry in zip(results, expected["results"]):
        if "value" in entry:
            assert result.value == entry["value"]


def test_the_example_program_uploads_waits_and_prints_results(fleet: Fleet, tmp_path: Path) -> None:
    for name in ("example.bue", "example.py"):
        shutil.copy(ROOT / "src" / "templates" / name, tmp_path / name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner-python")}
    command = [sys.executable, "example.py"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE_S * 2
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("api_pipe: succeeded {'account': 'Account ") for line in lines)
    assert " jobs done" in ended.stderr


def test_a_failed_job_is_told_with_its_traceback_and_log(fleet: Fleet, tmp_path: Path) -> None:
    script = tmp_path / "x.bue"
    script.write_text(
        "s:\n    python\n    f\n    `\ndef f():\n    print('so far')\n    raise ValueError('no')\n`\np = | s\np()\n"
    )
    run = buelon.upload(script, progress=False)
    assert run.state == "failed"
    (failure,) = run.failures()
    assert (failure.step, failure.kind, failure.message) == ("s", "exception", "ValueError: no")
    assert "raise ValueError" in str(failure.trace) and "so far" in run.log(failure.job)


def test_a_wrong_script_is_refused_with_its_place(fleet: Fleet, tmp_path: Path) -> None:
    script = tmp_path / "x.bue"
    script.write_text("p = | nothing\np()\n")
    with pytest.raises(buelon.ScriptError) as caught:
        buelon.upload(script, progress=False)
    assert (caught.value.diagnostics[0]["kind"], caught.value.diagnostics[0]["line"]) == ("name", 1)
    assert "x.bue:1" in str(caught.value)


def test_a_wrong_token_is_refused(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUE_TOKEN", "not-the-token")
    folder = copy_of("hello", tmp_path)
    with pytest.raises(buelon.Refused):
        buelon.upload(folder / "hello.bue", progress=False)


def test_a_large_table_comes_back_whole_and_the_same_key_is_the_same_run(fleet: Fleet, tmp_path: Path) -> None:
    script = tmp_path / "x.bue"
    code = "def f():\n    return [{'n': n, 'text': str(n)} for n in range(20_000)]\n"
    script.write_text(f"s:\n    python\n    f\n    `\n{code}`\np = | s\np()\n")
    first, second = (buelon.upload(script, key="large table", progress=False) for _ in range(2))
    assert first.id == second.id and (first.repeated, second.repeated) == (False, True)
    assert second.results()[0].value == [{"n": n, "text": str(n)} for n in range(20_000)]


def test_a_cancelled_run_ends(fleet: Fleet, tmp_path: Path) -> None:
    script = tmp_path / "x.bue"
    code = "from buelon.core.step import StepStatus\ndef f():\n    return StepStatus.pending, None\n"
    script.write_text(f"s:\n    python\n    f\n    `\n{code}`\np = | s\np()\n")
    run = buelon.upload(script, wait=False, progress=False)
    assert run.cancel().state == "cancelled"
    assert run.wait(timeout_s=DEADLINE_S).state == "cancelled"


def test_the_wait_survives_a_hub_that_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    monkeypatch.setenv("BUE_DATA_DIR", str(fleet.data_dir))
    # The step waits for a file that a sandbox would not show it.
    monkeypatch.setenv("BUE_SANDBOX", "off")
    try:
        fleet.start_all()
        address = fleet.address("hub")
        script = tmp_path / "work" / "x.bue"
        go = tmp_path / "go"
        code = (
            "import time\nfrom pathlib import Path\n"
            f"def f():\n    while not Path({str(go)!r}).exists():\n        time.sleep(0.01)\n    return 7\n"
        )
        script.write_text(f"s:\n    python\n    f\n    `\n{code}`\np = | s\np()\n")
        run = buelon.upload(script, wait=False, progress=False)
        waiter = threading.Thread(target=run.wait, daemon=True)
        waiter.start()
        deadline = time.monotonic() + DEADLINE_S
        while run.state == "running" and buelon.find_run(run.id).status().counts.leased == 0:
            assert time.monotonic() < deadline, fleet.log("worker")
            time.sleep(0.02)
        fleet.kill("hub")
        fleet.start("hub", "-b", address)
        go.write_text("")
        waiter.join(DEADLINE_S)
        assert not waiter.is_alive() and run.succeeded, fleet.log("hub") + fleet.log("worker")
        assert run.results()[0].value == 7
    finally:
        fleet.stop()
