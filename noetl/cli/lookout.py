"""Says what an execution waits for when nothing has happened for a while: no worker, another attempt, a child ..."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from noetl.errors import NoetlError
from noetl.words import NO_ITEM

QUIET = 3.0
"""Seconds without an event after which the reason is asked for."""

LONGEST = 30.0
"""Seconds between two questions at most; the pause doubles while nothing happens."""

MOST = 5
"""Waits that are said at once."""

_SILENT = ("running", "cancel")
"""Kinds that need no word: the progress shows them."""


class Shows(Protocol):
    """The progress: when something was last shown, and a way to say a sentence."""

    shown_at: float

    def say(self, text: str) -> None: ...


class Lookout:
    """A thread that asks `ask` for waits while nothing is shown, and says each of them once."""

    def __init__(self, ask: Callable[[], list[dict[str, Any]]], progress: Shows) -> None:
        self._ask = ask
        self._progress = progress
        self._over = threading.Event()
        self._told: set[tuple[Any, ...]] = set()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def __enter__(self) -> "Lookout":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        pause, asked = QUIET, self._progress.shown_at
        while not self._over.wait(0.1):
            since = max(self._progress.shown_at, asked)
            if self._progress.shown_at > asked:
                pause = QUIET
            if time.monotonic() - since < pause:
                continue
            asked, pause = time.monotonic(), min(pause * 2, LONGEST)
            try:
                waits = self._ask()
            except NoetlError:
                continue  # the server is away: who follows the stream says so
            if not self._over.is_set():
                self.tell(waits)

    def tell(self, waits: list[dict[str, Any]]) -> None:
        """Say what has not been said before, a handful at a time."""
        fresh = []
        for wait in waits:
            key = tuple(wait[name] for name in ("execution_id", "step", "visit", "item_index", "kind", "until"))
            if wait["kind"] not in _SILENT and key not in self._told:
                self._told.add(key)
                fresh.append(wait)
        for wait in fresh[:MOST]:
            self._progress.say(sentence(wait))
        if len(fresh) > MOST:
            self._progress.say(f"and {len(fresh) - MOST} more wait: noetl execute status {fresh[0]['execution_id']}")


def sentence(wait: dict[str, Any]) -> str:
    """Return a wait as a line: the step first, where it is one's."""
    item = f"[{wait['item_index']}]" if wait["item_index"] != NO_ITEM else ""
    return f"{wait['step']}{item}: {wait['text']}" if wait["step"] else str(wait["text"])
