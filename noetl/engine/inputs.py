"""The inputs of `decide`: everything that can happen to an execution."""

from dataclasses import dataclass
from typing import Any

from noetl.jobs import Job
from noetl.outcomes import Done, Expired, Failed
from noetl.words import fact


@fact
class Collected:
    """The items of a loop are known. `chunks` are JSON lists of `ITEMS_PER_CHUNK` items each."""

    count: int
    concurrency: int
    chunks: tuple[bytes, ...]


@fact
class AttemptEnded:
    """An attempt has ended; its job has been removed from the queue."""

    job: Job
    outcome: Done | Failed | Expired | Collected
    worker_id: str | None = None
    duration: float | None = None  # seconds it ran
    queued: float | None = None  # seconds it stood in the queue before
    jitter: float = 0.5  # a random number in [0, 1), for the retry's delay


@dataclass(frozen=True, slots=True)
class Start:
    """The execution begins. `context` is that of its first event: path, version, hash, parent."""

    context: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody, or the parent, wants it to end."""

    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The execution is past its `timeout`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """These jobs were removed from the queue before they began, because the last decision asked for it."""

    jobs: tuple[Job, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Continue:
    """The job that continues a long chain of routers has run; it has been removed from the queue."""


Input = Start | AttemptEnded | Cancel | TimedOut | Withdrawn | Continue
