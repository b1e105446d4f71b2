"""Whether a worker can run calls: it may lack descriptors, memory, processes, or the interpreter itself."""

import logging
from typing import Final

log = logging.getLogger("noetl.worker")

STILLBORN: Final = 3
"""How many runners in a row may end before they are ready, until no other is started for a while."""

FIRST_PAUSE: Final = 1.0
GREATEST_PAUSE: Final = 30.0
"""Seconds until the next attempt when no process can be made: doubled each time."""


class Ability:
    """The worker's knowledge of it. `unable` says why no call can run here, upon which the worker takes no jobs and
    puts back those that it has; it is empty while calls can. The log says so once."""

    def __init__(self) -> None:
        self.unable = ""
        self.start_at = 0.0  # monotonic; no runner is started before
        self._pause = FIRST_PAUSE
        self._said = ""
        self._stillborn = 0
        self._forks_fail = False

    def lack(self, why: str, now: float, *, left: bool) -> None:
        """Take note of a failure to make a process. `left`: there are runners with which it goes on."""
        self.start_at = now + self._pause
        self._pause = min(2 * self._pause, GREATEST_PAUSE)
        if left:
            return
        self.unable = why
        if not self._said:
            log.error("this worker takes no jobs until it can run them again: %s", why)
            self._said = why

    def lack_fork(self, why: str, now: float, *, left: bool) -> None:
        """Take note of a runner that could make no process for a call."""
        self._forks_fail = True
        self.lack(f"no process can be made for a step: {why}", now, left=left)

    def lack_start(self, how: str, output: str, now: float, *, left: bool) -> None:
        """Take note of a runner that ended before it was ready. A few in a row count as a failure to start any."""
        self._stillborn += 1
        if self._stillborn >= STILLBORN:
            said = f": {output.strip()[-500:]}" if output.strip() else ""
            self.lack(f"no runner process can be started, it {how}{said}", now, left=left)

    def try_again(self) -> None:
        """Let the next call show whether processes can be made again."""
        self.unable = ""

    def ready(self) -> None:
        """Take note of a runner that has started."""
        if self.start_at or self._stillborn:
            self._restore()

    def answered(self) -> None:
        """Take note of a call that ran."""
        if self._forks_fail:
            self._restore()

    def _restore(self) -> None:
        self._stillborn, self._pause, self.start_at, self._forks_fail = 0, FIRST_PAUSE, 0.0, False
        self.unable = ""
        if self._said:
            log.info("this worker takes jobs again")
            self._said = ""
