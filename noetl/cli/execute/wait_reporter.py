"""The reporter of waits: after some seconds without an event it says for what an execution waits."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from noetl.cli.json_object import JsonObject
from noetl.errors import NoetlError
from noetl.words import NO_ITEM

QUIET_SECONDS = 3.0
"""Seconds without an event after which the reason is asked for."""

LONGEST_PAUSE_SECONDS = 30.0
"""Longest pause between two questions; it doubles while nothing happens."""

MAX_REPORTED = 5
"""Most waits said at once."""

_UNREPORTED_KINDS = ("running", "cancel")
"""Kinds of waits that the progress shows anyway."""


class ProgressView(Protocol):
    """The progress: when something was last shown, and a way to say a sentence."""

    shown_at: float

    def say(self, text: str) -> None: ...


class WaitReporter:
    """A thread that asks `ask` for waits while nothing is shown, and says each of them once."""

    def __init__(self, ask: Callable[[], list[JsonObject]], progress: ProgressView) -> None:
        self._ask = ask
        self._progress = progress
        self._over = threading.Event()
        self._reported: set[tuple[object, ...]] = set()
        self._thread = threading.Thread(target=self._run, name="wait-reporter", daemon=True)

    def __enter__(self) -> "WaitReporter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        pause, asked = QUIET_SECONDS, self._progress.shown_at
        while not self._over.wait(0.1):
            since = max(self._progress.shown_at, asked)
            if self._progress.shown_at > asked:
                pause = QUIET_SECONDS
            if time.monotonic() - since < pause:
                continue
            asked, pause = time.monotonic(), min(pause * 2, LONGEST_PAUSE_SECONDS)
            try:
                waits = self._ask()
            except NoetlError:
                continue  # the server is away: the stream's reader says so
            if not self._over.is_set():
                self.report(waits)

    def report(self, waits: list[JsonObject]) -> None:
        """Say the waits that have not been said before, a handful at a time."""
        fresh = []
        for wait in waits:
            key = tuple(wait[name] for name in ("execution_id", "step", "visit", "item_index", "kind", "until"))
            if wait["kind"] not in _UNREPORTED_KINDS and key not in self._reported:
                self._reported.add(key)
                fresh.append(wait)
        for wait in fresh[:MAX_REPORTED]:
            self._progress.say(wait_sentence(wait))
        if len(fresh) > MAX_REPORTED:
            self._progress.say(
                f"and {len(fresh) - MAX_REPORTED} more wait: noetl execute status {fresh[0]['execution_id']}"
            )


def wait_sentence(wait: JsonObject) -> str:
    """Return a wait as a line, its step first where it has one."""
    item = f"[{wait['item_index']}]" if wait["item_index"] != NO_ITEM else ""
    return f"{wait['step']}{item}: {wait['text']}" if wait["step"] else str(wait["text"])
