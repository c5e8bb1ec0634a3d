"""One upload of a script, as the hub knows it: where it stands, and what came of it."""

import json
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional
from urllib.parse import quote

from buelon.client.errors import BuelonError, WaitTimeout
from buelon.client.progress import Progress, Silence
from buelon.client.transport import ANSWER_TIMEOUT_S, TRANSFER_TIMEOUT_S, Hub, Json

NEWS_WAIT_S = 20.0
"""How long the hub is asked to keep a request for news waiting."""
POLL_INTERVAL_S = 0.2
"""Shortest time between two looks: a busy run changes with every job."""
FAILURES_MAX = 20
PAGE = 1_000


class Counts(NamedTuple):
    """Numbers of jobs by state."""

    waiting: int = 0
    available: int = 0
    pending: int = 0
    leased: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        """All jobs."""
        return sum(self)


class RunStatus(NamedTuple):
    """Where a run stands."""

    id: str
    script: str
    state: str
    """`running`, `succeeded`, `failed` or `cancelled`."""
    counts: Counts
    created_ms: int
    """When it was accepted: Unix time in milliseconds."""
    finished_ms: Optional[int]
    version: int
    """Grows with every change."""

    @classmethod
    def parse(cls, answer: Json) -> "RunStatus":
        """What the hub answered. What it counts beyond our words is left aside."""
        counts = {name: int(number) for name, number in answer["counts"].items() if name in Counts._fields}
        return cls(
            id=answer["id"],
            script=answer["script"],
            state=answer["state"],
            counts=Counts(**counts),
            created_ms=answer["created_ms"],
            finished_ms=answer.get("finished_ms"),
            version=answer["version"],
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing more can run."""
        return self.state != "running"

    def __str__(self) -> str:
        counts = self.counts
        parts = [f"{counts.succeeded} of {counts.total} jobs done"]
        named = [("leased", counts.leased), ("parked", counts.pending), ("failed", counts.failed)]
        parts += [f"{number} {word}" for word, number in [*named, ("cancelled", counts.cancelled)] if number]
        return f"run {self.id} {self.state}: {', '.join(parts)}"


class Failure(NamedTuple):
    """A job that ended in an error."""

    job: str
    step: str
    kind: str
    """How it ended: `exception`, `timeout`, `exit` …"""
    message: str
    trace: Optional[str]
    attempts: int

    def __str__(self) -> str:
        return f"{self.step} ({self.job}): {self.message}"


class CallResult:
    """What one call of a pipe came to."""

    def __init__(self, hub: Hub, answer: Json) -> None:
        self._hub = hub
        self._reference: Optional[Json] = answer.get("value")
        self.pipe: str = answer["pipe"]
        self.variable: Optional[str] = answer.get("variable")
        """The variable it was assigned to, if any."""
        self.job: str = answer["job"]
        """Its last job."""
        self.state: str = answer["state"]

    @property
    def value(self) -> Any:
        """What its last step returned; None where it has not succeeded. A large one is fetched when first read."""
        if self._reference is None:
            return None
        place = self._reference["place"]
        if "json" not in place:
            place = {"json": fetch_value(self._hub, self.job)}
            self._reference["place"] = place
        return place["json"]

    def __repr__(self) -> str:
        return f"CallResult(pipe={self.pipe!r}, variable={self.variable!r}, job={self.job!r}, state={self.state!r})"


def fetch_value(hub: Hub, job: str) -> Any:
    """The value of a job; a table is a list of dicts."""
    return hub.get(f"jobs/{quote(job, safe='')}/value", timeout_s=TRANSFER_TIMEOUT_S)


class Run:
    """One upload of a script."""

    def __init__(self, hub: Hub, answer: Json) -> None:
        self._hub = hub
        self._status = self._read(answer)
        self.repeated = False
        """Whether an earlier upload with the same key had made it."""
        self.warnings: List[Dict[str, Any]] = []
        """What is doubtful about the script, as data."""

    @property
    def id(self) -> str:
        """Its id."""
        return self._status.id

    @property
    def state(self) -> str:
        """Where it stood when the hub was last asked: `running`, `succeeded`, `failed` or `cancelled`."""
        return self._status.state

    @property
    def succeeded(self) -> bool:
        """Whether nothing more can run and no job failed."""
        return self.state == "succeeded"

    def status(self) -> RunStatus:
        """Where it stands now."""
        self._status = self._read(self._hub.get(self._route()))
        return self._status

    def wait(self, timeout_s: Optional[float] = None, progress: bool = False) -> RunStatus:
        """Waits until nothing more can run, also while the hub is away or starts again.

        Raises `WaitTimeout` when that takes longer than `timeout_s`.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        shown = Progress() if progress else Silence()
        try:
            shown.update(str(self._status), last=True)
            while not self._status.is_over:
                begin = time.monotonic()
                self._status = self._news(end, shown)
                shown.update(str(self._status), last=self._status.is_over)
                if not self._status.is_over:
                    time.sleep(max(0.0, POLL_INTERVAL_S - (time.monotonic() - begin)))
        finally:
            shown.end()
        if progress:
            self._tell_failures(shown)
        return self._status

    def _news(self, end: Optional[float], shown: Progress) -> RunStatus:
        left_s = None if end is None else end - time.monotonic()
        if left_s is not None and left_s <= 0:
            raise WaitTimeout(f"run {self.id} has not ended in time; it goes on", "`wait` can be called again")
        wait_s = NEWS_WAIT_S if left_s is None else min(NEWS_WAIT_S, left_s)
        answer = self._hub.get(
            f"{self._route()}?version={self._status.version}&wait_ms={int(wait_s * 1000)}",
            timeout_s=wait_s + ANSWER_TIMEOUT_S,
            patience_s=left_s,
            note=shown.say,
        )
        return self._read(answer)

    def _tell_failures(self, shown: Progress) -> None:
        for failure in self.failures() if self._status.counts.failed else []:
            shown.say(f"failed: {failure}")
        hidden = self._status.counts.failed - FAILURES_MAX
        if hidden > 0:
            shown.say(f"and {hidden} more; `bue status {self.id}` lists them")

    def results(self, limit: Optional[int] = None) -> List[CallResult]:
        """What the calls of the script came to, in its order, loops pass by pass; loop sources excepted.

        All of them, or the first ``limit``; the hub is asked as often as it takes.
        """
        found: List[CallResult] = []
        while limit is None or len(found) < limit:
            wanted = PAGE if limit is None else min(PAGE, limit - len(found))
            route = f"{self._route()}/results?skip={len(found)}&limit={wanted}"
            answer = self._hub.get(route, timeout_s=TRANSFER_TIMEOUT_S)
            found.extend(CallResult(self._hub, result) for result in answer["results"])
            if not answer["truncated"] or not answer["results"]:
                break
        return found

    def failures(self, limit: int = FAILURES_MAX) -> List[Failure]:
        """Jobs that ended in an error, the first ones first."""
        found: List[Failure] = []
        for job in self._jobs("failed"):
            if len(found) == limit:
                break
            # A hub that does not know the filter answers with all jobs.
            if job["state"] == "failed":
                found.append(parse_failure(job))
        return found

    def _jobs(self, state: str) -> Iterator[Json]:
        after: Optional[str] = None
        while True:
            place = f"&after={after}" if after else ""
            page = self._hub.get(f"{self._route()}/jobs?limit={PAGE}&state={state}{place}")
            yield from page["jobs"]
            after = page.get("next")
            if after is None:
                return

    def log(self, job: str) -> str:
        """What a job printed in its last attempt."""
        content = self._hub.request("GET", f"jobs/{quote(job, safe='')}/log", timeout_s=TRANSFER_TIMEOUT_S)
        return content.decode(errors="replace")

    def cancel(self) -> RunStatus:
        """Cancels what is left of it."""
        self._status = self._read(self._hub.post(f"{self._route()}/cancel", None))
        return self._status

    def _route(self) -> str:
        return f"runs/{quote(self.id, safe='')}"

    def _read(self, answer: Json) -> RunStatus:
        try:
            return RunStatus.parse(answer)
        except (KeyError, TypeError, AttributeError) as error:
            raise BuelonError(
                f"the answer of hub at {self._hub.address} cannot be read: {json.dumps(answer)[:200]}",
                "are hub and client of the same version?",
            ) from error

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, state={self.state!r})"


def parse_failure(job: Json) -> Failure:
    """A failed job's error."""
    error = job.get("error") or {}
    return Failure(
        job=job["id"],
        step=job["name"],
        kind=error.get("kind", "lost"),
        message=error.get("message", "no error was recorded"),
        trace=error.get("trace"),
        attempts=job.get("attempts", 0),
    )
