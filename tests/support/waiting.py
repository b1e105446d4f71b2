"""Waiting has a condition and a limit."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], *, limit: float = 60.0, every: float = 0.02) -> None:
    """Return as soon as `condition` holds; fail after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit:g} s: {condition}"
        time.sleep(every)
