"""The shape every tool has: a `Call` in, `Done` or `Failed` out.

A tool opens what its call names and never sees the engine's database.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from noetl.words import fact

Place = Literal["runner", "thread"]

TEXT_LIMIT: Final = 16 * 1024
"""How much of a message or traceback an error keeps, in characters."""


@fact
class Call:
    """One attempt of one step run, ready to be carried out.

    `fields` are the tool's own fields and `args` the step's arguments, both rendered to plain JSON types. `key` is
    the idempotency key, equal for every attempt. `timeout` is in seconds (None: the tool's default; infinity: no
    limit). `where` names playbook path and step, for error messages and tracebacks. `limit` is the greatest result
    in bytes. `auth` maps an alias to a credential (`{type, ...}`, decrypted by the worker; the alias of a single one
    is empty); it is never shown. `secrets` are the values that were put into fields, args and auth: wherever they
    turn up in what comes back, the worker masks them.
    """

    type: str
    key: str
    where: str
    fields: Mapping[str, Any]
    args: Mapping[str, Any]
    timeout: float | None
    limit: int
    context: Mapping[str, Any]  # execution_id, step, visit, item_index, attempt, workload; results where known
    auth: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Call({self.type!r}, {self.key!r})"  # no values: secrets are among them


@fact
class Done:
    """It worked. `result` is JSON text as bytes, checked to be plain and within the limit."""

    result: bytes
    output: str = ""  # captured prints, at most the last 64 KiB


@fact
class Failed:
    """It did not. `error` is `{type, message, retryable, detail}`."""

    error: dict[str, Any]
    output: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """One action type. `place` says where it runs: somebody's code in a `runner` (a child process), waiting I/O in
    a `thread`. `default_timeout` is in seconds. `close` lets go of what the tool keeps between calls. `cancel` ends
    what a call in a thread still does when it has been given up (killed, or over its time); it may wait.
    `place_of`, where a tool has it, says the place of each call."""

    type: str
    place: Place
    run: Callable[[Call], Done | Failed]
    default_timeout: float | None = None
    close: Callable[[], None] | None = None
    cancel: Callable[[Call], None] | None = None
    place_of: Callable[[Call], Place] | None = None


def error(type_: str, message: str, *, retryable: bool = False, detail: Any = None) -> dict[str, Any]:
    """Return the uniform error value."""
    return {"type": type_, "message": message, "retryable": retryable, "detail": detail}


CUT: Final = re.compile(r"(\n?\.\.\. [\d,]+ (?:characters|bytes) left out \.\.\.)")
"""The sign of a place where text was cut: what stands around it may be half of something."""


def storable(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return text as the event log can hold it: without NUL and lone surrogates, its middle cut out over `limit`."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
