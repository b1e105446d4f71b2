"""The watchdog of a server: it ends the process when the event loop stops, since nothing else in it could.

The kernel counts, in the processor time of the process: it needs no interpreter, neither a busy machine nor a process
that was stopped for a while counts as one that hangs, and no other process has to live beside the server.
"""

import faulthandler
import signal
from types import TracebackType
from typing import Final

HELD_SECONDS: Final = 30.0
"""Seconds on a processor without a turn after which the server ends: far beyond the budget of a render."""


class Watchdog:
    """Ends this process by SIGPROF where `turn` is not called in time, after every thread's traceback. Nothing is
    watched before the first turn, and behind the block."""

    def __init__(self, seconds: float = HELD_SECONDS) -> None:
        self._seconds = seconds

    def __enter__(self) -> "Watchdog":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)

    def turn(self) -> None:
        """Count anew."""
        signal.setitimer(signal.ITIMER_PROF, self._seconds)
