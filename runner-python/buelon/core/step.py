"""What a step can return beside plain values.

from buelon.core.step import Result, StepStatus

def status(report):
    if not ready(report):
        return Result(status=StepStatus.pending)
    return report
"""

import enum

__all__ = ["Result", "StepStatus"]


class StepStatus(enum.Enum):
    """What a step says of itself. A step can return the first four; the others are states that jobs are in."""

    success = "success"
    """Done: the steps that follow may run."""
    pending = "pending"
    """Not yet: run this step again later. Costs no retry."""
    reset = "reset"
    """Start over from the first step of the pipe."""
    cancel = "cancel"
    """Not needed: neither this job nor what follows it. No error."""
    error = "error"
    """Ended in an error. Raise an exception instead of returning it."""
    queued = "queued"
    """Waits for the steps before it."""
    working = "working"
    """A worker is at it."""


class Result:
    """A value together with what the step says of itself.

    ``priority`` changes the priority of the jobs that follow in the chain. ``env`` and ``velocity`` are accepted for
    the sake of older scripts and change nothing.
    """

    __slots__ = ("status", "env", "priority", "velocity", "data")

    def __init__(self, status=StepStatus.success, env=None, priority=None, velocity=None, data=None):
        self.status = status
        self.env = env
        self.priority = priority
        self.velocity = velocity
        self.data = data

    def __repr__(self):
        return f"Result(status={self.status!r}, priority={self.priority!r}, data={self.data!r})"
