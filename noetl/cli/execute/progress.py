"""The progress of an execution on stderr: a line for each event worth one, and what runs at the bottom."""

import sys
import time

from noetl.cli.execute.durations import lasts_beyond_attempts, seconds_between
from noetl.cli.execute.output_reporter import step_label
from noetl.cli.json_object import JsonObject
from noetl.cli.terminal import STATUS_STYLES, cell, note, open_console, safe
from noetl.reasons import Place, attempt_of, reason_lines
from noetl.words import EventType

MAX_REASONS = 3
"""Number of reasons after which failed attempts and items have their line only; steps always have their reason."""

_FAILURES = (EventType.STEP_FAILED, EventType.ATTEMPT_FAILED, EventType.ITEM_FAILED)

_MARKS = {
    EventType.STEP_COMPLETED: ("✓", "green"),
    EventType.STEP_FAILED: ("✗", "red"),
    EventType.ITEM_FAILED: ("✗", "yellow"),
    EventType.ATTEMPT_FAILED: ("↻", "yellow"),
    EventType.LEASE_EXPIRED: ("↻", "yellow"),
    EventType.STEP_SKIPPED: ("-", "dim"),
    EventType.STEP_CANCELLED: ("-", "yellow"),
    EventType.EXECUTION_FAILING: ("✗", "red"),
    EventType.EXECUTION_CANCEL_REQUESTED: ("!", "yellow"),
    EventType.EXECUTION_FINISHING: ("·", "dim"),
    EventType.EXECUTION_COMPLETE: ("✓", "green"),
    EventType.EXECUTION_FAILED: ("✗", "red"),
    EventType.EXECUTION_CANCELLED: ("!", "yellow"),
}


class Progress:
    """Show events as they come: a line for each thing that ended, with the reason of a failure below it, and what runs
    at the bottom of a terminal. `place` knows where the code of steps stands in the playbook's file; `label` stands
    before each line, and with one nothing stands at the bottom: several are shown at once."""

    def __init__(self, quiet: bool = False, place: Place | None = None, label: str = "") -> None:
        self._label = f"{label} " if label else ""
        self._quiet = quiet
        self._place = place
        self._reasons: set[str] = set()  # those that have been shown
        self.shown_at = time.monotonic()  # when something was last shown
        self._running: dict[tuple[str, int], tuple[int, int] | None] = {}  # of a loop: items that ended, all items
        self._queued: dict[tuple[str, int], str] = {}  # when a step run was queued
        self._console = None if quiet or not sys.stderr.isatty() else open_console(stderr=True)
        self._status = self._console.status("waiting") if self._console is not None and not label else None

    def __enter__(self) -> "Progress":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, event: JsonObject) -> None:
        """Show one event."""
        if self._quiet:
            return
        kind, run = event["event_type"], (event["node_id"] or "", event["visit"] or 0)
        if kind == EventType.STEP_QUEUED:
            self._running[run], self._queued[run] = None, event["timestamp"]
        elif kind.startswith("step_"):
            loop, queued = self._running.pop(run, None), self._queued.pop(run, None)
            if queued is not None and lasts_beyond_attempts(event["node_type"], is_loop=loop is not None):
                event = {**event, "duration": seconds_between(queued, event["timestamp"])}
        elif kind == EventType.LOOP_STARTED and run in self._running:
            self._running[run] = (0, event["context"]["count"])
        elif kind.startswith("item_") and (loop := self._running.get(run)) is not None:
            self._running[run] = (loop[0] + 1, loop[1])
        self.shown_at = time.monotonic()
        if not _is_said_elsewhere(event) and (line := describe(event)) is not None:
            self._print(line, *_MARKS[kind])
            self._reason(event)
        if self._status is not None:
            names = ", ".join(_under_way(name, loop) for (name, _), loop in list(self._running.items())[:5])
            more = len(self._running) - 5
            self._status.update((names or "waiting") + (f" and {more} more" if more > 0 else ""))

    def say(self, text: str) -> None:
        """Show a sentence between the events."""
        if not self._quiet:
            self._print(text, "·", "dim")

    def prints(self, name: str, text: str) -> None:
        """Show what a step printed, each line behind the step's name."""
        for line in [] if self._quiet else text.splitlines():
            self._print(f"{name}: {safe(line, sys.stderr)}", "|", "cyan")

    def _reason(self, event: JsonObject) -> None:
        """Show the reason of a failure, once: another attempt or item that fails alike only has its line."""
        error = event.get("error")
        if not error or event["event_type"] not in _FAILURES:
            return
        lines = reason_lines(error, self._place)
        text = "\n".join(lines)
        if text in self._reasons or (
            event["event_type"] != EventType.STEP_FAILED and len(self._reasons) >= MAX_REASONS
        ):
            return
        self._reasons.add(text)
        for line in lines:
            self._print(f"  {line}", " ", "")

    def _print(self, line: str, mark: str, style: str) -> None:
        if self._console is None:
            encoding = sys.stderr.encoding or "ascii"
            print(
                f"{self._label}{mark} {line}".encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True
            )
            return
        from rich.text import Text

        self._console.print(Text.assemble((self._label, "dim"), (mark, style), " ", line))


