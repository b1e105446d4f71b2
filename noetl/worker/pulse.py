"""The pulse of a worker: whether its loop still turns, told to the supervisor and asked before leases are renewed.

A loop that waits for the database uses no processor; one that computes without an end does. So it is measured by the
time that its thread has spent on a processor since its last turn: neither a long wait for a lock nor a busy machine
counts. A process whose interpreter is held for good says nothing at all, which is a sign, too.
"""

import faulthandler
import logging
import os
import threading
import time
from typing import Final

log = logging.getLogger("noetl.worker")

MAX_TURN_SECONDS: Final = 60.0
"""Seconds on a processor after which a turn of the worker loop will not end: far beyond the budget of its renders."""

BEAT_INTERVAL_SECONDS: Final = 1.0
BEAT_BYTE: Final = b"b"

_TRACEBACK_SECONDS: Final = 20.0
_BEATS_PER_ALARM: Final = 5
"""When no beat has set the alarm anew for so many seconds, the log gets what every thread of the process does."""


class Pulse:
    """The turns of a worker loop. `turn` belongs to its thread, `stands_still` may be asked by any."""

    def __init__(self, longest_turn: float = MAX_TURN_SECONDS) -> None:
        self._longest = longest_turn
        self._clock: int | None = None
        self._since = 0.0

    def turn(self) -> None:
        """Note that the worker loop begins a turn."""
        if self._clock is None:
            self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._since = time.thread_time()

    def rest(self) -> None:
        """Note that the worker loop has ended: its thread may end, too, and its clock with it."""
        self._clock = None

    def stands_still(self) -> bool:
        """Whether the turn under way has taken more than a turn can take."""
        clock = self._clock
        return clock is not None and time.clock_gettime(clock) - self._since > self._longest


def beat(descriptor: int, pulse: Pulse, stop: threading.Event) -> threading.Thread:
    """Start the thread that tells the supervisor once a second that this worker lives, and return it."""

    def run() -> None:
        beats = 0
        while not stop.wait(BEAT_INTERVAL_SECONDS):
            if pulse.stands_still():
                continue
            if beats % _BEATS_PER_ALARM == 0:
                faulthandler.dump_traceback_later(_TRACEBACK_SECONDS)
            beats += 1
            try:
                os.write(descriptor, BEAT_BYTE)
            except OSError:
                break  # the supervisor is gone
        faulthandler.cancel_dump_traceback_later()

    thread = threading.Thread(target=run, name="beat", daemon=True)
    thread.start()
    return thread
