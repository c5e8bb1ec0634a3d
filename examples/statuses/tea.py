"""Steps of statuses.bue."""

import time

from buelon.core.step import Result, StepStatus

MAKING_S = 0.5
"""How long a tea takes."""


def now():
    return [time.time()]


def order_tea(begun):
    return {"begun": begun, "ordered": time.time()}


def is_ready(order):
    """Pending until the tea is made. The job waits without holding a worker, and runs again."""
    if time.time() < order["ordered"] + MAKING_S:
        return Result(status=StepStatus.pending)
    return order


def fetch(order):
    """The tea that was ordered first is spilled, so the pipe starts again from its first step."""
    if order["ordered"] < order["begun"] + MAKING_S:
        return StepStatus.reset, None  # the same as Result(status=StepStatus.reset)
    return {"tea": "hot", "second": order["ordered"] > order["begun"] + MAKING_S}


def check_stock():
    return Result(status=StepStatus.cancel)


def reorder(stock):
    raise AssertionError("what follows a cancelled step does not run")
