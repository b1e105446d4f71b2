"""The items of a loop: `in`, then `where`, `order_by`, `limit`, `batch`, in this order, cut into chunks. Pure.

`in` has the budget of one render. All that follows is work for each item, which may take many times as long, so a
`Collection` can be finished in another thread than that which began it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from noetl.engine.inputs import Collected
from noetl.engine.loops.scope import names_of_item
from noetl.engine.plan import Plan, StepPlan, plan_of
from noetl.engine.scope import Scopes, StepPlace, ValueReader
from noetl.engine.state import State
from noetl.engine.values import Values
from noetl.errors import InputError, TooLarge
from noetl.jobs import Job
from noetl.playbook.model import Loop, Playbook, Step, Template
from noetl.playbook.read.loops import DEFAULT_CONCURRENCY
from noetl.playbook.templates.budget import on_one_budget
from noetl.playbook.templates.evaluate import evaluated
from noetl.playbook.templates.operators import ordered
from noetl.playbook.values import brief, plain
from noetl.words import ITEMS_PER_CHUNK, NO_ITEM, step_of

MAX_LOOP_ITEMS: Final = 1_000_000
"""Items that one loop can have."""

ITEMS_PER_BUDGET: Final = 100_000
"""Items whose `where` and `order_by` share the budget of one render."""

LONG_LOOP_ITEMS: Final = 1_000
"""Items beyond which a loop is collected in a thread of its own: fewer are done sooner than handed over."""

_TYPE_NAMES: Final = {dict: "a mapping", str: "text", bool: "a truth value", int: "a number", float: "a number"}


def to_collect(step: Step, job: Job) -> Loop | None:
    """Return the loop whose items a job has to collect; None for a job that runs the step's action, or ends a loop."""
    if not step.loops or "end" in job.context:
        return None
    depth = 0 if job.item_index == NO_ITEM else job.node_id.count("/") + 1
    return step.loops[depth] if depth < len(step.loops) else None


def collect(playbook: Playbook, state: State, job: Job, values: Values, limit: int) -> Collected:
    """Return what the loop of a job runs over, all at once. `limit`: the most bytes it may have as JSON.

    Raises `TemplateError`, `InputError` for what is no list or too long, `NotLoaded`.
    """
    return begin_collection(playbook, state, job, values).collected(limit)


def begin_collection(playbook: Playbook, state: State, job: Job, values: Values) -> "Collection":
    """Return the items of the loop of a job, of which none has been looked at yet. Raises as `collect` does."""
    plan = plan_of(playbook)
    step_plan = plan.steps[step_of(job.node_id)]
    loop = to_collect(step_plan.step, job)
    assert loop is not None
    return Collection(plan, step_plan, state, job, values, loop)


