"""The shape of every tool: a `Call` in, `Done` or `Failed` out.

A tool opens what its call names and never sees the engine's database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from noetl.calls import Call
from noetl.outcomes import Done, Failed, error_value
from noetl.rules.text import storable

Place = Literal["runner", "thread"]


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


def failed_at(
    where: str, type_: str, problem: object, *, retryable: bool = False, detail: object = None, output: str = ""
) -> Failed:
    """Return the failure of a call. Its message is the problem behind its place in the playbook, as it can be stored.

    >>> failed_at("examples/day#load", "validation", "there is no table t").error["message"]
    'examples/day#load: there is no table t'
    """
    return Failed(error_value(type_, storable(f"{where}: {problem}"), retryable=retryable, detail=detail), output)
