"""Jobs, and the outcomes of their attempts, as plain values.

Results travel as raw JSON text (`bytes`): most are stored without ever being looked at.
"""

from dataclasses import dataclass, field
from typing import Any

from noetl.words import NO_ITEM, fact


@dataclass(slots=True)
class Job:
    """A queue row to be inserted. `delay` None: queued now; else waiting that many seconds (inf: until woken).

    `job_id` is set where the row of an earlier attempt goes on (a retry, a wait): it keeps its id and counters.
    """

    node_id: str
    visit: int
    item_index: int = NO_ITEM
    pool: str = "default"
    priority: int = 0
    context: dict[str, Any] = field(default_factory=dict)
    delay: float | None = None
    job_id: int | None = None
    attempts: int = 0
    failures: int = 0
    lost: int = 0


@fact
class Done:
    """The attempt succeeded. `result` is raw JSON; `saved` is what a block `save` keeps in the log beside it."""

    result: bytes
    saved: Any = None


@fact
class Failed:
    """The attempt failed. `error` is `{type, message, retryable, detail}`; types are words like `timeout`,
    `python`, `http`, `template`, `validation`, `cancelled`, `routing`. `result`: what the call gave, where only its
    block `save` failed."""

    error: dict[str, Any]
    result: bytes | None = None


@fact
class Collected:
    """A loop has been told what it runs over. `chunks` are JSON lists of `CHUNK` items each."""

    count: int
    concurrency: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease ran out: the worker that held it is lost."""


@fact
class JobRef:
    """The queue row an outcome belongs to, as it stood when it was removed."""

    job_id: int
    node_id: str
    visit: int
    item_index: int
    attempts: int  # leases granted, this one included
    failures: int
    lost: int
    context: dict[str, Any]
    pool: str = "default"
    priority: int = 0

    @property
    def repeats(self) -> int:
        """How many attempts succeeded and were not what `retry` waits for."""
        found: int = self.context.get("repeats", 0)
        return found


def ref_of(job: Job, job_id: int) -> JobRef:
    """Return the reference to a job that has not begun, by the id that its row has or will have."""
    return JobRef(
        job_id,
        job.node_id,
        job.visit,
        job.item_index,
        job.attempts,
        job.failures,
        job.lost,
        job.context,
        job.pool,
        job.priority,
    )
