"""Plays the engine for the tests: runs one account's pipe with the step functions and the SQL of the script."""

import re
import sqlite3
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import steps
import warehouse
from buelon.core.step import Result, StepStatus

SCRIPT = Path(__file__).parent.parent / "ads_report.bue"
RETRIES = 4
PAUSE_S = 0.02
DEADLINE_S = 30


def sum_up(rows: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The script's SQL step."""
    (sql,) = re.findall(r"`([^`]+)`", SCRIPT.read_text(encoding="utf-8"))
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    names = list(rows[0])
    connection.execute(f"CREATE TABLE report ({', '.join(names)})")
    connection.executemany(f"INSERT INTO report VALUES ({', '.join(':' + name for name in names)})", rows)
    return [dict(row) for row in connection.execute(sql)]


PIPE: List[Callable[[Any], Any]] = [
    steps.request_report,
    steps.get_status,
    steps.get_report,
    sum_up,
    steps.transform_rows,
    warehouse.load,
]


class Engine:
    """Runs steps as the hub would have them run, and counts what they said."""

    def __init__(self) -> None:
        self.seen: Dict[str, int] = {"pending": 0, "reset": 0, "error": 0}
        self.deadline = time.monotonic() + DEADLINE_S

    def run_step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """The step's value, or its `Result` with `reset`; pending ones run again, failed ones too."""
        errors = 0
        while True:
            assert time.monotonic() < self.deadline, f"{step.__name__} did not end in {DEADLINE_S} s: {self.seen}"
            try:
                value = step(*arguments)
            except RuntimeError:
                errors += 1
                self.seen["error"] += 1
                if errors > RETRIES:
                    raise
                continue
            if isinstance(value, Result) and value.status == StepStatus.pending:
                self.seen["pending"] += 1
                time.sleep(PAUSE_S)  # the pause of a poll, not a wait for something to have happened
                continue
            return value

    def run_pipe(self, account: Dict[str, Any]) -> Any:
        """The value of the pipe's last step."""
        value: Any = account
        index = 0
        while index < len(PIPE):
            value = self.run_step(PIPE[index], value)
            index += 1
            if isinstance(value, Result):
                assert value.status == StepStatus.reset
                self.seen["reset"] += 1
                value, index = account, 0
        return value