def _is_said_elsewhere(event: JsonObject) -> bool:
    """Tell whether another line says this: that of the failed step, or the last one, which tells how it all ended."""
    kind = event["event_type"]
    return kind == EventType.EXECUTION_FAILED or (kind == EventType.EXECUTION_FAILING and not event["error"])


def _under_way(step: str, loop: tuple[int, int] | None) -> str:
    return step if loop is None else f"{step} ({loop[0]:,} of {loop[1]:,})"


def describe(event: JsonObject) -> str | None:
    """Return one event as a line for people, or None for those that are not worth one."""
    kind, step = str(event["event_type"]), step_label(event)
    if kind not in _MARKS:
        return None
    if (event["visit"] or 0) > 1:
        step += f" (visit {event['visit']})"
    seconds = f" in {event['duration']:.2f} s" if event.get("duration") is not None else ""
    error = event.get("error") or {}
    reason = f": {cell(error.get('message'))}" if error.get("message") else ""
    tried = f", {attempt_of(error)}" if attempt_of(error) else ""
    match kind:
        case EventType.STEP_COMPLETED:
            return f"{step}{seconds}"
        case EventType.STEP_FAILED | EventType.ITEM_FAILED:
            return f"{step} failed{seconds}{tried}{reason}"
        case EventType.ATTEMPT_FAILED:
            meta = event.get("meta") or {}
            most = f" of {meta['max_attempts']}" if "max_attempts" in meta else ""
            again = f"; again in {meta['delay']:.3g} s" if "delay" in meta else ""
            return f"{step} attempt {event['attempt']}{most} failed{seconds}{reason}{again}"
        case EventType.LEASE_EXPIRED:
            return f"{step}: its worker was lost"
        case EventType.STEP_SKIPPED | EventType.STEP_CANCELLED:
            return f"{step} {kind.removeprefix('step_')}"
        case EventType.EXECUTION_FAILED if "step" in error:
            return "execution failed"  # the step's line has the reason
        case _:
            return kind.replace("_", " ") + reason


def say_end(shown: JsonObject) -> None:
    """Say how an execution ended, on stderr."""
    status, error = shown["status"], shown.get("error") or {}
    step = f"step {error['step']}: " if "step" in error else ""
    text = f"execution {shown['execution_id']} {status}"
    text += f": {step}{cell(error['message'])}" if error.get("message") else ""
    if sys.stderr.isatty():
        from rich.text import Text

        open_console(stderr=True).print(Text(text, style=STATUS_STYLES.get(status, "")))
    else:
        note(text)
