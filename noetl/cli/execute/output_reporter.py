"""The reporter of output: it shows what steps print in front of the event that ends their attempt."""

from collections.abc import Callable

from noetl.cli.json_object import JsonObject
from noetl.playbook.step_types import STEP_TYPES
from noetl.words import NO_ITEM, EventType

_ATTEMPT_ENDS = (
    EventType.STEP_COMPLETED,
    EventType.STEP_FAILED,
    EventType.ATTEMPT_FAILED,
    EventType.ITEM_COMPLETED,
    EventType.ITEM_FAILED,
)
_PRINTING = frozenset(name for name, type_ in STEP_TYPES.items() if type_.prints)


class OutputReporter:
    """Asks for what was printed when an attempt has ended. `ask` gives a page of output behind a cursor, `show` takes
    the step and the text."""

    def __init__(self, ask: Callable[[str | None], JsonObject], show: Callable[[str, str], None]) -> None:
        self._ask = ask
        self._show = show
        self._after: str | None = None

    def report_before(self, event: JsonObject) -> None:
        """Show what was printed up to this event, if its step can have printed anything."""
        if event["event_type"] in _ATTEMPT_ENDS and event["node_type"] in _PRINTING:
            self.report_rest()

    def report_rest(self) -> None:
        """Show everything that was printed and has not been shown."""
        more = True
        while more:
            page = self._ask(self._after)
            for row in page["items"]:
                self._show(step_label(row), row["text"])
            more, self._after = page["next"] is not None, page["last"] or self._after


def step_label(row: JsonObject) -> str:
    """Return the step of an event or an output, with the item of its loop.

    >>> step_label({"node_id": "fetch/2", "item_index": 3})
    'fetch[2][3]'
    """
    step, *items = str(row["node_id"] or "").split("/")
    if (index := row.get("item_index", NO_ITEM)) != NO_ITEM:
        items.append(str(index))
    return step + "".join(f"[{item}]" for item in items)