class Collection:
    """One loop about to begin. `given_up` may be set from another thread: nobody waits for it any more."""

    def __init__(self, plan: Plan, step_plan: StepPlan, state: State, job: Job, values: Values, loop: Loop) -> None:
        self.given_up = False
        self._step = step_plan.step
        self._loop = loop
        self._plan = plan
        self._state = state
        names: Mapping[str, Any] = {}
        if job.item_index != NO_ITEM:
            names = names_of_item(plan, state, values, job.node_id, job.visit, job.item_index)
        self._names = names
        arrivals = state.runs[self._step.name][1]
        self._place = StepPlace(self._step.name, job.visit, arrivals, job_id=job.job_id, fixed=names)
        self._scopes = Scopes(plan, state, ValueReader(values), self._place)
        self._concurrency = (
            1 if loop.sequential else self._number(loop.concurrency, "concurrency", DEFAULT_CONCURRENCY, 1)
        )
        self._items_in = on_one_budget(self._rendered_items)

    @property
    def is_long(self) -> bool:
        """Whether the rest had better be done in another thread."""
        return len(self._items_in) > LONG_LOOP_ITEMS

    def read_from(self, values: Values) -> None:
        """Read what the rest needs from other values: from a copy that no other thread changes."""
        self._scopes = Scopes(self._plan, self._state, ValueReader(values), self._place)

    def collected(self, limit: int) -> Collected:
        """Return what the loop runs over, of `limit` bytes as JSON at most. Raises as `collect` does."""
        times = 1 + len(self._items_in) // ITEMS_PER_BUDGET
        items = on_one_budget(self._chosen, self._items_in, times=times)
        return Collected(len(items), self._concurrency, tuple(self._chunks(items, limit)))

    def _chosen(self, items: list[Any]) -> list[Any]:
        """Return those items that are to run, in order, in their batches."""
        loop = self._loop
        if loop.where is not None:
            items = [item for index, item in enumerate(items) if self._of_item(loop.where, item, index)]
        if loop.order_by is not None:
            items = self._sorted(items, loop.order_by)
        if loop.limit is not None:
            items = items[: self._number(loop.limit, "limit", 0, 0)]
        if loop.batch is not None:
            size = self._number(loop.batch, "batch", 1, 1)
            items = [items[start : start + size] for start in range(0, len(items), size)]
        return items

    def _rendered_items(self) -> list[Any]:
        items = self._loop.items.render(self._scopes.scope(self._loop.items.names))
        if not isinstance(items, list):
            kind = "empty (null)" if items is None else _TYPE_NAMES.get(type(items), type(items).__name__)
            advice = ": '| list' makes one of its keys, '.items()' of its pairs" if isinstance(items, dict) else ""
            raise self._wrong("in", f"is {kind}: it must be a list{advice}")
        if len(items) > MAX_LOOP_ITEMS:
            raise self._wrong("in", f"has {len(items):,} items, at most {MAX_LOOP_ITEMS:,} can be: use batches of them")
        return items

    def _of_item(self, template: Template, item: object, index: int) -> Any:
        if self.given_up:
            raise self._wrong("where", "was given up")
        names = {**self._names, self._loop.iterator: item, "index": index}
        self._place.fixed = names
        return template.render(self._scopes.scope(template.names))

    def _sorted(self, items: list[Any], order_by: Template) -> list[Any]:
        if order_by.constant:
            raise self._wrong("order_by", "is the same for every item: write a template, as '{{ item.name }}'")
        keys = [self._of_item(order_by, item, index) for index, item in enumerate(items)]
        return evaluated(self._by_keys, items, keys)

    def _by_keys(self, items: list[Any], keys: list[Any]) -> list[Any]:
        try:
            return ordered(items, keys)
        except TypeError:
            kinds = sorted({_kind(key) for key in keys})
            raise self._wrong(
                "order_by", f"gives {' and '.join(kinds)}, which have no order: make them alike"
            ) from None

    def _number(self, template: Template | None, field: str, default: int, least: int) -> int:
        if template is None:
            return default
        number = template.render(self._scopes.scope(template.names))
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise self._wrong(field, f"is {brief(number)}: it must be a whole number, {least} or more")
        return int(number)

    def _chunks(self, items: list[Any], limit: int) -> Iterable[bytes]:
        size = 0
        for start in range(0, len(items), ITEMS_PER_CHUNK):
            chunk = plain(items[start : start + ITEMS_PER_CHUNK], limit, f"in of the loop of {self._step.name}")
            size += len(chunk)
            if size > limit:
                raise TooLarge(
                    f"in of the loop of step {self._step.name!r} has more than {limit:,} bytes as JSON, the limit:"
                    " run over keys or file names, and read what belongs to them in each item"
                )
            yield chunk

    def _wrong(self, field: str, reason: str) -> InputError:
        return InputError(f"{field} of the loop of step {self._step.name!r} {reason}")


def _kind(key: object) -> str:
    return "null" if key is None else _TYPE_NAMES.get(type(key), "a list")
