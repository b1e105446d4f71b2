"""The names a template can use, gathered only for the names that it does use.

Nearest first: what its place gives (`result` and `this` in a `next`, `error` in an `on_error`), transition args (and
the step's own, once rendered), step results, workload keys. Beside them `workload`, `results`, `execution_id`, `env`,
`job`, `error` on a branch that handles a failure; in `finally` also `status`, `error` and `result` of the execution.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from noetl.engine.evolve import failure_of
from noetl.engine.plan import Plan
from noetl.engine.state import Arrival, State
from noetl.engine.values import NotLoaded, Values
from noetl.playbook.model import Template
from noetl.playbook.templates.result_views import ABSENT, LoopResult, result_view
from noetl.playbook.templates.secret_references import REFERENCE_CALL
from noetl.playbook.templates.template import ANY_RESULT, MappingTemplate
from noetl.words import NO_ITEM, idempotency_key


class ValueReader:
    """Values by event: those loaded, and those that the decision in the making has produced itself."""

    __slots__ = ("args", "errors", "raw", "results", "values")

    def __init__(self, values: Values) -> None:
        self.values = values
        self.raw: dict[int, bytes] = {}
        self.results: dict[int, Any] = {}
        self.errors: dict[int, Any] = {}
        self.args: dict[int, dict[int, Any]] = {}

    def result(self, event_id: int) -> Any:
        """Return a decoded result; this decision's own are decoded when somebody asks."""
        raw = self.raw.get(event_id)
        if raw is None:
            return self.values.result(event_id)
        if event_id not in self.results:
            self.results[event_id] = orjson.loads(raw)
        return self.results[event_id]

    def error(self, event_id: int) -> Any:
        """Return an event's error."""
        return self.errors[event_id] if event_id in self.errors else self.values.error(event_id)

    def arrival_args(self, event_id: int, edge: int) -> Any:
        """Return the args of an arrival."""
        own = self.args.get(event_id)
        return self.values.args(event_id, edge) if own is None else own.get(edge) or {}

    def need(self, results: Collection[int], errors: Collection[int], args: Collection[int]) -> None:
        """Raise one `NotLoaded` for all events that are wanted and not at hand."""
        values = self.values
        missing: set[int] = set()
        for event in results:
            if event not in self.raw and not values.has_result(event):
                missing.add(event)
        for event in errors:
            if event not in self.errors and not values.has_error(event):
                missing.add(event)
        for event in args:
            if event not in self.args and not values.has_args(event):
                missing.add(event)
        if missing:
            raise NotLoaded(missing)


@dataclass(slots=True)
class StepPlace:
    """The place of a template: a step run, with the arrivals that began it.

    `own` is the event that holds (or is about to hold) the step's own result, 0 if there is none yet; `fixed` are
    names that the place gives a meaning before all others.
    """

    step: str
    visit: int
    arrivals: list[Arrival]
    own: int = 0
    job_id: int | None = None
    item_index: int = NO_ITEM
    fixed: Mapping[str, Any] | None = None
    inner: str | None = None  # the node of the loop that an item belongs to, where it stands within another
    repeats: int = 0


class Scope(dict[str, Any]):
    """The values a template reads. Iterated, it names all that it could have read: for "did you mean"."""

    __slots__ = ("_scopes",)

    def __init__(self, scopes: "Scopes") -> None:
        super().__init__()
        self._scopes = scopes

    def __iter__(self) -> Iterator[str]:
        return iter({**self, **dict.fromkeys(self._scopes.known())})


