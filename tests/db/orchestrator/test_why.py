"""Why an execution stands where it stands, as it is read from the database."""

from collections.abc import Iterator

import pytest

from noetl.database import runtime
from noetl.database.connection.connect import Database
from noetl.database.quarantine import quarantine_job
from noetl.engine.inputs import Collected
from noetl.orchestrator.why import explain, waits_of
from noetl.outcomes import Done, Failed
from noetl.settings import Settings
from tests.support.hand import Hand, with_hand
from tests.support.playbooks import Lab

ONE = "- {step: start, type: python, code: 'def main(): pass'}"


@pytest.fixture
def lab(settings: Settings, database: Database) -> Lab:
    return Lab(database, settings)


@pytest.fixture
def hand(database: Database) -> Iterator[Hand]:
    with with_hand(database) as hand:
        yield hand


def told(lab: Lab, execution_id: int) -> list[tuple[str, str]]:
    """Return kind and sentence of what an execution waits for."""
    with lab.database.session() as conn:
        return [(wait["kind"], wait["text"]) for wait in waits_of(conn, execution_id)]


def serve(lab: Lab, *pools: str, only_root: int | None = None, name: str = "w") -> None:
    """Have a worker say that it serves these pools."""
    meta = {} if only_root is None else {"only_root": str(only_root)}
    with lab.database.session() as conn:
        runtime.beat(conn, runtime.Process(name, "worker", "here", 1, pools, 4, "1", meta=meta))


def test_a_pool_without_a_worker_is_named_with_the_command_that_helps(lab: Lab) -> None:
    plain = lab.begin(ONE)
    assert told(lab, plain) == [("worker", "no worker serves pool 'default': start one with `noetl worker start`")]
    other = lab.begin("- {step: start, type: python, code: 'def main(): pass', pool: gpu}")
    serve(lab, "default")
    assert told(lab, other) == [
        ("worker", "no worker serves pool 'gpu': start one with `noetl worker start --pool gpu`")
    ]
    assert told(lab, plain)[0][0] == "turn"


def test_a_worker_that_has_stopped_serves_nobody(lab: Lab) -> None:
    number = lab.begin(ONE)
    serve(lab, "default")
    with lab.database.session() as conn:
        runtime.leave(conn, "w")
    assert told(lab, number)[0][0] == "worker"
    serve(lab, "default", name="v")
    with lab.database.session() as conn:
        conn.execute("UPDATE runtime SET heartbeat_at = clock_timestamp() - interval '31 s' WHERE runtime_id = 'v'")
    assert told(lab, number)[0][0] == "worker"


def test_the_worker_of_one_run_serves_no_other(lab: Lab) -> None:
    """`noetl run` has a worker that takes the jobs of its own tree, whatever their pool, and nobody else's."""
    number, own = lab.begin(ONE), lab.begin(ONE)
    serve(lab, only_root=own)
    assert told(lab, number)[0][0] == "worker"
    assert told(lab, own) == [("turn", "it is queued for the worker of its own `noetl run`")]


def test_the_place_in_the_queue_is_told(lab: Lab) -> None:
    lab.begin(ONE)
    lab.begin(ONE, priority=3)
    last = lab.begin(ONE)
    serve(lab, "default")
    assert told(lab, last) == [
        ("turn", "it is queued in pool 'default' behind 2 other jobs (1 worker with 4 slots)"),
    ]


def test_what_runs_is_on_a_worker_and_what_is_lost_is_told(lab: Lab, hand: Hand) -> None:
    number = lab.begin(ONE)
    serve(lab, "default", name="hand")
    hand.claim()
    assert told(lab, number) == [("running", "it runs on worker hand")]
    with lab.database.session() as conn:
        conn.execute("UPDATE runtime SET heartbeat_at = clock_timestamp() - interval '20 s'")
    assert told(lab, number)[0][1].startswith("worker hand has been silent for 20 s; its lease expires at ")
    with lab.database.session() as conn:
        conn.execute("UPDATE queue SET lease_until = clock_timestamp() - interval '1 s'")
    kind, text = told(lab, number)[0]
    assert (kind, text.endswith("another worker takes it at once")) == ("lease", True)


def test_another_attempt_is_told_with_its_time_and_the_last_error(lab: Lab, hand: Hand) -> None:
    retry = "- {step: start, type: python, code: 'def main(): pass', retry: {max_attempts: 3, initial_delay: 600}}"
    number = lab.begin(retry)
    (row,) = hand.claim()
    error = {"type": "python", "message": "it broke\nbadly", "retryable": True, "detail": None}
    hand.complete(hand.finished(row, Failed(error)))
    kind, text = told(lab, number)[0]
    assert kind == "retry"
    assert text.startswith("attempt 2 of 3 follows at 2")
    assert text.endswith(" UTC, after: it broke")


def test_a_quarantined_job_is_told_with_the_reason(lab: Lab, hand: Hand) -> None:
    number = lab.begin(ONE)
    (row,) = hand.claim()
    with lab.database.session() as conn:
        quarantine_job(conn, worker="hand", row=row, reason="nobody can read it")
    assert told(lab, number) == [
        ("quarantined", "its job is quarantined: nobody can read it; it is tried again when a worker starts")
    ]
    with lab.database.session() as conn:
        assert explain(conn, number)["steps"][0]["status"] == "quarantined"
        conn.execute("UPDATE queue SET status = 'queued'")


def test_the_explanation_holds_steps_and_failures_with_their_lines(lab: Lab, hand: Hand) -> None:
    number = lab.begin(
        """
        workflow:
          - {step: start, next: work}
          - step: work
            type: python
            retry: {max_attempts: 2, initial_delay: 0.0}
            code: |
              def main():
                  return 1 / 0
        """
    )
    trace = 'Traceback (most recent call last):\n  File "%s#work", line 2, in main\nZeroDivisionError: x'
    with lab.database.session() as conn:
        path = explain(conn, number)["path"]
    error = {"type": "python", "message": "ZeroDivisionError: x", "retryable": False}
    (row,) = hand.claim()
    hand.complete(hand.finished(row, Failed({**error, "detail": {"traceback": trace % path, "line": 2}})))
    with lab.database.session() as conn:
        found = explain(conn, number)
    assert [(step["step"], step["status"], step["attempt"], step["max_attempts"]) for step in found["steps"]] == [
        ("start", "completed", None, None),
        ("work", "failed", 1, 2),
    ]
    (failure,) = found["failures"]
    assert failure["error"]["max_attempts"] == 2
    # `work` stands in line 6 of the document, its code begins in line 10.
    assert failure["lines"] == [
        "Traceback (most recent call last):",
        f'  File "{path}@1", line 11, in main',
        "ZeroDivisionError: x",
    ]
    assert found["waits"] == []


def test_items_of_a_loop_are_counted_while_it_runs(lab: Lab, hand: Hand) -> None:
    number = lab.begin(
        """
        - step: start
          type: python
          loop: {in: "{{ [1, 2, 3] }}", iterator: x, mode: async, concurrency: 2}
          code: 'def main(): pass'
        """
    )
    (row,) = hand.claim()
    prepared = hand.prepared(row)
    assert isinstance(prepared, Collected)
    hand.complete(hand.finished(row, prepared))
    (item, _other) = hand.claim(slots=2)
    hand.complete(hand.finished(item, Done(b"1")))
    with lab.database.session() as conn:
        (step,) = explain(conn, number)["steps"]
    assert (step["status"], step["items"]) == ("running", {"ended": 1, "failed": 0, "count": 3})
