"""What a person sees while waiting: one line that changes on a terminal, else a line now and then.

Everything goes to standard error, so that a program's own output stays clean.
"""

import shutil
import sys
import time
from typing import Optional, TextIO

PLAIN_INTERVAL_S = 1.0
"""Shortest time between two lines where there is no terminal."""


class Progress:
    """Shows where a run stands."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._shown = ""
        self._shown_at = float("-inf")

    def update(self, text: str, last: bool = False) -> None:
        """Shows where it stands. The last one is always shown."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[2K" + text[:width])
        elif text != self._shown and (last or time.monotonic() - self._shown_at >= PLAIN_INTERVAL_S):
            self._stream.write(text + "\n")
            self._shown_at = time.monotonic()
        else:
            return
        self._shown = text
        self._stream.flush()

    def say(self, text: str) -> None:
        """Shows something that stays."""
        self._stream.write(("\r\x1b[2K" if self._is_terminal else "") + text + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Leaves the terminal with a line of its own for what comes next."""
        if self._is_terminal and self._shown:
            self._stream.write("\n")
            self._stream.flush()
            self._shown = ""


class Silence(Progress):
    """Shows nothing."""

    def update(self, text: str, last: bool = False) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""
