"""Reads what a step returned: a value, a ``Result``, or a tuple that begins with a ``StepStatus``."""

from ..core.step import Result, StepStatus
from .failures import Failure, clip, type_of

_ANSWERS = {
    StepStatus.success: "success",
    StepStatus.pending: "pending",
    StepStatus.reset: "reset",
    StepStatus.cancel: "cancel",
}
_DATA_CHARACTERS_MAX = 500


def read(returned):
    """Status (a word of the protocol), new priority or None, and data."""
    if isinstance(returned, Result):
        return _status(returned.status, returned.data), _priority(returned.priority), returned.data
    if type(returned) is tuple:
        return _from_tuple(returned)
    if isinstance(returned, StepStatus):
        raise Failure("value", f"the step returned {returned} alone; return Result(status={returned})")
    return "success", None, returned


def _from_tuple(parts):
    if not parts or not isinstance(parts[0], StepStatus):
        raise Failure("value", "the step returned a tuple that does not begin with a StepStatus; return a list")
    if not 2 <= len(parts) <= 5:
        message = f"the step returned a tuple of {len(parts)} parts; a StepStatus is followed by one to four"
        raise Failure("value", f"{message}: (status, data), (status, env, data), (status, env, priority, data) …")
    priority = parts[2] if len(parts) >= 4 else None
    return _status(parts[0], parts[-1]), _priority(priority), parts[-1]


def _status(status, data):
    if isinstance(status, StepStatus) and status in _ANSWERS:
        return _ANSWERS[status]
    if isinstance(status, StepStatus):
        message = f"the step returned {status}"
        if data is not None:
            message += ": " + clip(_shown(data), _DATA_CHARACTERS_MAX)
        raise Failure("exception", message)
    raise Failure("value", f"the status of a Result is {type_of(status)}; it must be a StepStatus")


def _priority(priority):
    if priority is None or (isinstance(priority, int) and -(2**63) <= priority < 2**63):
        return None if priority is None else int(priority)
    raise Failure("value", f"the priority of a Result is {type_of(priority)}; it must be an int of 64 bit")


def _shown(data):
    try:
        return repr(data)
    except Exception as error:
        return f"(cannot be shown: {type(error).__name__})"
