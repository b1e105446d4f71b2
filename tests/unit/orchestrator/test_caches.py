"""What a process remembers of an execution is bounded, whatever it consists of."""

import pytest

from noetl.engine.events import Event
from noetl.engine.values import NotLoaded
from noetl.orchestrator.value_cache import VALUE_CACHE_BYTES, ValueCache
from noetl.words import EventType

MEGABYTE = "x" * (1024 * 1024)


def event(number: int, result: bytes) -> Event:
    return Event(number, EventType.STEP_COMPLETED, "step", "python", 1, result=result)


@pytest.mark.parametrize(("result", "args"), [(f'"{MEGABYTE}"'.encode(), {}), (b"null", {0: {"page": MEGABYTE}})])
def test_results_and_args_beyond_the_limit_are_forgotten(result: bytes, args: dict[int, object]) -> None:
    memory = ValueCache(1, {}, {})
    for number in range(1, 30):
        memory.begin()
        memory.draft(event(number, result), args)
        memory.commit()
        assert memory.has_result(number), "what was just decided is there"
        memory.trim()
        assert memory.size <= VALUE_CACHE_BYTES + 2 * 1024 * 1024
    with pytest.raises(NotLoaded):
        memory.result(1)
    with pytest.raises(NotLoaded):
        memory.args(1, 0)


def test_a_great_many_small_events_are_forgotten_too() -> None:
    memory = ValueCache(1, {}, {})
    for number in range(1, 100_000):
        memory.remember(number, b"1", None, {})
    memory.trim()
    assert not memory.has_result(1)
    assert memory.size == 0
