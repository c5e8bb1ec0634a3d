"""Compares what was loaded with the API's own figures.

    python3 check.py

Exit 0 when every account was loaded exactly once in each run and all sums agree, else 1 with every difference named.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List

import ads_client

SUMS = ("impressions", "clicks", "orders", "sales_cents", "spend_cents")


def differences(figures: Dict[str, Dict[str, Any]], database: str) -> List[str]:
    """Everything in the database that is not as the figures say, in sentences."""
    if not Path(database).exists():
        return [f"there is no database {database}: nothing was loaded"]
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        return account_differences(figures, connection) + load_differences(figures, connection)


def account_differences(figures: Dict[str, Dict[str, Any]], connection: sqlite3.Connection) -> List[str]:
    """Differences between the loaded rows and the figures, account by account."""
    sums = ", ".join(f"sum({name}) AS {name}" for name in SUMS)
    query = f"SELECT account_id, count(*) AS campaigns, {sums} FROM campaigns GROUP BY account_id"
    loaded = {str(row["account_id"]): row for row in connection.execute(query)}
    found = [
        f"account {account_id} is loaded, but the API has none" for account_id in loaded if account_id not in figures
    ]
    for account_id, expected in figures.items():
        if account_id not in loaded:
            found.append(f"account {account_id} is not loaded")
            continue
        for name, value in expected.items():
            if loaded[account_id][name] != value:
                found.append(f"account {account_id}: {name} is {loaded[account_id][name]}, expected {value}")
    return found


def load_differences(figures: Dict[str, Dict[str, Any]], connection: sqlite3.Connection) -> List[str]:
    """Accounts that a run loaded by more than one job, or not at all."""
    counts: Dict[str, Dict[str, int]] = {}
    for run, account_id, count in connection.execute("SELECT run, account_id, count(*) FROM loads GROUP BY 1, 2"):
        counts.setdefault(run, {})[str(account_id)] = count
    if not counts:
        return ["no load is on record"]
    return [
        f"run {run}: account {account_id} was loaded by {loads.get(account_id, 0)} jobs, expected 1"
        for run, loads in counts.items()
        for account_id in figures
        if loads.get(account_id) != 1
    ]


def main() -> int:
    """Prints what is wrong, or how much is right."""
    figures = ads_client.get("/figures")
    database = ads_client.settings()["database"]
    found = differences(figures, database)
    for difference in found:
        print(difference, file=sys.stderr)
    if not found:
        print(f"{len(figures)} accounts are loaded, each exactly once, and all sums agree")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
