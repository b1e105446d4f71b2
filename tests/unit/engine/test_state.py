"""The state: compact, plain, a fold of the events."""

from dataclasses import fields

import orjson
import pytest

from noetl.engine.decide import decide
from noetl.engine.events import Event
from noetl.engine.evolve import FOLDS, evolve, replay
from noetl.engine.inputs import Start
from noetl.engine.state import State
from noetl.engine.values import Values
from noetl.words import EventType, ExecutionStatus
from tests.unit.engine.model import Execution, flow, playbook, py, router


def _rich() -> Execution:
    execution = flow(
        router("start", "a", "b"), py("a", "end"), py("b", "end"), {"step": "end", "result": "{{ a }}"},
        pool="p", **{"finally": [py("f")]},
    )  # fmt: skip
    execution.done("a", 1)
    return execution


def test_the_state_comes_back_from_its_json() -> None:
    state = _rich().now
    again = State.from_json(orjson.loads(orjson.dumps(state.to_json())))
    assert again == state
    assert isinstance(again.status, ExecutionStatus)


def test_a_copy_can_change_without_the_original() -> None:
    state = _rich().now
    before = orjson.dumps(state.to_json())
    copy = state.copy()
    assert copy == state
    copy.runs["x"] = [1, []]
    copy.visits["x"] = 1
    copy.pending.clear()
    copy.results["x"] = 1
    copy.draining = True
    assert orjson.dumps(state.to_json()) == before
    assert copy != state


def test_every_slot_of_the_state_is_copied_and_kept() -> None:
    state = State()
    for name in State.__slots__:
        if name == "status":
            state.status = ExecutionStatus.FAILING
        elif isinstance(getattr(state, name), dict):
            setattr(state, name, {"x": [1]})
        else:
            setattr(state, name, 1)
    for other in (state.copy(), State.from_json(orjson.loads(orjson.dumps(state.to_json())))):
        for name in State.__slots__:
            assert getattr(other, name) == getattr(state, name), name


def test_a_sequential_execution_has_a_small_state() -> None:
    execution = flow(py("start", "a"), py("a", "end"), router("end"))
    execution.done("start")
    assert orjson.loads(execution.stored) == {
        "status": "running",
        "last_event_id": 4,
        "runs": {"a": [1, [[3, 1]]]},
        "visits": {"start": 1, "a": 1},
        "pending": {},
        "results": {"start": 3},
    }


def test_the_log_replays_to_the_state() -> None:
    execution = _rich()
    assert replay(execution.playbook, execution.log) == execution.now
    state = State()
    for event in execution.log:
        evolve(state, event, execution.playbook)
    assert state == execution.now


@pytest.mark.parametrize("event_type", list(EventType))
def test_every_type_of_event_is_folded_or_changes_nothing_but_the_number(event_type: EventType) -> None:
    """Attempts and leases leave the state as it is."""
    silent = {EventType.ATTEMPT_FAILED, EventType.LEASE_EXPIRED}
    assert (event_type in FOLDS) != (event_type in silent)


def test_pause_and_resume_change_the_status() -> None:
    execution = flow(py("start"))
    state = execution.now
    seen = []
    for number, event_type in enumerate((EventType.EXECUTION_PAUSED, EventType.EXECUTION_RESUMED), 3):
        evolve(state, Event(number, event_type), execution.playbook)
        seen.append((state.status.value, state.last_event_id))
    assert seen == [("paused", 3), ("running", 4)]


def test_deciding_leaves_the_state_it_was_given_as_it_is() -> None:
    book = playbook({"workflow": [py("start")]})
    state = State()
    decision = decide(book, state, Start({}), Values(1, {}))
    assert state == State()
    assert decision.state.last_event_id == 2


def test_deciding_twice_gives_the_same() -> None:
    book = playbook({"workflow": [py("start")]})
    first, second = (decide(book, State(), Start({}), Values(1, {})) for _ in range(2))
    assert all(getattr(first, field.name) == getattr(second, field.name) for field in fields(first))
