"""What people see of events, tables and errors; what scripts see of them."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from noetl.cli.connection.address import ServerLocation
from noetl.cli.connection.client import Client
from noetl.cli.execute import follow as module
from noetl.cli.execute.follow import exit_code, follow
from noetl.cli.execute.progress import Progress, describe
from noetl.cli.execute.report import print_outcome, print_status
from noetl.cli.execute.wait_reporter import WaitReporter
from noetl.cli.terminal import cell, complain, fitting, print_table
from noetl.errors import Unreachable
from noetl.words import EventType


def event(kind: str, number: int = 1, **given: Any) -> dict[str, Any]:
    return {
        "event_id": str(number),
        "event_type": kind,
        "node_id": given.pop("node_id", "fetch"),
        "node_type": given.pop("node_type", "http"),
        "timestamp": given.pop("timestamp", "2026-01-31T08:00:00Z"),
        "visit": given.pop("visit", 1),
        "attempt": None,
        "duration": None,
        "error": None,
        **given,
    }


class FakeClient(Client):
    """A server that breaks off after some events."""

    def __init__(self, *batches: list[dict[str, Any]] | None, status: str = "completed") -> None:
        super().__init__(ServerLocation("http://127.0.0.1:1"))
        self.batches = list(batches)
        self.status = status
        self.asked: list[int] = []

    def events(self, execution_id: str, after: int) -> Iterator[dict[str, Any]]:
        self.asked.append(after)
        batch = self.batches.pop(0)
        if batch is None:
            raise Unreachable("no server")
        yield from batch
        if self.batches:
            raise Unreachable("it broke off")

    def get(self, path: str, query: Any = None) -> Any:
        return {"status": self.status, "last_event_id": "3", "execution_id": "7"}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


def test_a_broken_stream_goes_on_behind_the_last_event(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient(
        [event("execution_start", 1), event("step_completed", 2)], None, [event("execution_complete", 3)]
    )
    shown = follow(client, "7", Progress(), lambda: client)
    assert shown["execution_id"] == "7"
    assert client.asked == [0, 2, 2]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("the server went away") == 1
    assert printed.err.splitlines()[0] == "✓ fetch"


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONNECT_SECONDS", -1.0)
    client = FakeClient(None, None, None)
    with pytest.raises(Unreachable, match="noetl execute watch 7 follows it again"):
        follow(client, "7", Progress(quiet=True), lambda: client)


def test_every_event_can_be_shown() -> None:
    for kind in EventType:
        describe(event(kind))
    assert describe(event("step_queued")) is None
    assert describe(event("step_completed", duration=1.234)) == "fetch in 1.23 s"
    assert describe(event("step_failed", visit=2, error={"message": "a\nb"})) == "fetch (visit 2) failed: a b"
    assert describe(event("attempt_failed", attempt=3)) == "fetch attempt 3 failed"
    again = event("attempt_failed", attempt=1, meta={"max_attempts": 3, "delay": 2.0}, error={"message": "no"})
    assert describe(again) == "fetch attempt 1 of 3 failed: no; again in 2 s"
    given_up = event("step_failed", error={"message": "no", "attempt": 3, "max_attempts": 3})
    assert describe(given_up) == "fetch failed, attempt 3 of 3: no"
    assert describe(event("execution_failed", node_id=None, visit=None, error={"message": "x"})) == (
        "execution failed: x"
    )


def test_a_reason_is_shown_once_below_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    broken = {"message": "no", "detail": {"exit_code": 3}}
    progress.show(event("attempt_failed", attempt=1, error=broken))
    progress.show(event("attempt_failed", attempt=2, error=broken))
    progress.show(event("step_failed", attempt=3, error=broken))
    progress.show(event("step_failed", node_id="other", error={"message": "no", "detail": {"exit_code": 4}}))
    assert capsys.readouterr().err.splitlines() == [
        "↻ fetch attempt 1 failed: no",
        "    exit code: 3",
        "↻ fetch attempt 2 failed: no",
        "✗ fetch failed: no",
        "✗ other failed: no",
        "    exit code: 4",
    ]


def test_what_is_waited_for_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    wait = {
        "execution_id": "1",
        "step": "a",
        "visit": 1,
        "item_index": -1,
        "kind": "worker",
        "until": None,
        "text": "t",
    }
    reporter = WaitReporter(list, Progress())
    reporter.report([wait, {**wait, "kind": "running"}])
    reporter.report([wait, {**wait, "step": None, "kind": "paused"}])
    assert capsys.readouterr().err.splitlines() == ["· a: t", "· t"]


def test_a_table_gives_way_where_a_terminal_is_narrow() -> None:
    assert fitting([18, 30, 40], [4, 4, 4], [True, False, False], 60) == [18, 19, 19]
    assert fitting([18, 30], [4, 4], [True, False], 20) == [18, 6]
    assert fitting([5, 5], [4, 4], [False, False], 80) == [5, 5]


def test_only_a_completed_execution_exits_with_0() -> None:
    assert [exit_code(status) for status in ("completed", "failed", "cancelled")] == [0, 1, 1]


def test_a_pipe_gets_tab_separated_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "b"), [{"a": "x\ty\n", "b": {"c": 1}}, {"a": None}], empty="nothing")
    assert capsys.readouterr().out == 'a\tb\nx y \t{"c": 1}\n\t\n'
    print_table(("a",), [], empty="nothing")
    assert capsys.readouterr() == ("", "nothing\n")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert cell("\x1b[31mred\x07") == " [31mred "


def test_problems_of_a_file_stand_without_a_prefix(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a.yaml:1:2: error: syntax: no")
    complain("no: such thing")
    assert capsys.readouterr().err == "a.yaml:1:2: error: syntax: no\nerror: no: such thing\n"


def test_progress_survives_a_terminal_without_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    Progress().show(event("step_completed"))
    assert raw.getvalue() == b"? fetch\n"


def test_results_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from noetl.cli.terminal import print_json

    print_json({"ä": [1.0, None, 2**60]})
    out = capsys.readouterr().out
    assert json.loads(out) == {"ä": [1.0, None, 2**60]}
    assert "ä" in out


def test_items_of_loops_are_told_where_they_fail() -> None:
    """A loop may have a hundred thousand: those that went well are counted, not listed."""
    broken = {"message": "no"}
    assert describe(event("item_completed", item_index=3)) is None
    assert describe(event("item_skipped", item_index=3)) is None
    assert describe(event("item_failed", item_index=3, error=broken)) == "fetch[3] failed: no"
    nested = event("attempt_failed", node_id="fetch/3", item_index=5, attempt=1, error=broken)
    assert describe(nested) == "fetch[3][5] attempt 1 failed: no"


@pytest.mark.parametrize(
    ("node_type", "loop", "line"),
    [("http", False, "0.25"), ("http", True, "90.00"), ("wait", False, "90.00"), ("playbook", False, "90.00")],
)
def test_a_step_without_an_attempt_of_its_own_took_as_long_as_it_was_under_way(
    node_type: str, loop: bool, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loops, waits and child executions end in an instant, which says nothing of how long they took."""
    progress = Progress()
    progress.show(event("step_queued", node_type=node_type))
    if loop:
        progress.show(event("loop_started", context={"count": 2, "concurrency": 1}))
    progress.show(event("step_completed", node_type=node_type, duration=0.25, timestamp="2026-01-31T08:01:30Z"))
    assert capsys.readouterr().err == f"✓ fetch in {line} s\n"


