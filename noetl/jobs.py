"""The job: a row of the queue, as the engine, the orchestrator and the database hand it to each other."""

from dataclasses import field, fields
from operator import attrgetter
from typing import Any, Final

from noetl.words import DEFAULT_POOL, NO_ITEM, fact


@fact
class Job:
    """One job: on its way into the queue, or as it stood when it was leased.

    `job_id` is 0 until the queue has given one; a job that continues (a retry, a wait) keeps its id and its counters.
    `delay` says when a job that is to be inserted may run: None for now, else in so many seconds, infinity for until it
    is woken. All other fields are columns of the queue (`noetl.database.rows.JOB_COLUMNS`).
    """

    node_id: str
    visit: int
    item_index: int = NO_ITEM
    pool: str = DEFAULT_POOL
    priority: int = 0
    attempts: int = 0  # leases granted, the present one included: the fence
    failures: int = 0
    lost: int = 0
    job_id: int = 0
    context: dict[str, Any] = field(default_factory=dict)
    delay: float | None = None

    @property
    def repeats(self) -> int:
        """How many attempts succeeded and were not what `retry` waits for."""
        repeats: int = self.context.get("repeats", 0)
        return repeats

    def again(self, **changes: object) -> "Job":
        """Return the job with some fields changed: `dataclasses.replace` in half the time, once for each step."""
        again = Job(*_values(self))
        for name, value in changes.items():
            setattr(again, name, value)
        return again

    def columns(self) -> dict[str, Any]:
        """Return the columns of the job's row by name, but for its id."""
        return dict(zip(COLUMNS, _columns(self), strict=True))


COLUMNS: Final = tuple(each.name for each in fields(Job) if each.name not in ("job_id", "delay"))

_values = attrgetter(*(each.name for each in fields(Job)))
_columns = attrgetter(*COLUMNS)
