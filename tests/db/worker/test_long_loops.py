"""The items of a long loop are chosen in a thread: leases, heartbeats and other executions go on meanwhile."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from noetl.database.connection.connect import Database
from noetl.engine.loops import collect
from noetl.engine.loops.collect import LONG_LOOP_ITEMS, Collection
from noetl.orchestrator.value_cache import ValueCache
from noetl.outcomes import Expired
from noetl.settings import Settings
from tests.support.hand import with_hand
from tests.support.waiting import wait_for
from tests.support.working import Engine, working

HEAD = "apiVersion: noetl.io/v1\nkind: Playbook\nmetadata: {name: test, path: %s}\nworkflow:\n"
QUICK = HEAD % "quick" + "  - {step: start, type: python, code: 'def main(): return 1'}\n"
LONG_LOOP = (
    HEAD % "long"
    + """
  - {step: start, type: python, code: "def main(): return {'keep': [3, 5]}", next: [each]}
  - step: each
    type: python
    loop: {in: "{{ range(2000) | list }}", iterator: x, where: "{{ x in start.keep }}", order_by: "{{ -x }}"}
    code: "def main(x): return x"
    next: [end]
  - {step: end, result: "{{ each }}"}
"""
)
FAILING = LONG_LOOP.replace("path: long", "path: failing").replace("{{ x in start.keep }}", "{{ 1 // (x - 1500) }}")
HELD_SECONDS = 60.0


class Gate:
    """Holds whoever chooses the items of a loop until it is opened."""

    def __init__(self) -> None:
        self.held: list[Collection] = []
        self.opened = threading.Event()

    def pass_through(self, collection: Collection) -> None:
        self.held.append(collection)
        assert self.opened.wait(HELD_SECONDS)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate, chosen = Gate(), Collection._chosen

    def held(self: Collection, items: list[Any]) -> list[Any]:
        gate.pass_through(self)
        return chosen(self, items)

    monkeypatch.setattr(Collection, "_chosen", held)
    yield gate
    gate.opened.set()


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    engine = Engine(database, settings)
    for content in (LONG_LOOP, FAILING, QUICK):
        engine.register(content)
    return engine


def test_a_loop_whose_items_are_chosen_for_long_holds_up_nobody(engine: Engine, settings: Settings, gate: Gate) -> None:
    with working(settings, slots=2):
        slow = engine.start("long")
        wait_for(lambda: gate.held)
        renewed = "SELECT lease_until FROM queue WHERE execution_id = %s"
        before = engine.one(renewed, slow)
        assert engine.wait(engine.start("quick")) == "completed"
        assert engine.wait(engine.start("quick")) == "completed"
        wait_for(lambda: engine.one(renewed, slow) > before, limit=60)
        gate.opened.set()
        assert engine.wait(slow) == "completed"
    assert engine.result(slow) == [5, 3]


def test_a_cancel_gives_up_a_loop_whose_items_are_being_chosen(engine: Engine, settings: Settings, gate: Gate) -> None:
    with working(settings, slots=1):
        slow = engine.start("long")
        wait_for(lambda: gate.held)
        engine.orchestrator.cancel(slow)
        assert engine.wait(slow) == "cancelled"
        wait_for(lambda: gate.held[0].given_up)
        assert engine.wait(engine.start("quick")) == "completed", "its slot is free"


def test_items_chosen_under_a_lost_lease_are_dropped(engine: Engine, settings: Settings, gate: Gate) -> None:
    with working(settings, slots=2), with_hand(engine.database) as hand:
        slow = engine.start("long")
        wait_for(lambda: gate.held)
        with engine.database.session() as conn:
            conn.execute("UPDATE queue SET lease_until = clock_timestamp() - interval '1 s' WHERE status = 'leased'")
        hand.complete(hand.finished(hand.expired()[0], Expired()))
        wait_for(lambda: len(gate.held) == 2)
        gate.opened.set()
        assert engine.wait(slow) == "completed"
    assert engine.result(slow) == [5, 3]
    assert engine.events(slow).count("loop_started each") == 1


def test_values_that_are_missed_beside_the_loop_are_read_by_it(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies: list[ValueCache] = []
    copy = ValueCache.copy

    def forgetful(self: ValueCache) -> ValueCache:
        copies.append(copy(self) if copies else ValueCache(self.execution_id, self.workload, self.env))
        return copies[-1]

    monkeypatch.setattr(ValueCache, "copy", forgetful)
    with working(settings):
        slow = engine.start("long")
        assert engine.wait(slow) == "completed"
    assert engine.result(slow) == [5, 3]
    assert len(copies) == 2


def test_a_loop_that_misses_its_values_again_and_again_is_quarantined(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ValueCache, "copy", lambda self: ValueCache(self.execution_id, self.workload, self.env))
    status = "SELECT status FROM queue WHERE execution_id = %s AND node_id = 'each'"
    with working(settings, drain_seconds=0.0):
        slow = engine.start("long")
        wait_for(lambda: engine.one(status, slow) == "quarantined")
    message = engine.one("SELECT message FROM error_log WHERE execution_id = %s", slow)
    assert "asked for values a hundred times" in message


def test_a_where_that_fails_beside_the_loop_fails_its_step(engine: Engine, settings: Settings) -> None:
    with working(settings):
        execution = engine.start("failing")
        assert engine.wait(execution) == "failed"
    assert engine.error(execution)["type"] == "template"
    assert engine.one("SELECT count(*) FROM queue") == 0


def test_a_short_loop_is_chosen_at_once(engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """To hand it over would take longer."""
    threads: set[str] = set()
    chosen = Collection._chosen

    def noted(self: Collection, items: list[Any]) -> list[Any]:
        threads.add(threading.current_thread().name)
        return chosen(self, items)

    monkeypatch.setattr(Collection, "_chosen", noted)
    assert LONG_LOOP_ITEMS < 2000
    monkeypatch.setattr(collect, "LONG_LOOP_ITEMS", 2000)
    with working(settings):
        assert engine.wait(engine.start("long")) == "completed"
    assert threads == {"worker"}
