"""What a person sees while waiting."""

import io

import pytest

from buelon.client import progress
from buelon.client.progress import Progress, Silence


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "11")
    stream = Terminal()
    shown = Progress(stream)
    shown.update("1 of 2")
    shown.say("stays")
    shown.update("2 of 2, and more than fits")
    shown.end()
    shown.end()
    assert stream.getvalue() == "\r\x1b[2K1 of 2\r\x1b[2Kstays\n\r\x1b[2K2 of 2, an\n"


def test_elsewhere_a_line_comes_when_something_changed_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    shown = Progress(stream)
    for text, passed in [("a", 0), ("b", 0.5), ("b", 0.6), ("b", 5), ("c", 5)]:
        now[0] += passed
        shown.update(text)
    shown.update("d", last=True)
    shown.update("d", last=True)
    shown.end()
    assert stream.getvalue() == "a\nb\nc\nd\n"


def test_silence_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Silence()
    shown.update("x", last=True)
    shown.say("y")
    shown.end()
    assert capsys.readouterr() == ("", "")
