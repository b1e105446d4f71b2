"""The outcomes of a job's attempts, as plain values.

Results travel as raw JSON text (`bytes`): most are stored without ever being looked at.
"""

from dataclasses import dataclass
from typing import Any

from noetl.words import fact


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
