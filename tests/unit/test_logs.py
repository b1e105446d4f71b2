"""A trouble that lasts is said when it begins, once a minute, and when it is over: never five times a second."""

import logging
from collections.abc import Iterator

import pytest

from noetl.logs import SAID_AGAIN_SECONDS, TroubleLog, Unrepeated


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept(logging.Handler):
    """A handler that keeps what it is to say."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def log(kept: Kept, request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    log = logging.getLogger(getattr(request, "param", "noetl.test"))
    log.propagate = False
    log.addHandler(kept)
    yield log
    log.removeHandler(kept)
    log.propagate = True


def test_a_trouble_is_said_at_its_begin_once_a_minute_and_at_its_end(
    log: logging.Logger, kept: Kept, clock: Clock
) -> None:
    """However often its text changes: errors of Postgres name files and processes."""
    trouble = TroubleLog(log, clock)
    trouble.over("served again")
    for number in range(4 * 130):  # four a second, for 130 seconds
        trouble.happened(f"no space left for file {number}")
        clock.now += 0.25
    trouble.over("served again", quiet=5.0)
    clock.now += 5.0
    trouble.over("served again", quiet=5.0)
    trouble.over("served again")
    assert kept.lines == [
        "no space left for file 0",
        "no space left for file 240 (241 times in 60 s)",
        "no space left for file 480 (481 times in 120 s)",
        "served again (it had happened 520 times in 129 s)",
    ]


def shout(log: logging.Logger, number: int) -> None:
    try:
        raise ValueError(number)
    except ValueError as error:
        log.error("failed on request %d", number, exc_info=error)


@pytest.mark.parametrize(("log", "most"), [("noetl.test", 10), ("psycopg.pool", 1)], indirect=["log"])
def test_a_flood_is_shortened(log: logging.Logger, most: int, kept: Kept, clock: Clock) -> None:
    kept.addFilter(Unrepeated(clock=clock))
    for number in range(84):
        shout(log, number)
        log.info("request %d", number)
    log.error("of another kind")
    clock.now += SAID_AGAIN_SECONDS
    shout(log, 84)
    errors = [line for line in kept.lines if not line.startswith("request")]
    assert errors[:most] == [f"failed on request {number}" for number in range(most)]
    assert errors[most:] == ["of another kind", f"failed on request 84 (and {84 - most} more like it)"]
    assert len(kept.lines) - len(errors) == (84 if log.isEnabledFor(logging.INFO) else 0)
