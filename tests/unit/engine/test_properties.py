"""Whatever the playbook, the order of outcomes and the crashes: it ends, once, and the log says what happened."""

import hashlib
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noetl.engine.events import Event
from noetl.engine.evolve import evolve
from noetl.engine.inputs import AttemptEnded, Collected
from noetl.engine.state import State
from noetl.jobs import Job
from noetl.outcomes import Done, Expired, Failed
from noetl.playbook.templates.result_views import raw
from noetl.words import CONTINUE_NODE, step_of
from tests.unit.engine.model import Execution, playbook
from tests.unit.engine.random_playbooks import documents, forks_into_own_cycle, has_cycle, has_join, loops

SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    max_examples=160,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Shares:
    """Counts of what the random playbooks were like."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.counts: Counter[str] = Counter()
        self.total = 0

    def add(self, **found: bool) -> None:
        self.total += 1
        self.counts.update(name for name, there in found.items() if there)

    def tell(self, capsys: pytest.CaptureFixture[str], **least: int) -> None:
        """Print the shares, and hold some to their least percentage."""
        shares = {name: round(100 * count / self.total) for name, count in sorted(self.counts.items())}
        with capsys.disabled():
            print(f"\n{self.title}: {self.total} playbooks, " + ", ".join(f"{n} {s} %" for n, s in shares.items()))
        for name, percent in least.items():
            assert shares.get(name, 0) >= percent, f"only {shares.get(name, 0)} % have {name}"


class Chaos:
    """A schedule drawn at random: who ends next and how, which transaction is lost, who cancels."""

    def __init__(self, execution: Execution, dice: random.Random) -> None:
        self.execution = execution
        self.dice = dice
        self.trouble = dice.choice([0.0, 0.1, 0.3])
        self.failing = dice.choice([0.05, 0.2, 0.5])
        self.failing_steps = self.failing
        self.cancelling = dice.choice([0.0, 0.0, 0.1, 0.3])

    def run(self) -> None:
        steps = 0
        while not self.execution.ended:
            steps += 1
            assert steps < 5000, "it does not come to an end"
            self.step()

    def step(self) -> None:
        execution, dice = self.execution, self.dice
        if dice.random() < self.cancelling:
            execution.cancel() if dice.random() < 0.7 else execution.time_out()
            return
        row = dice.choice(list(execution.queue.values()))
        name, item = row.job.node_id, row.job.item_index
        if row.status != "leased":
            execution.lease(name, item)
            if execution.to_collect(row.job):
                execution.collected(name, item)
            elif step_of(name) in execution.playbook.workflow.steps:
                execution.rendered(name, item)
            return
        if name == CONTINUE_NODE:
            execution.continue_routers()
        elif dice.random() < self.trouble:
            self.disturb(row.job)
        else:
            self.end(row.job)

    def disturb(self, job: Job) -> None:
        """A transaction that never commits, a worker that dies, a job that waits."""
        execution, kind = self.execution, self.dice.randrange(3)
        if kind == 0:
            execution.give(self.outcome(job), job, commit=False)
        elif kind == 1:
            execution.expire(job.node_id, job.item_index)
        else:
            execution.defer(job.node_id, job.item_index)

    def end(self, job: Job) -> None:
        self.execution.give(self.outcome(job), job)

    def outcome(self, job: Job) -> AttemptEnded:
        outcome: Done | Failed | Expired | Collected
        if self.dice.random() < (self.failing if job.item_index >= 0 else self.failing_steps):
            type_ = "cancelled" if self.execution.now.killing else self.dice.choice(["python", "template", "timeout"])
            outcome = Failed(
                {"type": type_, "message": "broken", "retryable": self.dice.random() < 0.8, "detail": None}
            )
        elif self.execution.to_collect(job):
            outcome = self.execution.collected(job.node_id, job.item_index)
        else:
            outcome = Done(b'{"visit": %d}' % job.visit)
        return AttemptEnded(job, outcome, "w", 0.1, 0.2, self.dice.random())


def test_every_execution_comes_to_one_end_whatever_fails_crashes_or_is_cancelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`check` runs after every transaction: one terminal event and it is last, replay = state, jobs = runs."""
    shares = Shares("any order, failures and crashes")

    @SETTINGS
    @given(documents(failures=True), st.integers(0, 2**32))
    def run(document: dict[str, Any], seed: int) -> None:
        book = playbook(document)
        execution = Execution(book)
        Chaos(execution, random.Random(f"{seed} {document}")).run()
        _check_the_end(execution)
        shares.add(
            cycles=has_cycle(book.workflow),
            joins=has_join(book.workflow),
            handlers=bool(book.workflow.handlers),
            failures=bool(execution.events("step_failed")),
            cancels=bool(execution.events("execution_cancel_requested")),
            handled=any(event.meta and "next" in event.meta for event in execution.events("step_failed")),
            finally_=book.finally_ is not None,
            loops=bool(execution.events("loop_started")),
            loops_at_last=bool(execution.events("loop_started", "f0")),
            merged=any(len((event.context or {}).get("arrivals") or ()) > 1 for event in execution.log),
        )

    run()
    shares.tell(capsys, cycles=20, joins=20, handlers=20, failures=20, handled=5, cancels=5, merged=5, loops=20,
                loops_at_last=5)  # fmt: skip


