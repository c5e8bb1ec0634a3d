"""The example's steps against its simulated API, without an engine."""

import multiprocessing
import os
import sqlite3
from typing import Any, Dict, List

import pytest

import ads_client
import check
import steps
import warehouse
from buelon.core.step import Result, StepStatus
from engine import Engine


def load_all(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setenv("BUE_RUN", "r1")
    for account in engine.run_step(steps.accounts):
        monkeypatch.setenv("BUE_ATTEMPT_KEY", f"r1/j{account['id']}")
        engine.run_pipe(account)
    return engine


def test_every_account_is_loaded_once_through_all_faults(
    settings: Dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = load_all(monkeypatch)
    assert check.main() == 0, capsys.readouterr().err
    assert min(engine.seen.values()) > 0, f"each kind of fault must be met: {engine.seen}"
    stats = ads_client.get("/stats")
    assert {int(call.split()[-1]) for call in stats["calls"]} >= {200, 202, 429, 500}
    downloaded = [report["account_id"] for report in stats["reports"] if report["downloads"]]
    assert sorted(downloaded) == list(range(1, 13))


def test_a_load_that_runs_twice_leaves_the_same_rows(settings: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load_all(monkeypatch)
    account = ads_client.get("/accounts")[0]
    monkeypatch.setenv("BUE_ATTEMPT_KEY", f"r1/j{account['id']}")
    before = dump(settings, "campaigns")
    Engine().run_pipe(account)
    assert dump(settings, "campaigns") == before
    assert check.main() == 0
    assert [row["times"] for row in dump(settings, "loads") if row["account_id"] == account["id"]] == [2]


def test_an_account_that_two_jobs_loaded_is_found(settings: Dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    load_all(monkeypatch)
    monkeypatch.setenv("BUE_ATTEMPT_KEY", "r1/j99")
    Engine().run_pipe(ads_client.get("/accounts")[2])
    assert check.main() == 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM campaigns WHERE account_id = 3",
        "UPDATE campaigns SET sales_cents = sales_cents + 1 WHERE account_id = 5 AND place = 1",
        "DELETE FROM loads WHERE account_id = 4",
        "UPDATE campaigns SET account_id = 77 WHERE account_id = 3",
    ],
)
def test_a_wrong_load_is_found(settings: Dict[str, Any], monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    load_all(monkeypatch)
    with sqlite3.connect(settings["database"]) as connection:
        connection.execute(damage)
    assert check.main() == 1


def test_a_missing_database_is_named_and_not_made(settings: Dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main() == 1
    assert settings["database"] in capsys.readouterr().err
    assert check.main() == 1


def load_rows(settings: Dict[str, Any], account_id: int, key: str) -> None:
    """Runs in a process of its own, which knows nothing of the fixtures."""
    ads_client.settings = lambda: settings  # type: ignore[assignment]
    os.environ.update(BUE_RUN="r1", BUE_ATTEMPT_KEY=key)
    warehouse.load([row(account_id, campaign) for campaign in ("Brand", "Video")])


def row(account_id: int, campaign: str) -> Dict[str, Any]:
    numbers = {name: 1 for name in warehouse.COLUMNS}
    return {
        **numbers,
        "account_id": account_id,
        "account": "A",
        "currency": "EUR",
        "campaign": campaign,
        "verdict": "keep",
    }


def test_many_processes_load_at_once(settings: Dict[str, Any]) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(settings, number % 6, f"r1/j{number % 6}") for number in range(12)]
    processes = [context.Process(target=load_rows, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 12
    assert len(dump(settings, "campaigns")) == 12
    assert sorted(load["times"] for load in dump(settings, "loads")) == [2] * 6


def test_the_summary_waits_for_every_account_and_then_lists_them(
    settings: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = ads_client.get("/accounts")
    monkeypatch.setenv("BUE_RUN", "r1")
    early = warehouse.summary(warehouse.start_clock(), accounts)
    assert isinstance(early, Result) and early.status == StepStatus.pending
    with pytest.raises(TimeoutError, match="Account 001, Account 002"):
        warehouse.summary(warehouse.start_clock() - 1, accounts)
    load_all(monkeypatch)
    figures = ads_client.get("/figures")
    summary = warehouse.summary(warehouse.start_clock(), accounts)
    assert [(line["account_id"], round(line["sales"] * 100)) for line in summary] == [
        (account["id"], figures[str(account["id"])]["sales_cents"]) for account in accounts
    ]


def test_an_unreachable_api_is_an_error_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ads_client, "settings", lambda: {"api": "http://127.0.0.1:9"})
    with pytest.raises(OSError):
        steps.accounts()


@pytest.mark.parametrize(
    ("acos", "spend", "place", "expected"),
    [
        (None, 5, 1, "stop"),
        (None, 0, 1, "wait"),
        (0.5, 5, 1, "lower bids"),
        (0.2, 5, 1, "raise bids"),
        (0.2, 5, 2, "keep"),
    ],
)
def test_a_verdict_follows_the_figures(acos: float, spend: int, place: int, expected: str) -> None:
    assert steps.verdict({"acos": acos, "spend_cents": spend, "place": place}) == expected


def dump(settings: Dict[str, Any], table: str) -> List[Dict[str, Any]]:
    connection = sqlite3.connect(settings["database"])
    connection.row_factory = sqlite3.Row
    try:
        return [dict(each) for each in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 4")]
    finally:
        connection.close()
