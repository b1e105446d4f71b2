"""Follow an execution and show its progress on stderr, until it has ended."""

import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from noetl.cli.client import Client, segment
from noetl.cli.show import STYLES, cell, note, terminal
from noetl.errors import Unreachable
from noetl.words import NO_ITEM, ExecutionStatus

PATIENCE = 60.0
"""Seconds during which a server that went away is looked for again."""

Event = dict[str, Any]

EXIT_CODES = {ExecutionStatus.COMPLETED: 0, ExecutionStatus.FAILED: 1, ExecutionStatus.CANCELLED: 1}

_MARKS = {
    "step_completed": ("✓", "green"),
    "step_failed": ("✗", "red"),
    "item_failed": ("✗", "yellow"),
    "attempt_failed": ("↻", "yellow"),
    "lease_expired": ("↻", "yellow"),
    "step_skipped": ("-", "dim"),
    "step_cancelled": ("-", "yellow"),
    "execution_failing": ("✗", "red"),
    "execution_cancel_requested": ("!", "yellow"),
    "execution_finishing": ("·", "dim"),
    "execution_complete": ("✓", "green"),
    "execution_failed": ("✗", "red"),
    "execution_cancelled": ("!", "yellow"),
}


_WITHOUT_WORKER = ("wait", "playbook")
"""Types whose steps last longer than any attempt: a worker has them in hand at their beginning only."""


def exit_code(status: str) -> int:
    """Return the exit code of an execution that ended with this status."""
    return EXIT_CODES.get(ExecutionStatus(status), 1)


class Progress:
    """Show events as they come: a line for each thing that ended, and what runs below on a terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._running: dict[tuple[str, int], tuple[int, int] | None] = {}  # of a loop: items that ended, all items
        self._queued: dict[tuple[str, int], str] = {}  # when a step run was queued
        self._console = None if quiet or not sys.stderr.isatty() else terminal(stderr=True)
        self._status = self._console.status("waiting") if self._console is not None else None

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: Event) -> None:
        """Show one event."""
        if self._quiet:
            return
        kind, run = event["event_type"], (event["node_id"] or "", event["visit"] or 0)
        if kind == "step_queued":
            self._running[run], self._queued[run] = None, event["timestamp"]
        elif kind.startswith("step_"):
            loop, queued = self._running.pop(run, None), self._queued.pop(run, None)
            if queued is not None and (loop is not None or event["node_type"] in _WITHOUT_WORKER):
                event = {**event, "duration": _seconds(queued, event["timestamp"])}
        elif kind == "loop_started" and run in self._running:
            self._running[run] = (0, event["context"]["count"])
        elif kind.startswith("item_") and (loop := self._running.get(run)) is not None:
            self._running[run] = (loop[0] + 1, loop[1])
        if (line := describe(event)) is not None:
            self._print(line, *_MARKS[kind])
        if self._status is not None:
            names = ", ".join(_under_way(name, loop) for (name, _), loop in list(self._running.items())[:5])
            more = len(self._running) - 5
            self._status.update((names or "waiting") + (f" and {more} more" if more > 0 else ""))

    def say(self, text: str) -> None:
        """Show a sentence between the events."""
        if not self._quiet:
            self._print(text, "·", "dim")

    def _print(self, line: str, mark: str, style: str) -> None:
        if self._console is None:
            encoding = sys.stderr.encoding or "ascii"
            print(f"{mark} {line}".encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)
            return
        from rich.text import Text

        self._console.print(Text.assemble((mark, style), " ", line))


def _seconds(begin: str, end: str) -> float:
    """Return the seconds between two timestamps."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _under_way(step: str, loop: tuple[int, int] | None) -> str:
    return step if loop is None else f"{step} ({loop[0]:,} of {loop[1]:,})"


def _name(event: Event) -> str:
    """Return the step of an event, with the item of its loop, as `fetch[3]`."""
    step, *items = str(event["node_id"] or "").split("/")
    if (index := event.get("item_index", NO_ITEM)) != NO_ITEM:
        items.append(str(index))
    return step + "".join(f"[{item}]" for item in items)


def describe(event: Event) -> str | None:
    """Return one event as a line for people, or None for those that are not worth one."""
    kind, step = str(event["event_type"]), _name(event)
    if kind not in _MARKS:
        return None
    if (event["visit"] or 0) > 1:
        step += f" (visit {event['visit']})"
    seconds = f" in {event['duration']:.2f} s" if event.get("duration") is not None else ""
    error = event.get("error") or {}
    reason = f": {cell(error.get('message'))}" if error.get("message") else ""
    match kind:
        case "step_completed":
            return f"{step}{seconds}"
        case "step_failed" | "item_failed":
            return f"{step} failed{seconds}{reason}"
        case "attempt_failed":
            return f"{step} attempt {event['attempt']} failed{seconds}{reason}"
        case "lease_expired":
            return f"{step}: its worker was lost"
        case "step_skipped" | "step_cancelled":
            return f"{step} {kind.removeprefix('step_')}"
        case _:
            return kind.replace("_", " ") + reason


def follow(client: Client, execution_id: str, progress: Progress, reconnect: Callable[[], Client]) -> Event:
    """Show the events of an execution until it has ended, and return it.

    A server that goes away is looked for again. Raises `Unreachable` when it does not come back.
    """
    after, lost = 0, None
    while True:
        try:
            for event in client.events(execution_id, after):
                lost = None
                after = int(event["event_id"])
                progress.show(event)
            shown: Event = client.get(f"/api/executions/{segment(execution_id)}")
            if ExecutionStatus(shown["status"]).terminal and int(shown["last_event_id"]) <= after:
                return shown
        except Unreachable as error:
            now = time.monotonic()
            if lost is None:
                lost = now
                progress.say(f"the server went away; execution {execution_id} goes on")
            if now - lost > PATIENCE:
                raise Unreachable(f"{error}; noetl execute watch {execution_id} follows it again") from None
            time.sleep(0.5)
            client = _again(client, reconnect)


def _again(client: Client, reconnect: Callable[[], Client]) -> Client:
    """Return a client of wherever the server is now."""
    try:
        return reconnect()
    except Unreachable:
        return client


def say_end(shown: Event) -> None:
    """Say how an execution ended, on stderr."""
    status = shown["status"]
    message = (shown.get("error") or {}).get("message")
    text = f"execution {shown['execution_id']} {status}" + (f": {cell(message)}" if message else "")
    if sys.stderr.isatty():
        from rich.text import Text

        terminal(stderr=True).print(Text(text, style=STYLES.get(status, "")))
    else:
        note(text)
