"""Help for tests that run calls in a real executor."""

import os
import time
from collections.abc import Callable
from typing import Any

from noetl.calls import Call
from noetl.worker.answers import Report
from noetl.worker.executor import Executor

LIMIT = 20.0
"""Seconds that any wait in these tests may take at most."""


def python(code: str, args: dict[str, Any] | None = None, **options: Any) -> Call:
    """Make a call of a python step. `options`: where, timeout, limit, context, key."""
    return Call(
        type="python",
        key=options.get("key", "1:step:1:-1"),
        where=options.get("where", "examples/test#step"),
        fields={"code": code},
        args=args or {},
        timeout=options.get("timeout"),
        limit=options.get("limit", 1 << 25),
        context=options.get("context", {}),
    )


def collect(executor: Executor, count: int) -> dict[int, Report]:
    """Poll until that many calls are reported; return the reports by token."""
    reports: dict[int, Report] = {}
    limit = time.monotonic() + LIMIT
    while len(reports) < count:
        assert time.monotonic() < limit, f"only {sorted(reports)} of {count} calls were reported"
        for report in executor.poll(0.2):
            assert report.token not in reports, f"call {report.token} was reported twice"
            reports[report.token] = report
    return reports


def run(executor: Executor, call: Call) -> Report:
    """Run one call and return its report."""
    executor.submit(0, call)
    return collect(executor, 1)[0]


def until(true: Callable[[], object], executor: Executor | None = None) -> None:
    """Wait until something is true, polling the executor meanwhile; nothing may be reported."""
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit, "it did not become true in time"
        if executor is None:
            time.sleep(0.005)
        else:
            assert not executor.poll(0.005)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
    except ProcessLookupError:
        return False


def read_pid(path: "os.PathLike[str]") -> int | None:
    """Return the number that a call wrote to a file, None as long as it is not there."""
    try:
        with open(path) as file:
            text = file.read()
    except FileNotFoundError:
        return None
    return int(text) if text.endswith("\n") else None
