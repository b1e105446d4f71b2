"""The records of calls: one for each attempt of a step, and for each block `save`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noetl.engine.render import Rendered
from noetl.jobs import Job
from noetl.words import NO_ITEM, step_of


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One attempt, as its tool is called. `item` is None outside loops; `at` are seconds since the test began.

    The call of a block `save` has the name of its step with `.save` behind it. In a loop within a loop an item is
    text: `2/0` is item 0 of the loop that item 2 runs.
    """

    step: str
    type: str
    visit: int
    item: int | str | None
    attempt: int
    args: Mapping[str, Any]
    fields: Mapping[str, Any]
    auth: Any
    timeout: float | None
    at: float

    @property
    def index(self) -> int | None:
        """The item's index in its own loop, None outside loops."""
        return None if self.item is None else int(str(self.item).rpartition("/")[2])

    def as_data(self) -> dict[str, Any]:
        """Return the call as expectations compare it."""
        data: dict[str, Any] = {"visit": self.visit, "attempt": self.attempt}
        if self.item is not None:
            data["item"] = self.item
        data |= {"args": dict(self.args), "fields": dict(self.fields)}
        if self.auth is not None:
            data["auth"] = self.auth
        if self.timeout is not None:
            data["timeout"] = self.timeout
        return data

    def __str__(self) -> str:
        parts = [f"step {self.step!r} (type {self.type}"]
        parts += [f"visit {self.visit}"] if self.visit > 1 else []
        parts += [f"item {self.item}"] if self.item is not None else []
        parts += [f"attempt {self.attempt}"] if self.attempt > 1 else []
        return ", ".join(parts) + ")"


def call_of(rendered: Rendered, job: Job, at: float, *, save: bool = False) -> CallRecord:
    """Return the call of a job that has been rendered, or of the block `save` of one."""
    step = step_of(job.node_id)
    return CallRecord(
        step=f"{step}.save" if save else step,
        type=rendered.type,
        visit=job.visit,
        item=item_of(job.node_id, job.item_index),
        attempt=job.failures + 1,
        args=rendered.args,
        fields=rendered.fields,
        auth=rendered.auth,
        timeout=rendered.timeout,
        at=at,
    )


def item_of(node_id: str, item_index: int) -> int | str | None:
    """Return an item's name in tests: its index, in an inner loop behind the indexes of the items around it."""
    if item_index == NO_ITEM:
        return None
    around = node_id.partition("/")[2]
    return f"{around}/{item_index}" if around else item_index
