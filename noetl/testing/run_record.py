"""The record of a test's run: the path of its execution, the calls, and the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noetl.engine.events import Event
from noetl.engine.evolve import value_event
from noetl.playbook.templates.result_views import raw
from noetl.testing.calls import CallRecord
from noetl.testing.execution import Execution
from noetl.testing.members import TimedEvent
from noetl.testing.simulation import Simulation
from noetl.words import EventType, step_of

_ENDS = {
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_CANCELLED: "cancelled",
}


@dataclass(slots=True)
class StepVisit:
    """One visit of a step. `ended` is None where it had not ended; times are seconds since the test began."""

    step: str
    visit: int
    type: str
    began: float
    ended: str | None = None
    took: float = 0.0
    attempts: int = 1
    result: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that expectations look at. `path` are the visits in the order in which they began; those that were
    withdrawn before they began are not among them."""

    status: str
    result: Any
    error: dict[str, Any] | None
    path: Sequence[StepVisit]
    calls: Sequence[CallRecord]
    seconds: float
    timeline: Sequence[TimedEvent]

    @property
    def names(self) -> list[str]:
        """The steps of the path."""
        return [taken.step for taken in self.path]


def record_of(simulation: Simulation) -> RunRecord:
    """Return the record of a simulation, also of one that did not end."""
    execution = simulation.root.execution if simulation.root is not None else None
    ended = simulation.root is not None and simulation.root.ended_at is not None
    path = _path(simulation)
    return RunRecord(
        status="not started" if execution is None else execution.state.status.value,
        result=execution.result if execution is not None and ended else None,
        error=execution.error if execution is not None and ended else None,
        path=path,
        calls=tuple(simulation.calls),
        seconds=simulation.seconds,
        timeline=tuple(simulation.timeline),
    )


def _path(simulation: Simulation) -> list[StepVisit]:
    if simulation.root is None:
        return []
    execution = simulation.root.execution
    visits: dict[tuple[str, int], StepVisit] = {}
    for moment in simulation.timeline:
        event = moment.event
        if not event.node_id or event.node_id.startswith("$") or moment.execution_id != execution.execution_id:
            continue
        key = (step_of(event.node_id), event.visit)
        if event.event_type is EventType.STEP_SKIPPED:
            visits.pop(key, None)
            continue
        taken = visits.setdefault(key, StepVisit(key[0], event.visit, event.node_type, moment.at))
        if event.event_type in _ENDS:
            taken.ended, taken.took = _ENDS[event.event_type], moment.at - taken.began
            taken.attempts = max(1, event.attempt)
            taken.result, taken.error = _result(execution, event), event.error
    return list(visits.values())


def _result(execution: Execution, event: Event) -> Any:
    """Return the result of a visit; of a loop that has ended, the results of its items."""
    completed = event.event_type is EventType.STEP_COMPLETED
    return raw(execution.result_of(execution.log[value_event(event) - 1] if completed else event))
