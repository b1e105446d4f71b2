"""Durations of executions and steps, and how people read them."""

from datetime import datetime

from noetl.playbook.step_types import STEP_TYPES

_WITHOUT_WORKER = frozenset(name for name, type_ in STEP_TYPES.items() if type_.place == "queue")
"""Types whose steps last longer than any attempt: a worker has them in hand at their beginning only."""


def seconds_between(begin: str, end: str) -> float:
    """Return the seconds between two timestamps."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def lasts_beyond_attempts(step_type: str | None, *, is_loop: bool) -> bool:
    """Tell whether a step takes as long as it is under way: a loop, a wait, a child. Others take their last attempt."""
    return is_loop or step_type in _WITHOUT_WORKER


def seconds_text(seconds: float | None) -> str:
    """Return a duration as people read it, nothing where it is not known.

    >>> seconds_text(7384)
    '2 h 03 min'
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
