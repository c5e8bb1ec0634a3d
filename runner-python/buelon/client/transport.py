"""Requests to the hub, tried again while it is away. Knows status codes, not what the answers mean."""

import http.client
import json
import time
from typing import Any, Callable, Dict, NoReturn, Optional

from buelon.client.errors import BuelonError, HubError, HubUnreachable, MissingFiles, Refused, ScriptError
from buelon.client.settings import Address, Settings

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 30.0
TRANSFER_TIMEOUT_S = 600.0
"""Longest time to send or fetch one file or value."""
PATIENCE_S = 5.0
"""How long a request is tried while nobody answers: what people wait without wondering."""
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.0
ANSWER_BYTES_MAX = 256 << 20
TOKEN_HINT = (
    "set BUE_TOKEN to what the hub keeps in hub/token of its data folder, "
    "or BUE_DATA_DIR to that folder on this machine"
)

Json = Dict[str, Any]


class Passing(Exception):
    """A failed try that may succeed a moment later; carries the error to raise when patience ends."""

    def __init__(self, error: BuelonError) -> None:
        super().__init__(error.message)
        self.error = error


class Hub:
    """The hub at an address. Not for several threads at once."""

    def __init__(self, address: Address, settings: Settings) -> None:
        self.address = address
        self._settings = settings
        self._answer_bytes_max = settings.count("BUE_ANSWER_BYTES_MAX", ANSWER_BYTES_MAX)
        self._connection: Optional[http.client.HTTPConnection] = None

    def get(self, route: str, **options: Any) -> Any:
        """The JSON that a GET answers. Options are those of `request`."""
        return self._parse(self.request("GET", route, **options))

    def post(self, route: str, question: Any, **options: Any) -> Any:
        """The JSON that a POST of JSON answers. Every POST here may be repeated."""
        body = json.dumps(question, ensure_ascii=False).encode()
        return self._parse(self.request("POST", route, body=body, kind="application/json", **options))

    def put(self, route: str, content: bytes) -> None:
        """Sends a content that is named by its digest."""
        self.request("PUT", route, body=content, kind="application/octet-stream", timeout_s=TRANSFER_TIMEOUT_S)

    def request(
        self,
        method: str,
        route: str,
        *,
        body: Optional[bytes] = None,
        kind: Optional[str] = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        patience_s: Optional[float] = PATIENCE_S,
        note: Optional[Callable[[str], None]] = None,
    ) -> bytes:
        """The body of a good answer; tries until there is one or patience (`None`: endless) ends.

        `note` is told once when the hub stays away, and when it is back.
        """
        begin = time.monotonic()
        pause_s = PAUSE_FIRST_S
        told = False
        while True:
            try:
                answer = self._try(method, route, body, kind, timeout_s)
            except Passing as failed:
                away_s = time.monotonic() - begin
                if patience_s is not None and away_s + pause_s > patience_s:
                    raise failed.error from None
                if note and not told and away_s > PAUSE_MAX_S:
                    told = True
                    note(f"{failed}; trying again")
            else:
                if note and told:
                    note(f"hub at {self.address} is back")
                return answer
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _try(self, method: str, route: str, body: Optional[bytes], kind: Optional[str], timeout_s: float) -> bytes:
        token = self._settings.token()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if kind:
            headers["Content-Type"] = kind
        try:
            connection = self._connect()
            assert connection.sock
            connection.sock.settimeout(timeout_s)
            connection.request(method, f"/v1/{route}", body, headers)
            answer = connection.getresponse()
            content = answer.read(self._answer_bytes_max + 1)
            if not answer.isclosed() or answer.will_close:
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Passing(self._unreachable(error)) from None
        except BaseException:
            # Such as Ctrl-C: half an answer may be left on the connection.
            self.close()
            raise
        if len(content) > self._answer_bytes_max:
            message = f"the answer of hub at {self.address} is over the limit of {self._answer_bytes_max} bytes"
            raise HubError(message, "BUE_ANSWER_BYTES_MAX raises the limit", "too_large")
        if 200 <= answer.status < 300:
            return content
        self._refuse(answer.status, content, token is not None)

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=CONNECT_TIMEOUT_S)
            connection.connect()
            self._connection = connection
        elif self._connection.sock is None:
            self._connection.timeout = CONNECT_TIMEOUT_S
            self._connection.connect()
        return self._connection

    def close(self) -> None:
        """Closes the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refuse(self, status: int, content: bytes, token_sent: bool) -> NoReturn:
        try:
            body = json.loads(content)
            error = body["error"]
            kind, message, hint = str(error["kind"]), str(error["message"]), error.get("hint")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._nonsense(f"HTTP status {status}") from None
        if kind == "unauthorized" and token_sent:
            raise Refused(f"hub at {self.address} refuses the token", TOKEN_HINT)
        if kind == "unauthorized":
            # The hub may be about to make its token.
            raise Passing(Refused(f"hub at {self.address} wants a token, and none is known here", TOKEN_HINT))
        if kind == "unavailable":
            raise Passing(HubUnreachable(f"hub at {self.address} cannot answer now: {message}", hint))
        if kind == "script":
            raise ScriptError(message, body.get("diagnostics", []), body.get("rendered"))
        if kind == "missing_files":
            raise MissingFiles(body.get("missing", []))
        raise HubError(message, hint, kind)

    def _parse(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            raise self._nonsense(str(error)) from None

    def _nonsense(self, reason: str) -> HubUnreachable:
        message = f"what answers at {self.address} is not a hub of this version: {reason}"
        return HubUnreachable(
            message, "is the port right? hub=, or PIPELINE_HOST and PIPELINE_PORT, name another place"
        )

    def _unreachable(self, error: Exception) -> HubUnreachable:
        reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        hint = (
            f"is it running? `bue hub -b {self.address}` starts one; hub=, or PIPELINE_HOST and PIPELINE_PORT, name "
            "another place"
        )
        return HubUnreachable(f"hub at {self.address} cannot be reached: {reason}", hint)
