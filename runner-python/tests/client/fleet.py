"""A real fleet for the tests: bucket, hub and worker as processes, on free ports, in a folder of their own."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Tuple

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60


def binary() -> Path:
    """The program under test: BUE_BIN, else what `cargo build` makes."""
    path = Path(os.environ.get("BUE_BIN") or ROOT / "target" / "debug" / "bue")
    assert path.is_file(), f"there is no {path}: build it with `cargo build`, or name it with BUE_BIN"
    return path


class Fleet:
    """Services that share a data folder. Every one that was started is stopped."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.folder = folder
        self.processes: Dict[str, "subprocess.Popen[bytes]"] = {}

    def start(self, service: str, *arguments: str) -> None:
        """Starts a service; one that listens has noted its address when this returns."""
        note = self.data_dir / service / "address"
        # What a killed one left must not be taken for the new one's.
        note.unlink(missing_ok=True)
        with open(self.folder / f"{service}.log", "ab") as log:
            command = [str(binary()), "--data-dir", str(self.data_dir), service, *arguments]
            self.processes[service] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        if service != "worker":
            deadline = time.monotonic() + DEADLINE_S
            while not note.is_file() or not note.read_text().endswith("\n"):
                assert self.processes[service].poll() is None, self.log(service)
                assert time.monotonic() < deadline, self.log(service)
                time.sleep(0.02)

    def start_all(self) -> None:
        """A bucket, a hub and a worker."""
        self.start("bucket", "-b", "127.0.0.1:0")
        self.start("hub", "-b", "127.0.0.1:0")
        self.start("worker", "-n", "4")

    def kill(self, service: str) -> None:
        """Ends a service as a power cut would."""
        process = self.processes.pop(service)
        process.kill()
        process.wait(DEADLINE_S)

    def address(self, service: str) -> str:
        """Where a service listens."""
        return (self.data_dir / service / "address").read_text().strip()

    def log(self, service: str) -> str:
        """What a service wrote."""
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends everything, first the worker."""
        ended: List[Tuple[str, "subprocess.Popen[bytes]"]] = list(reversed(self.processes.items()))
        for _, process in ended:
            process.send_signal(signal.SIGTERM)
        for _, process in ended:
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE_S)
        self.processes.clear()
