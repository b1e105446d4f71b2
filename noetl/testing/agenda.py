"""Virtual time: a clock, and the acts that are due, in order. Nothing waits."""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from noetl.playbook.durations import EPOCH

MICROSECONDS_PER_SECOND: Final = 1_000_000
DEFAULT_NOW_MICROSECONDS: Final = 1_767_225_600 * MICROSECONDS_PER_SECOND
"""When a test begins that does not say it: 2026-01-01T00:00:00Z, in microseconds since 1970."""


class Agenda:
    """A clock that jumps to the next act. Acts due at the same moment happen in the order in which they were added.

    `now` and `began` are in microseconds since 1970.
    """

    def __init__(self, began: int | None) -> None:
        self.began = DEFAULT_NOW_MICROSECONDS if began is None else began
        self.now = self.began
        self._acts: list[tuple[int, int, Callable[[], None]]] = []
        self._made = 0

    def __bool__(self) -> bool:
        return bool(self._acts)

    @property
    def time(self) -> datetime:
        """The present moment."""
        return EPOCH + timedelta(microseconds=self.now)

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return (self.now - self.began) / MICROSECONDS_PER_SECOND

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Add an act that happens in so many seconds."""
        self.at(self.now + round(seconds * MICROSECONDS_PER_SECOND), act)

    def at(self, moment: int, act: Callable[[], None]) -> None:
        """Add an act that happens at a moment."""
        self._made += 1
        heapq.heappush(self._acts, (max(moment, self.now), self._made, act))

    def step(self) -> None:
        """Let the next act happen."""
        self.now, _, act = heapq.heappop(self._acts)
        act()
