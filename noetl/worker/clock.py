"""The database's clock against this process's monotonic one: leases, waits and timeouts follow the first."""

from dataclasses import dataclass

NOTICED_SECONDS = 2.0
"""A jump of so much is worth a word; less is what corrections of a clock and busy machines look like."""


@dataclass(slots=True)
class ClockWatch:
    """Compares two clocks whenever both have been read. Seconds."""

    _database: float | None = None
    _earliest: float = 0.0
    _latest: float = 0.0

    def jump(self, database: float, earliest: float, latest: float) -> float:
        """Return how far the database's clock was set since the last reading, 0.0 if it just went on.

        `database` is its time, read at some moment between `earliest` and `latest` of the monotonic clock.
        """
        before, at_least, at_most = self._database, earliest - self._latest, latest - self._earliest
        self._database, self._earliest, self._latest = database, earliest, latest
        if before is None:
            return 0.0
        passed = database - before
        beyond = min(passed - at_least, 0.0) or max(passed - at_most, 0.0)
        return beyond if abs(beyond) >= NOTICED_SECONDS else 0.0


def told(jump: float) -> str:
    """Say what a jump of the clock means for what runs."""
    if jump < 0:
        return (
            f"the database's clock was set back by {-jump:.0f} s: waits, retries and timeouts that were due come that "
            "much later; leases of workers that are gone end within their usual time"
        )
    return (
        f"the database's clock went ahead by {jump:.0f} s: waits, retries and timeouts come that much earlier, and "
        "leases may have ended under workers that live, whose steps run again"
    )
