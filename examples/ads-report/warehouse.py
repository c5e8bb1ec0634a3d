"""The steps that talk to the database: a load that may be repeated, and a summary of what was loaded.

A step may run twice: when its worker is lost just before it could report, the job runs again. So the load leaves the
same rows however often it runs.
"""

import contextlib
import logging
import os
import sqlite3
import time
from typing import Any, Dict, Iterator, List

import ads_client
from buelon.core.step import Result, StepStatus

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
logger = logging.getLogger(__name__)

Record = Dict[str, Any]

BUSY_TIMEOUT_S = 30
"""How long one load waits while another one writes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS campaigns (
    account_id INTEGER NOT NULL, account TEXT NOT NULL, currency TEXT NOT NULL, campaign TEXT NOT NULL,
    days INTEGER NOT NULL, impressions INTEGER NOT NULL, clicks INTEGER NOT NULL, orders INTEGER NOT NULL,
    sales_cents INTEGER NOT NULL, spend_cents INTEGER NOT NULL, acos REAL, roas REAL, cost_per_click_cents REAL,
    place INTEGER NOT NULL, verdict TEXT NOT NULL,
    PRIMARY KEY (account_id, campaign)
);
CREATE TABLE IF NOT EXISTS loads (
    attempt_key TEXT PRIMARY KEY,  -- one row for each job that loaded, however often it ran
    run TEXT NOT NULL, account_id INTEGER NOT NULL, rows INTEGER NOT NULL, times INTEGER NOT NULL
);
"""

COLUMNS = (
    "account_id account currency campaign days impressions clicks orders sales_cents spend_cents acos roas "
    "cost_per_click_cents place verdict"
).split()


@contextlib.contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """One transaction on the database: all of it or nothing. Many processes may load at once."""
    connection = sqlite3.connect(ads_client.settings()["database"], timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        # Takes the write lock now: one that is only taken later can fail at once instead of waiting for its turn.
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
        yield connection
        connection.execute("COMMIT")
    finally:
        # Rolls back what was not committed.
        connection.close()


def load(rows: List[Record]) -> Record:
    """Replaces the account's rows by these. Once or twice comes to the same."""
    account_id = rows[0]["account_id"]
    run = os.environ.get("BUE_RUN", "by hand")
    # The same for every attempt of this job.
    attempt_key = os.environ.get("BUE_ATTEMPT_KEY", f"by hand/{account_id}")
    places = ", ".join(f":{column}" for column in COLUMNS)
    with transaction() as connection:
        connection.execute("DELETE FROM campaigns WHERE account_id = ?", [account_id])
        connection.executemany(f"INSERT INTO campaigns ({', '.join(COLUMNS)}) VALUES ({places})", rows)
        connection.execute(
            "INSERT INTO loads (attempt_key, run, account_id, rows, times) VALUES (?, ?, ?, ?, 1)"
            " ON CONFLICT (attempt_key) DO UPDATE SET rows = excluded.rows, times = times + 1",
            [attempt_key, run, account_id, len(rows)],
        )
    logger.info("loaded %d rows for %s", len(rows), rows[0]["account"])
    return totals(rows)


def totals(rows: List[Record]) -> Record:
    """The figures of one account in one flat record."""
    sales, spend = (sum(row[column] for row in rows) for column in ("sales_cents", "spend_cents"))
    return {
        "account_id": rows[0]["account_id"],
        "account": rows[0]["account"],
        "campaigns": len(rows),
        "sales": round(sales / 100, 2),
        "spend": round(spend / 100, 2),
        "acos": round(spend / sales, 4) if sales else None,
        "roas": round(sales / spend, 4) if spend else None,
        "best_campaign": rows[0]["campaign"],
    }


def start_clock() -> float:
    """When the run began: the summary counts its patience from here."""
    return time.time()


def summary(started: float, accounts: List[Record]) -> Any:
    """The totals of all accounts, pending until this run has loaded every one of them."""
    run = os.environ.get("BUE_RUN", "by hand")
    with transaction() as connection:
        connection.row_factory = sqlite3.Row
        loaded = {row["account_id"] for row in connection.execute("SELECT account_id FROM loads WHERE run = ?", [run])}
        rows = [dict(row) for row in connection.execute("SELECT * FROM campaigns ORDER BY account_id, place")]
    missing = [account["name"] for account in accounts if account["id"] not in loaded]
    if not missing:
        return [totals([row for row in rows if row["account_id"] == account["id"]]) for account in accounts]
    patience_s = ads_client.settings()["patience_s"]
    if time.time() - started > patience_s:
        raise TimeoutError(f"not loaded after {patience_s} s: {', '.join(missing)}")
    logger.info("pending: %d of %d accounts are loaded", len(loaded), len(accounts))
    return Result(status=StepStatus.pending)
