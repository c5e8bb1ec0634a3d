"""A fake hub, and a script's folder that knows where it is."""

import sys
from pathlib import Path
from typing import Iterator

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent.parent)]

from fake_hub import TOKEN, FakeHub  # noqa: E402


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()
    yield fake
    fake.stop()


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    import os

    for name in list(os.environ):
        if name.startswith(("BUE_", "PIPELINE_")) and name != "BUE_BIN":
            monkeypatch.delenv(name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def script(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script and one file beside it; the settings name the fake hub."""
    monkeypatch.setenv("PIPELINE_PORT", str(hub.port))
    monkeypatch.setenv("BUE_TOKEN", TOKEN)
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "step.py").write_text("def f():\n    return 1\n")
    path = folder / "x.bue"
    path.write_text("s:\n    python\n    f\n    step.py\np = | s\np()\n")
    return path