class Scopes:
    """Builds the scopes of one step run."""

    __slots__ = ("_args", "_loaded", "_place", "_plan", "_reader", "_state")

    def __init__(self, plan: Plan, state: State, reader: ValueReader, place: StepPlace) -> None:
        self._plan = plan
        self._state = state
        self._reader = reader
        self._place = place
        self._args: dict[str, Any] | None = None
        self._loaded: frozenset[str] = frozenset()

    def load(self, names: Collection[str]) -> None:
        """Raise `NotLoaded` for everything at once that these names will want."""
        if self._loaded.issuperset(names):
            return
        every, names = frozenset(names), self._open(names)
        if not names:
            return
        wanted = [event for event in map(self._result_event, self._steps_in(names)) if event]
        errors = []
        if "error" in names:
            errors = [event for event in (failure_of(self._place.arrivals), self._failure()) if event]
        if "result" in names and self._state.result and self._in_finally():
            wanted.append(self._state.result)
        self._reader.need(wanted, errors, self._events_with_args())
        self._loaded |= every

    def _open(self, names: Collection[str]) -> Collection[str]:
        """Those of the names to which this place gives no meaning of its own."""
        fixed = self._place.fixed
        return [name for name in names if name not in fixed] if fixed else names

    def transition_args(self) -> dict[str, Any]:
        """Return the args that came with the arrivals: the later edge wins, for one edge the later visit."""
        if self._args is None:
            merged: dict[str, Any] = {}
            if self._events_with_args():
                self._reader.need((), (), self._events_with_args())
                edges = self._plan.edges
                for arrival in sorted(self._place.arrivals, key=lambda one: (one[1], one[0])):
                    edge = edges.get(arrival[1])
                    if edge is not None and edge.args is not None:
                        merged.update(self._reader.arrival_args(arrival[0], arrival[1]))
            self._args = merged
        return self._args

    def add_args(self, template: Template | None) -> None:
        """Put a router's own args behind those that came with the arrivals."""
        if template is not None:
            transition = self.transition_args()
            scope = self.scope(template.names)
            mapping = template if isinstance(template, MappingTemplate) else None
            own = template.render(scope) if mapping is None else mapping.render_missing(scope, transition)
            self._args = {**own, **transition} if isinstance(own, dict) else transition

    def add_names(self, names: Mapping[str, object]) -> None:
        """Give names a meaning here, behind those that the place gives one already."""
        self._place.fixed = {**names, **(self._place.fixed or {})}

    def known(self) -> list[str]:
        """Return every name that a template here could read and a person could have meant."""
        near = (*(self._place.fixed or ()), *(self._args or ()))
        return [*near, *self._state.results, *self._reader.values.workload, "workload", "execution_id"]

    def scope(self, names: Collection[str], args: Mapping[str, object] | None = None) -> Scope:
        """Return the values of those of the names that exist. `args` stands in for the transition args."""
        scope = Scope(self)
        if not names:
            return scope
        if REFERENCE_CALL in names:
            names = [name for name in names if name != REFERENCE_CALL]
            scope[REFERENCE_CALL] = self._key()
        self.load(names)
        unfixed = self._open(names)
        for name in names:
            if name not in unfixed and self._place.fixed:
                scope[name] = self._place.fixed[name]
        if not unfixed:
            return scope
        near = self.transition_args() if args is None else args
        for name in unfixed:
            if name in near:
                scope[name] = near[name]
            else:
                self._far(name, scope)
        results = {name: self._view(name) for name in self._steps_in(names)}
        own = scope.get("results")
        if isinstance(own, LoopResult):
            scope["results"] = LoopResult(own.raw, own.errors, results)
        elif results or "results" in names:
            scope["results"] = results
        return scope

    def _far(self, name: str, scope: dict[str, Any]) -> None:
        workload = self._reader.values.workload
        if name in self._plan.steps:
            if self._result_event(name):
                scope[name] = self._view(name)
                return
        elif name == "workload":
            scope[name] = workload
            return
        elif name == "execution_id":
            scope[name] = str(self._reader.values.execution_id)
            return
        elif name == "env":
            scope[name] = self._reader.values.env
            return
        elif name == "job":
            scope[name] = self._job()
            return
        elif name == "error" and failure_of(self._place.arrivals):
            scope[name] = self._reader.error(failure_of(self._place.arrivals))
            return
        elif self._in_finally() and name in ("status", "error", "result"):
            scope[name] = self._of_execution(name)
            return
        if name in workload:
            scope[name] = workload[name]

    def _of_execution(self, name: str) -> Any:
        state = self._state
        if name == "status":
            return state.outcome
        if name == "error":
            return self._reader.error(state.failure) if state.failure else ABSENT
        return result_view(self._reader.result(state.result)) if state.result else ABSENT

    def _job(self) -> dict[str, Any]:
        job_id = self._place.job_id
        return {"id": None if job_id is None else str(job_id), "uuid": self._key()}

    def _key(self) -> str:
        place = self._place
        return idempotency_key(
            self._reader.values.execution_id, place.inner or place.step, place.visit, place.item_index, place.repeats
        )

    def _in_finally(self) -> bool:
        return self._state.outcome is not None

    def _failure(self) -> int:
        return self._state.failure if self._in_finally() else 0

    def _events_with_args(self) -> list[int]:
        edges = self._plan.edges
        return [
            arrival[0]
            for arrival in self._place.arrivals
            if (edge := edges.get(arrival[1])) is not None and edge.args is not None
        ]

    def _steps_in(self, names: Collection[str]) -> list[str]:
        """The steps with a result that these names speak of."""
        if ANY_RESULT in names:
            names = {**self._state.results, self._place.step: 0}
        return [name for name in names if name in self._plan.steps and self._result_event(name)]

    def _result_event(self, name: str) -> int:
        if self._place.own and name == self._place.step:
            return self._place.own
        return self._state.results.get(name, 0)

    def _view(self, name: str) -> Any:
        return result_view(self._reader.result(self._result_event(name)))
