"""Everything that the client raises: what happened, and the way out where one is known."""

import sys
from typing import Any, Dict, List, Optional


class BuelonError(Exception):
    """An error with a hint. `report` shows it as the command line would."""

    exit_code = 70

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n hint: {self.hint}" if self.hint else self.message

    def report(self) -> int:
        """Prints the error and its hint to standard error; gives the exit code for it."""
        print(f"error: {self}", file=sys.stderr)
        return self.exit_code


class SettingError(BuelonError):
    """A setting, or an argument in its place, is malformed."""

    exit_code = 2


class BundleError(BuelonError):
    """The script or a file of its folder cannot be sent."""

    exit_code = 2


class ScriptError(BuelonError):
    """The hub found errors in the script. Nothing was stored."""

    exit_code = 2

    def __init__(self, message: str, diagnostics: List[Dict[str, Any]], rendered: Optional[str]) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
        """What is wrong, as data: kind, file, line, column, message, hint."""
        self.rendered = rendered
        """The same as text with excerpts."""

    def __str__(self) -> str:
        return self.rendered.rstrip("\n") if self.rendered else self.message

    def report(self) -> int:
        """Prints the diagnostics as the hub rendered them."""
        print(self.rendered.rstrip("\n") if self.rendered else f"error: {self.message}", file=sys.stderr)
        return self.exit_code


class HubUnreachable(BuelonError):
    """Nobody answers at the hub's address, or what answers is no hub, or it cannot answer now."""

    exit_code = 3


class Refused(BuelonError):
    """The hub refuses the token, or wants one and none is known."""

    exit_code = 4


class HubError(BuelonError):
    """Any other error that the hub answers with."""

    def __init__(self, message: str, hint: Optional[str], kind: str) -> None:
        super().__init__(message, hint)
        self.kind = kind
        """`not_found`, `invalid`, `conflict`, `too_large`, `internal` …"""
        self.exit_code = 70 if kind == "internal" else 2


class WaitTimeout(BuelonError, TimeoutError):
    """The run had not ended when the time to wait was over. It goes on."""

    exit_code = 1


class MissingFiles(Exception):
    """The hub needs these files first. Never leaves the client: the upload sends them and asks again."""

    def __init__(self, missing: List[str]) -> None:
        super().__init__(f"{len(missing)} files are missing")
        self.missing = missing
