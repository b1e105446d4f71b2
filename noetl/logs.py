"""Logging of processes that live long: a trouble is said when it begins, once a minute, and when it is over."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SAID_AGAIN_SECONDS = 60.0
"""How often a trouble that lasts is said."""

_MOST_KINDS = 1000


@dataclass(slots=True)
class TroubleLog:
    """One kind of trouble of one thread. `clock` gives monotonic seconds."""

    log: logging.Logger
    clock: Callable[[], float] = time.monotonic
    _since: float | None = None
    _last: float = 0.0
    _said_at: float = 0.0
    _count: int = 0

    def happened(self, text: str, error: BaseException | None = None) -> None:
        """Say it the first time, with the traceback of `error`; then once a minute, with how often it has happened."""
        now = self.clock()
        self._last, self._count = now, self._count + 1
        if self._since is None:
            self._since = self._said_at = now
            self.log.warning("%s", text, exc_info=error)
        elif now - self._said_at >= SAID_AGAIN_SECONDS:
            self._said_at = now
            self.log.warning("%s (%d times in %d s)", text, self._count, now - self._since)

    def over(self, text: str, quiet: float = 0.0) -> None:
        """Say that it is over, if it was there and has not happened for `quiet` seconds."""
        if self._since is None or self.clock() - self._last < quiet:
            return
        self.log.warning("%s (it had happened %d times in %d s)", text, self._count, self._last - self._since)
        self._since, self._count = None, 0


@dataclass(slots=True)
class _Kind:
    begun: float
    said: int = 1
    left_out: int = 0


@dataclass
class Unrepeated(logging.Filter):
    """Lets warnings and errors of one kind pass only so often a minute: `most`, of other people's libraries once.

    A kind is a logger, a text without its values, and the place that raised. The first line of the next minute says how
    many were left out. Nothing else is touched.
    """

    most: int = 10
    clock: Callable[[], float] = time.monotonic
    _kinds: dict[tuple[object, ...], _Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is said; called by handlers, under their lock."""
        if record.levelno < logging.WARNING:
            return True
        now = self.clock()
        key = (record.name, record.levelno, str(record.msg), _place(record))
        kind = self._kinds.get(key)
        if kind is None or now - kind.begun >= SAID_AGAIN_SECONDS:
            if kind is not None and kind.left_out:
                record.msg = f"{record.getMessage()} (and {kind.left_out} more like it)"
                record.args = None
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            self._kinds[key] = _Kind(now)
            return True
        if kind.said < (self.most if record.name.startswith("noetl") else 1):
            kind.said += 1
            return True
        kind.left_out += 1
        return False


def _place(record: logging.LogRecord) -> object:
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return None
    error, trace = record.exc_info[1], record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send what this process logs to stderr, with time, level and name: one line per record, a flood shortened."""
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(Unrepeated())
