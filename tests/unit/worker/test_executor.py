"""The executor with tools in threads: how many run, what a kill and a timeout report, late answers, faults."""

import dataclasses
import threading
from collections.abc import Iterator

import pytest

from noetl.calls import Call
from noetl.outcomes import Done, Failed
from noetl.playbook.step_types import STEP_TYPES
from noetl.tools.base import Tool
from noetl.tools.registry import TOOLS
from noetl.worker.answers import NotBegun
from noetl.worker.executor import Executor
from tests.support.calls import collect, until


class Waiter:
    """A tool whose calls wait until they are let go, by their key."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.threads: set[str] = set()

    def run(self, call: Call) -> Done | Failed:
        self.begun.append(call.key)
        self.threads.add(threading.current_thread().name)
        if call.key.startswith("broken"):
            raise LookupError("no such thing")
        self.gates.setdefault(call.key, threading.Event()).wait(20)
        self.ended.append(call.key)
        return Done(call.key.encode())

    def let_go(self, *keys: str) -> None:
        for key in keys:
            self.gates.setdefault(key, threading.Event()).set()


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    """A tool that waits; whatever still does at the end is let go."""
    waiter = Waiter()
    yield waiter
    waiter.let_go(*waiter.begun)


@pytest.fixture
def executor(waiter: Waiter) -> Iterator[Executor]:
    """Two slots, and no runner."""
    tool = Tool("wait-here", waiter.run, default_timeout=20.0, place_of=lambda call: "thread")
    executor = Executor(2, tools={"wait-here": tool}, warm=False)
    yield executor
    executor.close()


def call(key: str, timeout: float | None = None) -> Call:
    return Call("wait-here", key, "examples/test#wait", {}, {}, timeout, 1000, {})


def test_every_tool_is_listed_under_its_type_with_a_place_and_a_time() -> None:
    assert {name: (tool.type, STEP_TYPES[name].place, tool.default_timeout) for name, tool in TOOLS.items()} == {
        "python": ("python", "runner", 3600.0),
        "http": ("http", "thread", 30.0),
        "postgres": ("postgres", "thread", None),
        "duckdb": ("duckdb", "runner", 3600.0),
        "save": ("save", "runner", 3600.0),
        "shell": ("shell", "runner", 3600.0),
        "container": ("container", "thread", 3600.0),
    }


def test_as_many_run_as_there_are_slots_and_others_follow(executor: Executor, waiter: Waiter) -> None:
    assert executor.free == 2
    for token, key in enumerate("abc"):
        executor.submit(token, call(key))
    assert executor.free == 0
    until(lambda: sorted(waiter.begun) == ["a", "b"], executor)
    waiter.let_go("a")
    assert collect(executor, 1)[0].answer == Done(b"a")
    until(lambda: "c" in waiter.begun, executor)
    waiter.let_go("b", "c")
    reports = collect(executor, 2)
    assert reports[1].answer == Done(b"b")
    assert reports[2].answer == Done(b"c")
    assert executor.free == 2
    assert len(waiter.threads) <= 2


def test_a_killed_call_is_reported_at_once_and_its_late_answer_is_dropped(executor: Executor, waiter: Waiter) -> None:
    executor.submit(1, call("a"))
    until(lambda: waiter.begun, executor)
    executor.kill(1)
    answer = collect(executor, 1)[1].answer
    assert isinstance(answer, Failed)
    assert answer.error["type"] == "cancelled"
    assert answer.error["message"] == "examples/test#wait: cancelled while it ran"
    executor.submit(1, call("b"))
    until(lambda: "b" in waiter.begun, executor)
    waiter.let_go("a")
    until(lambda: "a" in waiter.ended, executor)
    waiter.let_go("b")
    assert collect(executor, 1)[1].answer == Done(b"b"), "the same token, another call"


def test_a_call_that_waits_for_a_slot_is_not_begun_when_killed_or_recalled(executor: Executor, waiter: Waiter) -> None:
    for token, key in enumerate("abcd"):
        executor.submit(token, call(key))
    until(lambda: len(waiter.begun) == 2, executor)
    executor.kill(2)
    assert collect(executor, 1)[2].answer == NotBegun()
    executor.recall()
    assert collect(executor, 1)[3].answer == NotBegun()
    assert executor.running == 2


def test_a_call_that_overruns_is_given_up(executor: Executor, waiter: Waiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noetl.worker.executor.THREAD_GRACE_SECONDS", 0.0)
    executor.submit(1, call("a", timeout=0.05))
    report = collect(executor, 1)[1]
    assert isinstance(report.answer, Failed)
    assert report.answer.error["type"] == "timeout"
    assert report.answer.error["retryable"] is True
    assert report.seconds >= 0.05
    assert executor.free == 2


def test_a_call_that_is_given_up_is_cancelled_where_its_tool_can_do_that() -> None:
    waiter, cancelled = Waiter(), list[str]()
    tool = Tool("wait-here", waiter.run, cancel=lambda one: cancelled.append(one.key), place_of=lambda call: "thread")
    executor = Executor(2, tools={"wait-here": tool}, warm=False)
    try:
        executor.submit(1, call("a"))
        until(lambda: waiter.begun == ["a"], executor)
        executor.kill(1)
        assert isinstance(collect(executor, 1)[1].answer, Failed)
        until(lambda: cancelled == ["a"])
    finally:
        waiter.let_go("a")
        executor.close()


def test_a_fault_of_a_tool_fails_its_call_and_the_thread_lives_on(executor: Executor, waiter: Waiter) -> None:
    for token in range(5):
        executor.submit(0, call(f"broken{token}"))
        answer = collect(executor, 1)[0].answer
        assert isinstance(answer, Failed)
        assert answer.error["type"] == "internal"
        assert "LookupError" in answer.error["message"]
        assert "no such thing" in answer.error["detail"]
    assert len(waiter.threads) <= 2


# ---- what is done before a call --------------------------------------------------------------------------------------


def test_a_call_is_made_as_what_comes_first_gives_it(executor: Executor, waiter: Waiter) -> None:
    """And what comes first waits in a thread, like the call itself."""
    gate = threading.Event()

    def first(given: Call) -> Call:
        gate.wait(20)
        return call(given.key + " changed")

    executor.submit(1, call("a"), first)
    assert executor.poll(0.05) == []
    assert (waiter.begun, executor.running) == ([], 1)
    gate.set()
    waiter.let_go("a changed")
    assert collect(executor, 1)[1].answer == Done(b"a changed")
    assert (waiter.begun, executor.running) == (["a changed"], 0)


def test_what_comes_first_can_answer_or_put_the_call_back(executor: Executor, waiter: Waiter) -> None:
    executor.submit(1, call("a"), lambda _: Done(b"without it"))
    executor.submit(2, call("b"), lambda _: NotBegun())
    executor.submit(3, Call("no-such-tool", "c", "w", {}, {}, None, 1000, {}), lambda _: Failed({"message": "no"}))
    reports = collect(executor, 3)
    assert reports[1].answer == Done(b"without it")
    assert reports[2].answer == NotBegun()
    assert reports[3].answer == Failed({"message": "no"})
    assert waiter.begun == []


def test_what_comes_first_is_killed_with_its_call_and_given_up_in_time(executor: Executor, waiter: Waiter) -> None:
    """Its late answer does not begin the call."""
    gate = threading.Event()
    begun: list[str] = []
    done: list[str] = []

    def first(given: Call) -> Call:
        begun.append(given.key)
        gate.wait(20)
        done.append(given.key)
        return given

    executor.submit(1, call("killed"), first)
    executor.submit(2, call("late", timeout=0.05), first)
    until(lambda: len(begun) == 2, executor)
    executor.kill(1)
    reports = collect(executor, 2)
    assert [_type(reports[token].answer) for token in (1, 2)] == ["cancelled", "timeout"]
    gate.set()
    until(lambda: len(done) == 2, executor)
    executor.submit(3, call("after"))
    waiter.let_go("after")
    collect(executor, 1)
    assert waiter.begun == ["after"]


def test_a_fault_in_what_comes_first_fails_the_call(executor: Executor) -> None:
    def first(given: Call) -> Call:
        raise LookupError("a fault")

    executor.submit(1, call("a"), first)
    assert _type(collect(executor, 1)[1].answer) == "internal"


def test_what_comes_back_from_a_call_with_secrets_is_masked(executor: Executor, waiter: Waiter) -> None:
    """Also of a tool that broke, and of one that was given up."""
    secret = "broken-secret"
    executor.submit(1, dataclasses.replace(call('"a secret-value"'), secrets=("secret-value",)))
    waiter.let_go('"a secret-value"')
    assert collect(executor, 1)[1].answer == Done(b'"a ***"')
    executor.submit(2, dataclasses.replace(call(secret), where=f"path-{secret}", secrets=(secret, "no such thing")))
    answer = collect(executor, 1)[2].answer
    assert isinstance(answer, Failed)
    assert answer.error["message"] == "path-***: the tool wait-here broke: LookupError: ***"
    assert "no such thing" not in answer.error["detail"]


def _type(answer: object) -> str:
    assert isinstance(answer, Failed)
    return str(answer.error["type"])
