"""What a test keeps of each attempt of a step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noetl.engine.facts import JobRef
from noetl.engine.render import Rendered
from noetl.words import NO_ITEM


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt, as its tool is called. `item` is None outside loops; `at` are seconds since the test began."""

    step: str
    type: str
    visit: int
    item: int | None
    attempt: int
    args: Mapping[str, Any]
    fields: Mapping[str, Any]
    auth: Any
    timeout: float | None
    at: float

    def told(self) -> dict[str, Any]:
        """Return what expectations look at."""
        found: dict[str, Any] = {"visit": self.visit, "attempt": self.attempt}
        if self.item is not None:
            found["item"] = self.item
        found |= {"args": dict(self.args), "fields": dict(self.fields)}
        if self.auth is not None:
            found["auth"] = self.auth
        if self.timeout is not None:
            found["timeout"] = self.timeout
        return found

    def __str__(self) -> str:
        parts = [f"step {self.step!r} (type {self.type}"]
        parts += [f"visit {self.visit}"] if self.visit > 1 else []
        parts += [f"item {self.item}"] if self.item is not None else []
        parts += [f"attempt {self.attempt}"] if self.attempt > 1 else []
        return ", ".join(parts) + ")"


def call_of(rendered: Rendered, job: JobRef, at: float) -> Call:
    """Return the call of a job that has been rendered."""
    return Call(
        job.node_id,
        rendered.type,
        job.visit,
        None if job.item_index == NO_ITEM else job.item_index,
        job.failures + 1,
        rendered.args,
        rendered.fields,
        rendered.auth,
        rendered.timeout,
        at,
    )