def test_every_loop_comes_to_its_end_whatever_fails_crashes_or_is_cancelled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As above; the items of a loop end once each, and never do more run at a time than shall."""
    shares = Shares("loops, any order, failures and crashes")

    @settings(SETTINGS, max_examples=300)
    @given(loops(), st.integers(0, 2**32))
    def run(document: dict[str, Any], seed: int) -> None:
        execution = Execution(playbook(document))
        chaos = Chaos(execution, random.Random(f"{seed} {document}"))
        chaos.failing, chaos.failing_steps = chaos.dice.choice([0.1, 0.3, 0.5]), 0.02
        chaos.cancelling = chaos.dice.choice([0.0, 0.0, 0.0, 0.05])
        chaos.run()
        _check_the_end(execution)
        failed = execution.events("item_failed")
        shares.add(
            completed=execution.status == "completed",
            nested=any("/" in event.node_id for event in execution.events("item_completed")),
            failed=bool(failed),
            failed_inside=any("/" in event.node_id for event in failed),
            failed_loops=any("index" in (event.error or {}) for event in execution.events("step_failed")),
            went_on=execution.status == "completed" and bool(failed),
            skipped=bool(execution.events("item_skipped")),
            retried=any(event.item_index >= 0 for event in execution.events("attempt_failed")),
            repeated=any(event.error and event.error["type"] == "unsatisfied" for event in execution.log),
        )

    run()
    shares.tell(capsys, completed=20, nested=20, failed=20, failed_inside=10, failed_loops=10, went_on=5, skipped=5,
                retried=4, repeated=4)  # fmt: skip


def test_without_failures_a_loop_gives_the_same_in_every_order() -> None:
    """The execution's result is the loop's: a list in the order of the input, lists in it for loops within."""

    @settings(SETTINGS, max_examples=60)
    @given(loops(), st.integers(0, 2**32))
    def run(document: dict[str, Any], seed: int) -> None:
        book, dice = playbook(document), random.Random(f"{seed} {document}")
        first, *others = [_in_some_order(Execution(book), random.Random(dice.random())) for _ in range(3)]
        assert all(one == first for one in others)
        assert isinstance(first[1], list)

    run()


def _check_the_end(execution: Execution) -> None:
    book = execution.playbook
    assert not execution.queue
    _nothing_begins_while_draining(execution)
    if "end" in book.workflow.steps and not has_way_back(execution):
        assert execution.visits("end") <= 1
    if execution.status == "completed":
        assert not execution.events("execution_failing")
        assert execution.log[-1].error is None
    else:
        assert execution.error["type"]
    cancels = len(execution.events("execution_cancel_requested"))
    if book.finally_ is not None and cancels < 2:
        assert len(execution.events("execution_finishing")) == 1
    queued = Counter((event.node_id, event.visit) for event in execution.events("step_queued"))
    ended = Counter(
        (event.node_id, event.visit)
        for kind in ("step_completed", "step_failed", "step_skipped", "step_cancelled")
        for event in execution.events(kind)
    )
    assert max(ended.values(), default=1) == 1
    assert queued.keys() <= ended.keys(), "a run that began has no end"
    items = Counter(
        (event.node_id, event.visit, event.item_index)
        for kind in ("item_completed", "item_failed", "item_skipped")
        for event in execution.events(kind)
    )
    assert max(items.values(), default=1) == 1
    assert not execution.now.loops
    for event in execution.events("step_completed"):
        if event.meta and "loop" in event.meta:
            execution.loop_result(event.meta["loop"]["first"])  # which looks for each item's


def _nothing_begins_while_draining(execution: Execution) -> None:
    state = State()
    for event in execution.log:
        if state.draining:
            assert event.event_type not in ("step_queued", "loop_started"), (
                "something began while the execution drained"
            )
            assert "next" not in (event.meta or {}), "something led on while the execution drained"
        evolve(state, event, execution.playbook)


def has_way_back(execution: Execution) -> bool:
    graph = execution.playbook.workflow
    return "end" in graph.ancestors["end"]


def test_without_failures_the_order_of_outcomes_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every visit takes the same arrivals and the result is the same, whichever job ends first."""
    shares = Shares("no failures, every order")

    @settings(SETTINGS, max_examples=140)
    @given(documents(failures=False), st.integers(0, 2**32))
    def run(document: dict[str, Any], seed: int) -> None:
        book = playbook(document)
        if forks_into_own_cycle(book):
            return
        dice = random.Random(f"{seed} {document}")
        first, *others = [_in_some_order(Execution(book), random.Random(dice.random())) for _ in range(3)]
        assert all(one == first for one in others)
        shares.add(
            cycles=has_cycle(book.workflow),
            joins=has_join(book.workflow),
            handlers=bool(book.workflow.handlers),
            loops=any(step.loops for step in book.workflow.steps.values()),
            parallel=any(
                len({edge.target for c in s.next for edge in c.edges}) > 1 for s in book.workflow.steps.values()
            ),
        )

    run()
    shares.tell(capsys, cycles=20, joins=20, parallel=20, loops=20)


