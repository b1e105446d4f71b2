"""The answers that the executor gives to submitted calls."""

from collections.abc import Callable
from dataclasses import dataclass

from noetl.calls import Call
from noetl.orchestrator.attempt import LongLoop
from noetl.outcomes import Done, Failed
from noetl.words import fact


@dataclass(frozen=True, slots=True)
class NotBegun:
    """The call was not begun: it can be run again as if nothing had been.

    `surplus`: more is held than can run here soon; another worker may have room for it.
    """

    surplus: bool = False


@dataclass(frozen=True, slots=True)
class Computed:
    """A long loop whose items have been chosen, in a thread and instead of a call."""

    loop: LongLoop


Answer = Done | Failed | NotBegun | Computed

First = Callable[[Call], Call | Answer]
"""What is done before a call: it gives the call as it is to be made, or the answer to it without making it."""


@fact
class Report:
    """The answer to a submitted call. `seconds` it ran, measured where it ran."""

    token: int
    answer: Answer
    seconds: float
