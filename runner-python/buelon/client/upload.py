"""The way of a script to the hub: its bundle, the files that the hub does not have, the run."""

import os
import uuid
from pathlib import Path
from typing import Any, Dict, List, Optional, Union
from urllib.parse import quote

from buelon.client.bundle import Bundle, Limits
from buelon.client.errors import HubError, MissingFiles
from buelon.client.progress import Progress, Silence
from buelon.client.run import Run
from buelon.client.settings import Settings
from buelon.client.transport import Hub, Json

SUBMIT_TRIES_MAX = 3
"""How often a hub may lose files between their arrival and the submit, such as by a restart with an empty folder."""


def upload(
    path: "Union[str, os.PathLike[str]]",
    hub: Optional[str] = None,
    key: Optional[str] = None,
    wait: bool = True,
    progress: bool = True,
) -> Run:
    """Sends a script and the files of its folder to the hub, which runs it.

    - `hub`: its address, `host:port`. Otherwise the settings of the command line say it.
    - `key`: an idempotency key. A second upload with the same key is the same run.
    - `wait`: returns when nothing more can run, else at once.
    - `progress`: shows on standard error how it goes.

    A wrong script raises `ScriptError`. A run in which jobs fail raises nothing: see `Run.succeeded`, `Run.failures`.
    """
    settings = Settings.load()
    connection = Hub(settings.hub(hub), settings)
    shown = Progress() if progress else Silence()
    bundle = Bundle(Path(path), settings.data_dir(), Limits.of(settings))
    for note in bundle.notes:
        shown.say(f"note: {note}")
    run = _submit(connection, bundle, key)
    for line in _describe(bundle.script, run.warnings):
        shown.say(line)
    if run.repeated and key is not None:
        shown.say(f"run {run.id} was made by an earlier upload with the key {key}")
    if wait:
        run.wait(progress=progress)
    return run


def find_run(run: str, hub: Optional[str] = None) -> Run:
    """The run with this id, such as one that another program uploaded."""
    settings = Settings.load()
    connection = Hub(settings.hub(hub), settings)
    return Run(connection, connection.get(f"runs/{quote(run, safe='')}"))


def _submit(hub: Hub, bundle: Bundle, key: Optional[str]) -> Run:
    # An upload whose answer is lost is sent again; with a key of its own it still makes a single run.
    key = key or uuid.uuid4().hex
    question: Json = {"manifest": bundle.manifest(), "script": bundle.script, "key": key}
    missing: List[str] = hub.post("bundles", bundle.manifest())["missing"]
    for _ in range(SUBMIT_TRIES_MAX):
        for digest in missing:
            hub.put(f"files/{digest}", bundle.content(digest))
        try:
            answer = hub.post("runs", question)
        except MissingFiles as error:
            missing = error.missing
        else:
            run = Run(hub, answer["run"])
            run.repeated = bool(answer.get("repeated"))
            run.warnings = answer.get("warnings", [])
            return run
    raise HubError(
        f"hub at {hub.address} does not keep the files of the bundle", "is its data folder full?", "conflict"
    )


def _describe(script: str, warnings: List[Dict[str, Any]]) -> List[str]:
    lines = []
    for warning in warnings:
        place = f"{warning.get('file') or script}:{warning.get('line')}:{warning.get('column')}"
        lines.append(f"{place}: warning: {warning.get('message')}")
    return lines
