"""The shape every tool has: a `Call` in, `Done` or `Failed` out.

A tool opens what its call names and never sees the engine's database.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from noetl.calls import Call
from noetl.outcomes import Done, Failed, error_value

Place = Literal["runner", "thread"]

MAX_TEXT_CHARACTERS: Final = 16 * 1024
"""How much of a message or traceback an error keeps, in characters."""


@dataclass(frozen=True, slots=True)
class Tool:
    """The way a step type is carried out; what the language says of the type stands in its descriptor
    (`noetl/playbook/step_types.py`), also whether its calls run in a thread or a runner.

    `default_timeout` is in seconds. `close` lets go of what the tool keeps between calls. `cancel` ends what a call in
    a thread still does when it has been given up (killed, or over its time); it may wait. `place_of`, where a tool has
    it, chooses the place of each call. `imports` are the modules that the first call imports.
    """

    type: str
    run: Callable[[Call], Done | Failed]
    default_timeout: float | None = None
    close: Callable[[], None] | None = None
    cancel: Callable[[Call], None] | None = None
    place_of: Callable[[Call], Place] | None = None
    imports: tuple[str, ...] = ()


class InvalidCall(Exception):
    """A call cannot be carried out as it is written. The message is one sentence that says what to change."""


CUT_SIGN: Final = re.compile(r"(\n?\.\.\. [\d,]+ (?:characters|bytes) left out \.\.\.)")
"""The sign of a place where text was cut: what stands around it may be half of something."""


def storable(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return text as the event log can hold it: without NUL and lone surrogates, its middle cut out over `limit`."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


def failed_at(
    where: str, type_: str, problem: object, *, retryable: bool = False, detail: Any = None, output: str = ""
) -> Failed:
    """Return the failure of a call. Its message is the problem behind its place in the playbook, as it can be stored.

    >>> failed_at("examples/day#load", "validation", "there is no table t").error["message"]
    'examples/day#load: there is no table t'
    """
    return Failed(error_value(type_, storable(f"{where}: {problem}"), retryable=retryable, detail=detail), output)
