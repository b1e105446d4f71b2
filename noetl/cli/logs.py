"""Logging of the processes that run for long: one line per record, on stderr."""

import logging
import sys


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send what this process logs to stderr, with time, level and name."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
