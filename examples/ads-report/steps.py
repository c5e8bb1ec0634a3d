"""The steps that talk to the API, and the one that judges what came back."""

import functools
import logging
from typing import Any, Callable, Dict, List, TypeVar

import ads_client
from buelon.core.step import Result, StepStatus

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
logger = logging.getLogger(__name__)

Record = Dict[str, Any]
Step = TypeVar("Step", bound=Callable[..., Any])

TARGET_ACOS = 0.30
"""Spend per sales that a campaign should stay under."""


def patient(step: Step) -> Step:
    """Makes a step `pending` when the API has had too many calls.

    Sleeping here would hold a worker; a pending job holds nothing, and spends no retry.
    """

    @functools.wraps(step)
    def wrapper(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except ads_client.TooManyCalls as error:
            logger.info("pending: %s", error)
            return Result(status=StepStatus.pending)

    return wrapper  # type: ignore[return-value]


@patient
def accounts() -> List[Record]:
    """All accounts: `[{"id", "name", "currency"}]`."""
    found = ads_client.get("/accounts")
    logger.info("%d accounts", len(found))
    return found


@patient
def request_report(account: Record) -> Record:
    """Asks for a report of the account. The API makes it in its own time."""
    report = ads_client.post("/reports", {"account_id": account["id"]})
    logger.info("requested %s for %s", report["report_id"], account["name"])
    return {"account": account, "report_id": report["report_id"]}


@patient
def get_status(request: Record) -> Any:
    """Passes the request on when its report is ready."""
    report = ads_client.get(f"/reports/{request['report_id']}")
    if report["status"] != "ready":
        logger.info("%s is %s", request["report_id"], report["status"])
        return Result(status=StepStatus.pending)
    return request


@patient
def get_report(request: Record) -> Any:
    """Downloads the report as a table: one flat record for each campaign and day.

    When the API has lost the report, nothing but a new one helps, so the pipe starts again from its first step.
    """
    account = request["account"]
    answer = ads_client.get(f"/reports/{request['report_id']}/download")
    if isinstance(answer, dict) and answer.get("message") == "timeout":
        logger.warning("%s timed out: asking for a new one", request["report_id"])
        return Result(status=StepStatus.reset)
    if not isinstance(answer, list):
        raise ValueError(f"unexpected answer for account {account['id']}: {answer}")
    logger.info("%d rows for %s", len(answer), account["name"])
    # The rows are all that the SQL step gets, so each says whose it is.
    owner = {"account_id": account["id"], "account": account["name"], "currency": account["currency"]}
    return [{**owner, **row} for row in answer]


def transform_rows(rows: List[Record]) -> List[Record]:
    """Adds a verdict to each campaign."""
    return [{**row, "verdict": verdict(row)} for row in rows]


def verdict(row: Record) -> str:
    """What to do with a campaign."""
    if row["acos"] is None:
        return "stop" if row["spend_cents"] else "wait"
    if row["acos"] > TARGET_ACOS:
        return "lower bids"
    return "raise bids" if row["place"] == 1 else "keep"