def _in_some_order(execution: Execution, dice: random.Random) -> tuple[Any, Any, Any]:
    """Run to the end; return status, result, and for each visit what it was given."""
    limit = 3000
    while not execution.ended:
        limit -= 1
        assert limit, "it does not come to an end"
        job = dice.choice(list(execution.queue.values())).job
        if execution.to_collect(job):
            execution.begin_loop(job.node_id, job.item_index)
            continue
        given = History(execution).given(execution.now.runs[step_of(job.node_id)][1])
        execution.done(job.node_id, {"at": [job.node_id, job.item_index], "visit": job.visit, "given": given},
                       item=job.item_index)  # fmt: skip
    history = History(execution)
    visits = {(e.node_id, e.visit): history.origin(e.event_id) for e in execution.events("step_completed")}
    values = {(e.node_id, e.visit): raw(execution.loop_result(e.event_id)) for e in execution.events("loop_started")}
    return execution.status, execution.result, [visits, values]


class History:
    """Digests of what led to an event, by steps and visits instead of event ids: equal in every order."""

    def __init__(self, execution: Execution) -> None:
        self._log = execution.log
        self._known: dict[int, str] = {}

    def given(self, arrivals: list[list[int]]) -> str:
        """Return a digest of the whole history that a visit's arrivals stand for."""
        parts = sorted((edge, self.origin(event)) for event, edge, *_ in arrivals)
        return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()

    def origin(self, event_id: int) -> str:
        found = self._known.get(event_id)
        if found is None:
            found = self._known[event_id] = self._origin(self._log[event_id - 1])
        return found

    def _origin(self, event: Event) -> str:
        context = event.context
        if context is None:
            runs = (e for e in self._log if (e.event_type, e.node_id) == ("step_queued", event.node_id))
            context = next(e.context for e in runs if e.visit == event.visit)
        return f"{event.node_id}:{event.visit}:{self.given((context or {}).get('arrivals') or [])}"


@pytest.mark.parametrize("seed", range(8))
def test_paging_stores_every_page_in_order(seed: int) -> None:
    """`fetch` leads back to itself and to `store`, which has one source: one visit per page, nothing merged."""
    book = playbook(
        {
            "workflow": [
                {"step": "start", "next": [{"step": "fetch"}]},
                {
                    "step": "fetch",
                    "type": "http",
                    "next": [
                        {
                            "when": "{{ fetch.data.next }}",
                            "then": [{"step": "fetch"}, {"step": "store", "args": {"page": "{{ fetch.data.page }}"}}],
                        },
                        {"else": [{"step": "store", "args": {"page": "{{ fetch.data.page }}"}}]},
                    ],
                },
                {"step": "store", "type": "python", "next": [{"step": "end"}]},
                {"step": "end"},
            ]
        }
    )
    execution, dice, stored = Execution(book), random.Random(seed), []
    while not execution.ended:
        job = dice.choice(list(execution.queue.values())).job
        if job.node_id == "fetch":
            execution.done("fetch", {"status_code": 200, "data": {"page": job.visit, "next": job.visit < 7}})
        else:
            stored.append(execution.args("store")["page"])
            execution.done("store", "stored")
    assert stored == [1, 2, 3, 4, 5, 6, 7]
    assert execution.visits("end") == 1
    assert execution.status == "completed"
