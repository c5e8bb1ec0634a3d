"""The way of a script to the hub, the wait, and what came of it."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from fake_hub import DROP, RUN, TOKEN, Answer, FakeHub, error

import buelon
from buelon.client import transport

DEADLINE_S = 20


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PAUSE_FIRST_S", 0.01)
    monkeypatch.setattr(transport, "PAUSE_MAX_S", 0.05)


class Faults:
    """Answers the first calls of a route with faults."""

    def __init__(self, method: str, part: str, *answers: Answer) -> None:
        self.method, self.part, self.answers = method, part, list(answers)

    def __call__(self, method: str, path: str) -> Optional[Answer]:
        fits = method == self.method and self.part in path
        return self.answers.pop(0) if fits and self.answers else None


def count(hub: FakeHub, method: str, part: str) -> int:
    return sum(1 for called, url in hub.calls if called == method and part in url)


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_upload_sends_the_files_and_waits_for_the_run(hub: FakeHub, script: Path) -> None:
    run = buelon.upload(script, progress=False)
    assert (run.id, run.state, run.succeeded, run.repeated) == (RUN, "succeeded", True, False)
    (submit,) = hub.submits
    assert submit["script"] == "x.bue"
    assert [entry["path"] for entry in submit["manifest"]["files"]] == ["step.py", "x.bue"]
    assert sorted(hub.files.values()) == sorted(path.read_bytes() for path in script.parent.iterdir())


def test_only_changed_files_travel_again(hub: FakeHub, script: Path) -> None:
    buelon.upload(script, progress=False)
    script.write_text(script.read_text() + "# changed\n")
    buelon.upload(str(script), wait=False, progress=False)
    assert count(hub, "PUT", "/files/") == 3


def test_the_argument_names_the_hub(hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_PORT", "9")
    assert buelon.upload(script, hub=hub.address, wait=False, progress=False).state == "running"


def test_an_env_file_of_the_current_folder_names_hub_and_token(
    hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPELINE_PORT")
    monkeypatch.delenv("BUE_TOKEN")
    Path(".env").write_text(f"PIPELINE_PORT={hub.port}\nBUE_TOKEN={TOKEN}\n")
    assert buelon.upload(script, progress=False).succeeded


def test_the_same_key_is_the_same_run_and_is_told(hub: FakeHub, script: Path, capsys: Any) -> None:
    assert not buelon.upload(script, key="today", wait=False).repeated
    assert buelon.upload(script, key="today", wait=False).repeated
    assert "made by an earlier upload with the key today" in capsys.readouterr().err
    assert [submit["key"] for submit in hub.submits] == ["today", "today"]


def test_uploads_without_a_key_are_different_runs(hub: FakeHub, script: Path) -> None:
    for _ in range(2):
        buelon.upload(script, wait=False, progress=False)
    assert len(hub.keys) == 2


def test_a_lost_answer_to_the_submit_makes_no_second_run(hub: FakeHub, script: Path) -> None:
    submit = hub._submit
    lost: List[Answer] = []

    def lose_the_first(request: Dict[str, Any]) -> Answer:
        answer = submit(request)
        if lost:
            return answer
        lost.append(answer)
        return DROP

    hub._submit = lose_the_first  # type: ignore[method-assign]
    assert buelon.upload(script, wait=False, progress=False).id == RUN
    assert len(hub.submits) == 2 and len(hub.keys) == 1


def test_files_that_the_hub_lost_are_sent_again(hub: FakeHub, script: Path) -> None:
    def forget(method: str, path: str) -> Optional[Answer]:
        if (method, path) == ("POST", "/v1/runs") and count(hub, "POST", "/v1/runs") == 1:
            hub.files.clear()
        return None

    hub.fault = forget
    assert buelon.upload(script, progress=False).succeeded
    assert count(hub, "PUT", "/files/") == 4


def test_a_hub_that_never_keeps_the_files_is_an_error(hub: FakeHub, script: Path) -> None:
    hub.fault = lambda method, path: error(409, "missing_files", "x", missing=[]) if path == "/v1/runs" else None
    with pytest.raises(buelon.HubError, match="does not keep the files"):
        buelon.upload(script, progress=False)


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub: FakeHub, script: Path) -> None:
    busy = error(503, "unavailable", "later")
    hub.fault = Faults("PUT", "/files/", busy, DROP, busy)
    assert buelon.upload(script, progress=False).succeeded


def test_an_unreachable_hub_is_an_error_that_names_its_address(
    hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.stop()
    monkeypatch.setattr(
        transport.Hub.request, "__kwdefaults__", {**transport.Hub.request.__kwdefaults__, "patience_s": 0.2}
    )
    with pytest.raises(buelon.HubUnreachable) as caught:
        buelon.upload(script, progress=False)
    assert hub.address in caught.value.message and f"bue hub -b {hub.address}" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_a_wrong_token_is_refused_at_once(hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUE_TOKEN", "another-token")
    with pytest.raises(buelon.Refused) as caught:
        buelon.upload(script, progress=False)
    assert "BUE_TOKEN" in str(caught.value.hint) and caught.value.exit_code == 4
    assert len(hub.calls) == 1


def test_a_token_that_the_hub_makes_late_is_found(hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUE_TOKEN")
    folder = Path(".bue/hub")

    def make_it(method: str, path: str) -> Optional[Answer]:
        if len(hub.calls) == 3:
            folder.mkdir(parents=True)
            (folder / "token").write_text(TOKEN + "\n")
        return None

    hub.fault = make_it
    assert buelon.upload(script, progress=False).succeeded


def test_a_wrong_script_raises_what_the_hub_rendered(hub: FakeHub, script: Path, capsys: Any) -> None:
    diagnostic = {"kind": "name", "line": 5, "column": 7, "message": "step `t` is not defined"}
    hub.fault = Faults(
        "POST", "/v1/runs", error(422, "script", "wrong", diagnostics=[diagnostic], rendered="error: x.bue:5:7 …\n")
    )
    with pytest.raises(buelon.ScriptError) as caught:
        buelon.upload(script, progress=False)
    assert caught.value.diagnostics == [diagnostic] and str(caught.value) == "error: x.bue:5:7 …"
    assert caught.value.report() == 2
    assert capsys.readouterr().err == "error: x.bue:5:7 …\n"


def test_warnings_and_notes_are_shown(hub: FakeHub, script: Path, capsys: Any) -> None:
    hub.warnings = [{"line": 3, "column": 1, "message": "step `u` is never used"}]
    (script.parent / "dead").symlink_to("nowhere")
    run = buelon.upload(script, wait=False)
    shown = capsys.readouterr().err
    assert "x.bue:3:1: warning: step `u` is never used" in shown and "left out `dead`" in shown
    assert run.warnings == hub.warnings


@pytest.mark.parametrize("answer", [(404, "<html>no such page</html>"), (200, "not json"), (500, {"error": "text"})])
def test_something_that_is_no_hub_is_named(hub: FakeHub, script: Path, answer: Answer) -> None:
    hub.fault = lambda method, path: answer
    with pytest.raises(buelon.HubUnreachable, match="is not a hub of this version"):
        buelon.upload(script, progress=False)


def test_other_errors_keep_their_kind_message_and_hint(hub: FakeHub, script: Path) -> None:
    body = {"error": {"kind": "too_large", "message": "over the limit", "hint": "raise it"}}
    hub.fault = lambda method, path: (413, body)
    with pytest.raises(buelon.HubError) as caught:
        buelon.upload(script, progress=False)
    assert (caught.value.kind, str(caught.value)) == ("too_large", "over the limit\n hint: raise it")


def test_an_answer_over_the_limit_is_an_error_that_names_the_setting(
    hub: FakeHub, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUE_ANSWER_BYTES_MAX", "1KiB")
    hub.values["j1"] = "x" * 2_000
    with pytest.raises(buelon.HubError, match="BUE_ANSWER_BYTES_MAX"):
        buelon.find_run(RUN).log("j1") and buelon.find_run(RUN)._hub.get("jobs/j1/value")


def test_the_wait_survives_a_restart_of_the_hub(hub: FakeHub, script: Path, capsys: Any) -> None:
    hub.views = [hub.view("running", 1, available=2)]
    run = buelon.upload(script, wait=False, progress=False)
    waiter = threading.Thread(target=run.wait, kwargs={"progress": True}, daemon=True)
    waiter.start()
    wait_until(lambda: count(hub, "GET", "wait_ms=") > 0)
    hub.stop()
    shown: List[str] = []
    wait_until(lambda: shown.append(capsys.readouterr().err) or "trying again" in "".join(shown))
    again = FakeHub(hub.port)
    try:
        again.views = [again.view("running", 5, leased=1, succeeded=1), again.view("succeeded", 6, succeeded=2)]
        waiter.join(DEADLINE_S)
        assert not waiter.is_alive() and run.succeeded
    finally:
        again.stop()
    shown.append(capsys.readouterr().err)
    text = "".join(shown)
    assert f"hub at {hub.address} cannot be reached" in text and f"hub at {hub.address} is back" in text


def test_a_wait_that_takes_too_long_ends_and_the_run_goes_on(hub: FakeHub, script: Path) -> None:
    hub.views = [hub.view("running", 1, available=2)]
    run = buelon.upload(script, wait=False, progress=False)
    with pytest.raises(buelon.WaitTimeout) as caught:
        run.wait(timeout_s=0.3)
    assert isinstance(caught.value, TimeoutError) and run.state == "running"
    hub.views = [hub.view("succeeded", 3, succeeded=2)]
    assert run.wait(timeout_s=DEADLINE_S).state == "succeeded"


def test_a_wait_with_a_limit_ends_while_the_hub_is_away(hub: FakeHub, script: Path) -> None:
    hub.views = [hub.view("running", 1)]
    run = buelon.upload(script, wait=False, progress=False)
    hub.stop()
    begin = time.monotonic()
    with pytest.raises(buelon.BuelonError):
        run.wait(timeout_s=0.3)
    assert time.monotonic() - begin < DEADLINE_S


def test_results_are_in_order_small_values_inside_and_large_ones_fetched_once(hub: FakeHub, script: Path) -> None:
    big = {"place": {"object": {"key": "runs/x", "format": "arrow", "bytes": 9}}, "kind": "table", "length": 1}
    small = {"place": {"json": {"a": 10**30}}, "kind": "dict", "length": 1}
    hub.results = [
        {"pipe": "p", "variable": "v", "job": "j1", "state": "succeeded", "value": small},
        {"pipe": "q", "variable": None, "job": "j2", "state": "succeeded", "value": big},
        {"pipe": "q", "variable": None, "job": "j3", "state": "failed", "value": None},
    ]
    hub.values["j2"] = [{"a": 1}]
    results = buelon.upload(script, progress=False).results()
    assert [(each.pipe, each.variable, each.state) for each in results] == [
        ("p", "v", "succeeded"),
        ("q", None, "succeeded"),
        ("q", None, "failed"),
    ]
    assert [results[0].value, results[1].value, results[1].value, results[2].value] == [
        *[{"a": 10**30}, [{"a": 1}], [{"a": 1}], None]
    ]
    assert count(hub, "GET", "/value") == 1
    assert len(buelon.find_run(RUN).results(limit=2)) == 2


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_all_results_come_however_few_the_hub_gives_at_once(hub: FakeHub, script: Path, most: int) -> None:
    result = {"pipe": "p", "variable": None, "state": "succeeded", "value": None}
    hub.results = [{**result, "job": f"j{number}"} for number in range(5)]
    hub.results_max = most
    run = buelon.upload(script, progress=False)
    assert [each.job for each in run.results()] == ["j0", "j1", "j2", "j3", "j4"]
    assert [each.job for each in run.results(limit=3)] == ["j0", "j1", "j2"]


def test_failures_are_found_over_all_pages_up_to_the_limit(hub: FakeHub, script: Path, capsys: Any) -> None:
    lost = {"kind": "exception", "message": "ValueError: no report", "trace": "Traceback …"}
    hub.jobs = [{"id": f"j{number}", "name": "s", "state": "succeeded", "attempts": 1} for number in range(7)]
    for number in (1, 4, 6):
        hub.jobs[number].update(state="failed", error=lost, attempts=3)
    hub.views = [hub.view("failed", 2, failed=3, succeeded=4)]
    run = buelon.upload(script)
    assert not run.succeeded and run.state == "failed"
    assert "failed: s (j4): ValueError: no report" in capsys.readouterr().err
    failures = run.failures()
    assert [failure.job for failure in failures] == ["j1", "j4", "j6"]
    assert (failures[0].kind, failures[0].trace, failures[0].attempts) == ("exception", "Traceback …", 3)
    assert [failure.job for failure in run.failures(limit=2)] == ["j1", "j4"]
    assert run.failures(limit=0) == []


def test_a_run_can_be_looked_at_cancelled_and_its_logs_read(hub: FakeHub, script: Path) -> None:
    hub.views = [hub.view("running", 1, pending=1, leased=1)]
    run = buelon.upload(script, wait=False, progress=False)
    status = run.status()
    assert (status.counts.pending, status.counts.total, status.finished_ms, status.is_over) == (1, 2, None, False)
    assert str(status) == f"run {RUN} running: 0 of 2 jobs done, 1 leased, 1 parked"
    hub.values["j1"] = 1
    assert run.log("j1") == "log of j1\n"
    assert run.cancel().state == "cancelled" and run.state == "cancelled"


def test_an_unknown_run_is_an_error(hub: FakeHub, script: Path) -> None:
    with pytest.raises(buelon.HubError) as caught:
        buelon.find_run("r../../x")
    assert caught.value.kind == "not_found"


def test_a_status_that_cannot_be_read_is_an_error(hub: FakeHub, script: Path) -> None:
    hub.views = [{"id": RUN}]
    with pytest.raises(buelon.BuelonError, match="of the same version"):
        buelon.find_run(RUN)


def test_the_older_name_uploads_and_returns_at_once(hub: FakeHub, script: Path) -> None:
    from buelon.hub import upload_pipe_code_from_file

    assert upload_pipe_code_from_file(str(script)).state == "running"


def test_importing_the_package_loads_no_client() -> None:
    code = "import sys, buelon; print([name for name in sys.modules if name.startswith(('buelon.', 'http', 'urllib'))])"
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_names_that_the_package_does_not_have_are_attribute_errors() -> None:
    assert "upload" in dir(buelon)
    with pytest.raises(AttributeError, match="no attribute 'uplaod'"):
        buelon.uplaod  # type: ignore[attr-defined]  # noqa: B018
