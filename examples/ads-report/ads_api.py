"""A small simulated advertising API: reports that take seconds, and faults that an API of this kind has.

    python3 ads_api.py --port 8717 --accounts 12 --seed 1

| route | answer |
|---|---|
| `GET /accounts` | `[{"id", "name", "currency"}]` |
| `POST /reports` `{"account_id"}` | 202 `{"report_id", "status": "pending"}` |
| `GET /reports/{id}` | `{"report_id", "status": "pending" or "ready"}` |
| `GET /reports/{id}/download` | the rows, or `{"status": "error", "message": "timeout"}`: the report is lost |
| `GET /figures` | what a correct load comes to, by account |
| `GET /stats` | calls by route and answer, and every report with its downloads |

The faults are the same in every run with the same arguments, and each happens a limited number of times, so that
whoever tries again gets through.
"""

import argparse
import collections
import json
import os
import random
import re
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Counter, Dict, List, Optional, Tuple

Record = Dict[str, Any]
Answer = Tuple[int, Any]

BODY_BYTES_MAX = 65_536
RETRY_AFTER_S = 1
DAYS = 14
CURRENCIES = ("EUR", "USD", "GBP")
FIGURES = ("impressions", "clicks", "orders", "sales_cents", "spend_cents")
CAMPAIGNS = ("Brand", "Generic", "Competitor", "Retargeting", "Video", "Display", "Seasonal", "Clearance")

SERVER_ERROR: Answer = (500, {"message": "internal error"})
TOO_MANY_CALLS: Answer = (429, {"message": "too many calls"})
LOST: Answer = (200, {"status": "error", "message": "timeout"})

# Which accounts meet which fault: every `step`th one from `first` on, at its first call of that kind.
FAULTS: Dict[str, List[Tuple[int, int, Answer]]] = {
    "request": [(4, 1, SERVER_ERROR), (4, 3, TOO_MANY_CALLS)],
    "status": [(3, 0, TOO_MANY_CALLS), (5, 4, SERVER_ERROR)],
    "download": [(4, 2, LOST), (6, 5, SERVER_ERROR)],
}


def report_rows(seed: int, account_id: int) -> List[Record]:
    """The rows of an account's report: one for each campaign and day."""
    dice = random.Random(f"{seed}/{account_id}")
    rows = []
    for campaign in dice.sample(CAMPAIGNS, dice.randint(3, len(CAMPAIGNS))):
        # Some campaigns sell nothing, so that ratios meet a zero.
        sells = dice.random() > 0.15
        for day in range(1, DAYS + 1):
            impressions = dice.randint(500, 20_000)
            clicks = impressions * dice.randint(5, 40) // 1_000
            orders = clicks * dice.randint(0, 15) // 100 if sells else 0
            values = (impressions, clicks, orders, orders * dice.randint(900, 6_000), clicks * dice.randint(15, 90))
            rows.append({"day": f"2026-01-{day:02}", "campaign": campaign, **dict(zip(FIGURES, values))})
    return rows


