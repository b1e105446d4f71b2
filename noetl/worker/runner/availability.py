"""The availability of a worker for calls: it may lack descriptors, memory, processes, or the interpreter itself."""

import logging
from typing import Final

log = logging.getLogger("noetl.worker")

MAX_FAILED_STARTS: Final = 3
"""Runners in a row that may end before they are ready, until no other is started for a while."""

FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0
"""Seconds until the next attempt when no process can be made: doubled each time."""


class Availability:
    """Whether calls can run in this worker. `obstacle` says why none can, and is empty while they can; meanwhile the
    worker takes no jobs, and puts back those that it has. The log says so once."""

    def __init__(self) -> None:
        self.obstacle = ""
        self.start_at = 0.0  # monotonic; no runner is started before
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._logged = ""
        self._failed_starts = 0
        self._forks_fail = False

    def process_failed(self, why: str, now: float, *, left: bool) -> None:
        """Take note of a failure to make a process. `left`: there are runners with which it goes on."""
        self.start_at = now + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, MAX_RETRY_SECONDS)
        if left:
            return
        self.obstacle = why
        if not self._logged:
            log.error("this worker takes no jobs until it can run them again: %s", why)
            self._logged = why

    def fork_failed(self, why: str, now: float, *, left: bool) -> None:
        """Take note of a runner that could make no process for a call."""
        self._forks_fail = True
        self.process_failed(f"no process can be made for a step: {why}", now, left=left)

    def start_failed(self, how: str, output: str, now: float, *, left: bool) -> None:
        """Take note of a runner that ended before it was ready. A few in a row count as a failure to start any."""
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            printed = f": {output.strip()[-500:]}" if output.strip() else ""
            self.process_failed(f"no runner process can be started, it {how}{printed}", now, left=left)

    def try_again(self) -> None:
        """Let the next call show whether processes can be made again."""
        self.obstacle = ""

    def runner_started(self) -> None:
        """Take note of a runner that is ready."""
        if self.start_at or self._failed_starts:
            self._restore()

    def call_ran(self) -> None:
        """Take note of a call that ran."""
        if self._forks_fail:
            self._restore()

    def _restore(self) -> None:
        self._failed_starts, self._retry_seconds = 0, FIRST_RETRY_SECONDS
        self.start_at, self._forks_fail, self.obstacle = 0.0, False, ""
        if self._logged:
            log.info("this worker takes jobs again")
            self._logged = ""
