"""The steps of `example.bue`; started as a program, it uploads that script and shows what came of it.

Each function is one step: it takes what the step before it returned, and runs in a process of its own, perhaps on
another machine. What it prints or logs is kept with its job (`bue logs JOB`).
"""

import logging
import random
import time
import uuid
from typing import Any, Dict, List, Union

from buelon.core.step import Result, StepStatus

logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(levelname)s - %(message)s")
logger = logging.getLogger(__name__)

Record = Dict[str, Any]


def accounts() -> List[Record]:
    """The accounts to report on. The script loops over this list."""
    account_list = [
        {"id": 0, "name": "Account 1"},
        {"id": 2, "name": "Account 2"},
        {"id": 3, "name": "Account 4"},
    ]
    logger.info("retrieved %d accounts", len(account_list))
    return account_list


def request_report(account: Record) -> Record:
    """Asks the API for a report, which takes it a few seconds to make."""
    request = {
        "report_id": uuid.uuid4(),  # travels as text
        "time": time.time(),
        "ready_after": random.uniform(2, 5),
    }
    logger.info("requested report %s for account %s", request["report_id"], account["id"])
    return {"account": account, "request": request}


def get_status(config: Record) -> Union[Record, Result]:
    """Passes the request on when its report is ready.

    While it is not, the answer is `pending`: the step runs again later. Until then it takes no worker, and it spends
    no retry.
    """
    request = config["request"]
    if time.time() < request["time"] + request["ready_after"]:
        logger.info("report %s is pending", request["report_id"])
        return Result(status=StepStatus.pending)
    logger.info("report %s is ready", request["report_id"])
    return config


def get_report(config: Record) -> Union[List[Record], Result]:
    """Downloads the report: a list of flat records, which the SQL step that follows takes as its table.

    The API sometimes loses a report. The answer is then `reset`: the pipe starts again from its first step, and so
    asks for a new one.
    """
    account = config["account"]
    answer = simulated_download()
    if answer == {"status": "error", "msg": "timeout error"}:
        logger.warning("timeout for account %s: starting its pipe again", account["id"])
        return Result(status=StepStatus.reset)
    if not isinstance(answer, list):
        raise ValueError(f"unexpected answer for account {account['id']}: {answer}")
    logger.info("downloaded %d rows for account %s", len(answer), account["id"])
    # The table is all that the next step gets, so each row says whose it is.
    return [{"account_id": account["id"], "account": account["name"], **row} for row in answer]


def simulated_download() -> Union[Record, List[Record]]:
    """Stands for a call of a real API."""
    if random.randint(0, 10) == 0:
        return {"status": "error", "msg": "timeout error"}
    return [{"sales": i * 10, "spend": i % 10, "clicks": i * 13} for i in range(random.randint(25, 100))]


def transform_data(table: List[Record]) -> List[Record]:
    """Adds what is easier to say in Python than in SQL. What it returns is what the next step gets."""
    for row in table:
        row["verdict"] = "pause" if row["acos"] > 0.3 else "keep"
    logger.info("transformed %d rows", len(table))
    return table


def upload_to_db(table: List[Record]) -> Record:
    """Stands for a load into a database, and returns what was loaded.

    A step may run twice, such as when its worker is lost just before it could report. So a real load is made to be
    repeated: an upsert by a key of the data, or by the environment variable BUE_ATTEMPT_KEY, which is the same for
    every attempt of one job. `examples/ads-report` shows one.
    """
    account = table[0]["account"]
    logger.info("uploaded %d rows for %s", len(table), account)
    return {"account": account, "rows": len(table), "sales": sum(row["sales"] for row in table)}


def main() -> int:
    """Uploads `example.bue` to the hub, waits for it and prints its results."""
    from pathlib import Path

    import buelon  # pip install ./runner-python

    try:
        run = buelon.upload(Path(__file__).with_name("example.bue"))
        for result in run.results():
            print(f"{result.pipe}: {result.state} {result.value}")
    except buelon.BuelonError as error:
        return error.report()
    return 0 if run.succeeded else 1


if __name__ == "__main__":
    raise SystemExit(main())
