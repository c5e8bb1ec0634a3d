"""What every step needs to reach the API: the settings, and calls with errors that have names."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, Optional

CALL_TIMEOUT_S = 20
"""Longest wait for one answer. The step's own `!timeout` is longer, so that this error is the one that is seen."""


class TooManyCalls(Exception):
    """The API answered 429: it wants to be asked again later, which is no error."""


def settings() -> Dict[str, Any]:
    """`settings.json` beside this file: it travels with the steps, so every worker reads the same."""
    return json.loads(Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))


def get(path: str) -> Any:
    """What the API answers to a GET."""
    return _call("GET", path, None)


def post(path: str, body: Dict[str, Any]) -> Any:
    """What the API answers to a POST."""
    return _call("POST", path, body)


def _call(method: str, path: str, body: Optional[Dict[str, Any]]) -> Any:
    request = urllib.request.Request(
        settings()["api"].rstrip("/") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 429:
                raise TooManyCalls(f"{method} {path}: again in {error.headers.get('Retry-After', '?')} s") from None
            # Anything else is an error of this attempt; the step's `!retries` say how often it is tried again.
            raise RuntimeError(f"{method} {path}: {error.code} {error.read(500).decode(errors='replace')}") from None