class Api:
    """What the API knows and answers. Knows nothing of HTTP."""

    def __init__(self, accounts: int, seed: int, seconds: float) -> None:
        self.seed = seed
        self.seconds = seconds
        self.accounts = [
            {"id": number, "name": f"Account {number:03}", "currency": CURRENCIES[number % len(CURRENCIES)]}
            for number in range(1, accounts + 1)
        ]
        self.reports: Dict[str, Record] = {}
        self.calls: Counter[str] = collections.Counter()
        self.asked: Counter[Tuple[str, int]] = collections.Counter()
        self.lock = threading.Lock()

    def answer(self, method: str, path: str, body: Any) -> Answer:
        """The answer to one call, counted."""
        with self.lock:
            route, answer = self._route(method, path, body)
            self.calls[f"{method} {route} {answer[0]}"] += 1
        return answer

    def _route(self, method: str, path: str, body: Any) -> Tuple[str, Answer]:
        if (method, path) == ("GET", "/accounts"):
            return path, (200, self.accounts)
        if (method, path) == ("GET", "/figures"):
            return path, (200, {str(account["id"]): self._figures(account["id"]) for account in self.accounts})
        if (method, path) == ("GET", "/stats"):
            return path, (200, {"calls": dict(self.calls), "reports": list(self.reports.values())})
        if (method, path) == ("POST", "/reports"):
            return path, self._request(body)
        match = re.fullmatch(r"/reports/([^/]+)(/download)?", path)
        if method == "GET" and match:
            report = self.reports.get(match[1])
            route = "/reports/{id}" + (match[2] or "")
            if report is None:
                return route, (404, {"message": f"no report {match[1]}"})
            return route, self._download(report) if match[2] else self._status(report)
        return "other", (404, {"message": f"no route {method} {path}"})

    def _figures(self, account_id: int) -> Record:
        rows = report_rows(self.seed, account_id)
        sums = {name: sum(row[name] for row in rows) for name in FIGURES}
        return {"campaigns": len({row["campaign"] for row in rows}), **sums}

    def _request(self, body: Any) -> Answer:
        account_id = body.get("account_id") if isinstance(body, dict) else None
        if account_id not in [account["id"] for account in self.accounts]:
            return 400, {"message": f"no account {account_id}"}
        fault = self._fault("request", account_id)
        if fault:
            return fault
        number = len(self.reports) + 1
        # Between a third of the time and all of it, and the same for the same report of an account.
        takes = self.seconds * (1 + 2 * random.Random(f"{self.seed}/{account_id}").random()) / 3
        report_id = f"report-{number}"
        self.reports[report_id] = {
            "report_id": report_id,
            "account_id": account_id,
            "ready_at": time.time() + takes,
            "downloads": 0,
        }
        return 202, {"report_id": report_id, "status": "pending"}

    def _status(self, report: Record) -> Answer:
        fault = self._fault("status", report["account_id"])
        if fault:
            return fault
        status = "ready" if time.time() >= report["ready_at"] else "pending"
        return 200, {"report_id": report["report_id"], "status": status}

    def _download(self, report: Record) -> Answer:
        if time.time() < report["ready_at"]:
            return 409, {"message": f"{report['report_id']} is not ready"}
        if report.get("lost"):
            return LOST
        fault = self._fault("download", report["account_id"])
        if fault:
            # A lost report stays lost: only a new one helps.
            report["lost"] = fault is LOST
            return fault
        report["downloads"] += 1
        return 200, report_rows(self.seed, report["account_id"])

    def _fault(self, kind: str, account_id: int) -> Optional[Answer]:
        """The fault that this call meets, if any."""
        count = self.asked[kind, account_id]
        self.asked[kind, account_id] += 1
        faults = [answer for every, first, answer in FAULTS[kind] if account_id % every == first]
        return faults[count] if count < len(faults) else None


class Handler(BaseHTTPRequestHandler):
    """HTTP around the API."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    # Head and body are two writes; without this the second one waits for the client to acknowledge the first.
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:  # noqa: N802 (the name that http.server calls)
        """Answers a GET."""
        self._answer(self.server.api.answer("GET", self.path, None))

    def do_POST(self) -> None:  # noqa: N802
        """Answers a POST with a JSON body."""
        try:
            length = int(self.headers.get("Content-Length", 0))
            if not 0 <= length <= BODY_BYTES_MAX:
                raise ValueError(f"a body has at most {BODY_BYTES_MAX} bytes")
            body = json.loads(self.rfile.read(length))
        except ValueError as error:
            self.close_connection = True
            self._answer((400, {"message": str(error)}))
        else:
            self._answer(self.server.api.answer("POST", self.path, body))

    def _answer(self, answer: Answer) -> None:
        status, body = answer
        text = json.dumps(body).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: `/stats` has the counts."""


class Server(ThreadingHTTPServer):
    """The server, on loopback only."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, api: Api) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api = api


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description="A small simulated advertising API on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8717, help="0: any free one")
    parser.add_argument("--port-file", help="a file to write the port to when calls are answered")
    parser.add_argument("--accounts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0, help="longest time that a report takes")
    options = parser.parse_args()

    server = Server(options.port, Api(options.accounts, options.seed, options.seconds))
    port = server.server_address[1]
    if options.port_file:
        # Renamed into place, so that whoever waits for the file never reads half of it.
        with open(options.port_file + ".new", "w", encoding="utf-8") as file:
            file.write(str(port))
        os.replace(options.port_file + ".new", options.port_file)
    print(f"ads API listens on http://127.0.0.1:{port}", flush=True)
    # shutdown() waits for serve_forever(), so it must not run in the thread that serves.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
