"""Starts the simulated API as its own process, on a free port, and points the steps at it."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

FOLDER = Path(__file__).parent.parent
sys.path[:0] = [str(FOLDER), str(Path(__file__).parent), str(FOLDER.parent.parent / "runner-python")]

DEADLINE_S = 20


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dict[str, Any]]:
    """The settings that the steps see; the API runs as long as the test."""
    import ads_client

    port_file = tmp_path / "port"
    command = [sys.executable, str(FOLDER / "ads_api.py"), "--port", "0", "--port-file", str(port_file)]
    process = subprocess.Popen([*command, "--accounts", "12", "--seed", "1", "--seconds", "0.05"])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not port_file.exists():
            assert process.poll() is None, "the API ended"
            assert time.monotonic() < deadline, "the API wrote no port"
            time.sleep(0.01)
        values = {
            "api": f"http://127.0.0.1:{port_file.read_text()}",
            "database": str(tmp_path / "ads.sqlite"),
            "patience_s": 0.5,
        }
        monkeypatch.setattr(ads_client, "settings", lambda: values)
        yield values
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
