"""The client: uploads scripts to a hub, waits for their runs, and reads what came of them.

- `upload`: the way of a script to the hub.
- `run`: one upload, as the hub knows it.
- `bundle`, `ignore`: which files travel with a script.
- `transport`: requests to the hub, tried again while it is away.
- `settings`: where the hub is, and its token.
- `progress`: what a person sees while waiting.
- `errors`: everything that can be raised.

It needs nothing but the standard library, and is never loaded inside a step.
"""

from buelon.client.errors import (
    BuelonError,
    BundleError,
    HubError,
    HubUnreachable,
    Refused,
    ScriptError,
    SettingError,
    WaitTimeout,
)
from buelon.client.run import CallResult, Counts, Failure, Run, RunStatus
from buelon.client.upload import find_run, upload

__all__ = [
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
]
