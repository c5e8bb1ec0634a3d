"""A small hub for the tests: the routes that the client uses, and faults on demand."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-fake-hub"
RUN = "r0123456789ab"
Answer = Tuple[int, Any]


def error(status: int, kind: str, message: str, **more: Any) -> Answer:
    """An error as a hub answers it."""
    return status, {"error": {"kind": kind, "message": message, "hint": None}, **more}


class FakeHub:
    """What the hub holds. Tests set `fault` and `views` before they call it."""

    def __init__(self, port: int = 0) -> None:
        self.files: Dict[str, bytes] = {}
        self.calls: List[Tuple[str, str]] = []
        self.submits: List[Dict[str, Any]] = []
        self.keys: Dict[str, Dict[str, Any]] = {}
        self.warnings: List[Dict[str, Any]] = []
        self.views = [self.view("running", 1, available=2), self.view("succeeded", 2, succeeded=2)]
        self.results: List[Dict[str, Any]] = []
        self.results_max = 1_000
        self.jobs: List[Dict[str, Any]] = []
        self.values: Dict[str, Any] = {}
        self.fault: Callable[[str, str], Optional[Answer]] = lambda method, path: None
        """Called before each request; what it gives is the answer. `DROP` cuts the connection instead."""
        self.token: Optional[str] = TOKEN
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.hub = self
        self.port = self.server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Ends it, connections included: nobody answers on its port."""
        self.server.shutdown()
        self.server.server_close()
        self.server.cut()
        self.thread.join()

    @staticmethod
    def view(state: str, version: int, **counts: int) -> Dict[str, Any]:
        """A run as it travels."""
        finished = None if state == "running" else 1_700_000_001_000
        return {
            "id": RUN,
            "script": "x.bue",
            "state": state,
            "counts": {"waiting": 0, "available": 0, "leased": 0, **counts, "a_state_of_later": 0},
            "created_ms": 1_700_000_000_000,
            "finished_ms": finished,
            "version": version,
        }

    def answer(self, method: str, url: str, body: bytes, token: Optional[str]) -> Answer:
        """The answer to one request."""
        parts = urlsplit(url)
        self.calls.append((method, url))
        fault = self.fault(method, parts.path)
        if fault is not None:
            return fault
        if token != (self.token and f"Bearer {self.token}"):
            return error(401, "unauthorized", "the token is not this hub's")
        return self._route(method, parts.path.split("/")[2:], parse_qs(parts.query), body)

    def _route(self, method: str, path: List[str], query: Dict[str, List[str]], body: bytes) -> Answer:
        if (method, path) == ("POST", ["bundles"]):
            return 200, {"missing": self._missing(json.loads(body))}
        if method == "PUT" and path[0] == "files":
            assert hashlib.sha256(body).hexdigest() == path[1]
            self.files[path[1]] = body
            return 204, None
        if (method, path) == ("POST", ["runs"]):
            return self._submit(json.loads(body))
        if path[0] == "jobs":
            return self._job(path[1], path[2])
        if path[:2] != ["runs", RUN]:
            return error(404, "not_found", f"there is no {'/'.join(path)}")
        if path[2:] == ["results"]:
            start = int(query["skip"][0])
            end = start + min(int(query["limit"][0]), self.results_max)
            return 200, {"results": self.results[start:end], "truncated": end < len(self.results)}
        if path[2:] == ["jobs"]:
            return 200, self._page(int(query.get("after", ["j-1"])[0][1:]))
        if (method, path[2:]) == ("POST", ["cancel"]):
            self.views = [self.view("cancelled", 9, cancelled=2)]
        elif "version" in query and len(self.views) > 1:
            self.views.pop(0)
        return 200, self.views[0]

    def _missing(self, manifest: Dict[str, Any]) -> List[str]:
        digests = dict.fromkeys(entry["digest"] for entry in manifest["files"])
        return [digest for digest in digests if digest not in self.files]

    def _submit(self, request: Dict[str, Any]) -> Answer:
        missing = self._missing(request["manifest"])
        if missing:
            return error(409, "missing_files", "files are missing", missing=missing)
        self.submits.append(request)
        known = self.keys.setdefault(request["key"], self.views[0])
        repeated = [submit["key"] for submit in self.submits].count(request["key"]) > 1
        return 200, {"run": known, "repeated": repeated, "warnings": self.warnings}

    def _job(self, job: str, what: str) -> Answer:
        if job not in self.values:
            return error(404, "not_found", f"there is no job {job}")
        return 200, self.values[job] if what == "value" else f"log of {job}\n"

    def _page(self, after: int) -> Dict[str, Any]:
        left = [job for job in self.jobs if int(job["id"][1:]) > after]
        return {"jobs": left[:2], "next": left[1]["id"] if len(left) > 2 else None}


DROP: Answer = (0, None)


class Server(ThreadingHTTPServer):
    """Remembers its connections, so that a test can cut them."""

    daemon_threads = True
    hub: FakeHub

    def __init__(self, *arguments: Any) -> None:
        self.open: List[Any] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own."""
        self.open.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        """Ends all connections as the death of the process would."""
        import socket

        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class Handler(BaseHTTPRequestHandler):
    """HTTP around the fake hub."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.hub.answer(self.command, self.path, body, self.headers.get("Authorization"))
        if answer is DROP:
            self.close_connection = True
            return
        status, content = answer
        text = (
            content.encode() if isinstance(content, str) else b"" if content is None else json.dumps(content).encode()
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = _handle

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""
