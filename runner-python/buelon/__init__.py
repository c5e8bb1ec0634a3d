"""Buelon from Python: what a step needs, and a client that uploads scripts and waits for their results.

    import buelon

    run = buelon.upload("example.bue")
    for result in run.results():
        print(result.pipe, result.value)

Every step imports this package, so it loads nothing before it is asked for.
"""

TYPE_CHECKING = False  # The name that type checkers know; `typing` would be loaded by every step.

if TYPE_CHECKING:
    from typing import Any

    from buelon.client import BuelonError as BuelonError
    from buelon.client import BundleError as BundleError
    from buelon.client import CallResult as CallResult
    from buelon.client import Counts as Counts
    from buelon.client import Failure as Failure
    from buelon.client import HubError as HubError
    from buelon.client import HubUnreachable as HubUnreachable
    from buelon.client import Refused as Refused
    from buelon.client import Run as Run
    from buelon.client import RunStatus as RunStatus
    from buelon.client import ScriptError as ScriptError
    from buelon.client import SettingError as SettingError
    from buelon.client import WaitTimeout as WaitTimeout
    from buelon.client import find_run as find_run
    from buelon.client import upload as upload
    from buelon.core.step import Result as Result
    from buelon.core.step import StepStatus as StepStatus

__version__ = "0.1.0"

_STEP_NAMES = ("Result", "StepStatus")
_CLIENT_NAMES = (
    "BuelonError",
    "BundleError",
    "CallResult",
    "Counts",
    "Failure",
    "HubError",
    "HubUnreachable",
    "Refused",
    "Run",
    "RunStatus",
    "ScriptError",
    "SettingError",
    "WaitTimeout",
    "find_run",
    "upload",
)


def __getattr__(name: str) -> "Any":
    """Loads the part that a name belongs to when it is first used."""
    import importlib

    for module, names in (("buelon.client", _CLIENT_NAMES), ("buelon.core.step", _STEP_NAMES)):
        if name in names:
            value = globals()[name] = getattr(importlib.import_module(module), name)
            return value
    raise AttributeError(f"module 'buelon' has no attribute '{name}'")


def __dir__() -> "list[str]":
    return sorted([*globals(), *_STEP_NAMES, *_CLIENT_NAMES])
