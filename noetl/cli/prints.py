"""What the steps of an execution print, shown in front of the event that ended the attempt."""

from collections.abc import Callable
from typing import Any

from noetl.playbook.step_types import STEP_TYPES
from noetl.words import NO_ITEM, EventType

_ENDS = (
    EventType.STEP_COMPLETED,
    EventType.STEP_FAILED,
    EventType.ATTEMPT_FAILED,
    EventType.ITEM_COMPLETED,
    EventType.ITEM_FAILED,
)
_PRINTING = frozenset(name for name, type_ in STEP_TYPES.items() if type_.prints)

Row = dict[str, Any]


class Prints:
    """Asks for what was printed when an attempt has ended. `ask` gives a page of output behind a cursor, `show` takes
    the step and the text."""

    def __init__(self, ask: Callable[[str | None], Row], show: Callable[[str, str], None]) -> None:
        self._ask = ask
        self._show = show
        self._after: str | None = None

    def before(self, event: Row) -> None:
        """Show what was printed up to this event, if its step can have printed anything."""
        if event["event_type"] in _ENDS and event["node_type"] in _PRINTING:
            self.rest()

    def rest(self) -> None:
        """Show everything that was printed and has not been shown."""
        more = True
        while more:
            page = self._ask(self._after)
            for row in page["items"]:
                self._show(title(row), row["text"])
            more, self._after = page["next"] is not None, page["last"] or self._after


def title(row: Row) -> str:
    """Return the step of an output, with the item of its loop: `fetch[3]`."""
    step, *items = str(row["node_id"]).split("/")
    if row["item_index"] != NO_ITEM:
        items.append(str(row["item_index"]))
    return step + "".join(f"[{item}]" for item in items)