def test_a_loop_under_way_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    shown: list[str] = []
    with Progress() as progress:
        assert progress._status is not None
        monkeypatch.setattr(progress._status, "update", shown.append)
        progress.show(event("step_queued"))
        progress.show(event("loop_started", context={"count": 2000, "concurrency": 1}))
        progress.show(event("loop_started", node_id="fetch/0", context={"count": 7, "concurrency": 1}))
        progress.show(event("item_completed", node_id="fetch/0", item_index=0))
        progress.show(event("item_completed", item_index=0))
        progress.show(event("step_completed"))
    assert shown == ["fetch", *["fetch (0 of 2,000)"] * 3, "fetch (1 of 2,000)", "waiting"]


def test_a_narrow_terminal_gets_whole_statuses_and_the_ends_of_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    row = {"execution_id": "384841696770260995", "path": "company/reports/daily/load", "version": 3}
    row |= {"status": "cancelling", "labels": "team=blue,stage=test"}
    print_table(tuple(row), [row], empty="")
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["execution", "id", "path", "version", "status", "labels"]
    assert line == "384841696770260995  …ly/load  3        cancelling  team=blu…"
    assert len(line) == 60


def test_a_failed_execution_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The step's line has the reason, the last line of the command the end."""
    error = {"message": "no", "step": "fetch"}
    shown = {"execution_id": "7", "status": "failed", "error": error, "result": None}
    progress = Progress()
    progress.show(event("step_failed", error={"message": "no"}))
    progress.show(event("execution_failing", node_id=None, visit=None))
    progress.show(event("execution_failed", node_id=None, visit=None, error=error))
    print_outcome(shown, {"failures": []}, as_json=False)
    assert capsys.readouterr().err.splitlines() == ["✗ fetch failed: no", "execution 7 failed: step fetch: no"]


@pytest.mark.parametrize(
    ("node_type", "items", "took"),
    [
        ("http", None, "0.25 s"),
        ("http", {"ended": 2, "failed": 0, "count": 2}, "1 min 30 s"),
        ("wait", None, "1 min 30 s"),
    ],
)
def test_a_step_took_as_long_in_its_status_as_in_the_progress(
    node_type: str, items: dict[str, int] | None, took: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last attempt's time, without the queue; of loops, waits and children all of it."""
    moments = {"started_at": "2026-01-31T08:00:00Z", "ended_at": "2026-01-31T08:01:30Z", "duration": 0.25}
    step = {"step": "fetch", "type": node_type, "visit": 1, "status": "completed", "attempt": 1, "max_attempts": 1}
    step |= {**moments, "items": items, "error": None, "result": "1"}
    shown = {"execution_id": "7", "path": "a", "version": 1, "status": "completed", "error": None, "result": None}
    shown |= {"started_by": None, "finished_at": None, "parent_execution_id": None, "labels": {}}
    shown |= {"cancel_requested_at": None, "started_at": moments["started_at"]}
    print_status(shown, {"steps": [step], "failures": [], "waits": []})
    assert capsys.readouterr().out.splitlines()[-1].split("\t")[5] == took
