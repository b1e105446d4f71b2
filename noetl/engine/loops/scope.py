"""The names of templates within a loop: the iterators of all its levels, `index`, `_loop`."""

from collections.abc import Iterator
from typing import Any

from noetl.engine.plan import Plan
from noetl.engine.state import State
from noetl.engine.values import ChunkKey, NotLoaded, Values
from noetl.playbook.model import Loop, Step
from noetl.playbook.templates.result_views import result_view
from noetl.words import ITEMS_PER_CHUNK, step_of


def levels(step: Step, node: str, index: int) -> Iterator[tuple[Loop, str, int]]:
    """Yield the loops that an item stands in, the outermost first: each with its node and the item's index there."""
    name, *indexes = node.split("/")
    for loop, number in zip(step.loops, [*map(int, indexes), index], strict=False):
        yield loop, name, number
        name = f"{name}/{number}"


def names_of_item(plan: Plan, state: State, values: Values, node: str, visit: int, index: int) -> dict[str, Any]:
    """Return what its loops give an item to name; within it, the step's own name knows `result_index`.

    Raises `NotLoaded`.
    """
    step = plan.steps[step_of(node)].step
    names: dict[str, Any] = {}
    around: dict[str, Any] | None = None
    for loop, at, number in levels(step, node, index):
        names[loop.iterator] = values.item(at, visit, number)
        around = _position(number, state.loops[at]["count"], around)
    return {**names, "index": index, "_loop": around, step.name: result_view({"result_index": index})}


def items_of_loop(values: Values, node: str, visit: int, count: int) -> list[Any]:
    """Return all that a loop runs over. Raises `NotLoaded` for all of it that is missing at once."""
    missing: set[ChunkKey] = set()
    for start in range(0, count, ITEMS_PER_CHUNK):
        try:
            values.item(node, visit, start)
        except NotLoaded as error:
            missing |= error.chunks
    if missing:
        raise NotLoaded(set(), missing)
    return [values.item(node, visit, index) for index in range(count)]


def arguments(step: Step, node: str, index: int, names: dict[str, Any]) -> dict[str, Any]:
    """Return what code that runs per item is handed beside its args: the items by their iterators' names, the
    innermost as `value`, too, and as `batch` where it is one."""
    handed: dict[str, Any] = {}
    for loop, _, number in levels(step, node, index):
        item = names[loop.iterator]
        handed[loop.iterator] = handed["value"] = item
        if loop.batch is not None:
            handed["batch"] = item
        if loop.enumerate:
            handed["index"] = number
    return handed


def _position(index: int, count: int, around: dict[str, Any] | None) -> dict[str, Any]:
    """Return `_loop`: where an item stands in its loop, and as `parent` where that stands in the one around it."""
    position: dict[str, Any] = {"index": index, "count": count, "first": index == 0, "last": index == count - 1}
    return position if around is None else {**position, "parent": around}
