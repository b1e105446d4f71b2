"""Threads for tools that wait for others. A call that is given up is forgotten, its late answer is discarded."""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from noetl.calls import Call
from noetl.outcomes import Failed, error_value
from noetl.rules.text import storable
from noetl.worker.answers import Answer, First

log = logging.getLogger("noetl.worker")

Name = tuple[int, int]
"""What a call is known by: its token, and a number that is never used again."""


@dataclass(frozen=True, slots=True)
class ThreadTask:
    """What a thread does with a call: a tool of a type, or what comes before it. `cancel` ends what is still done of a
    call that has been given up; it may wait."""

    type: str
    run: First
    cancel: Callable[[Call], None] | None = None


class Threads:
    """Runs calls in daemon threads, started on demand and kept. `wake` is called from them after each answer."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._tasks: SimpleQueue[tuple[Name, ThreadTask, Call] | None] = SimpleQueue()
        self._answers: deque[tuple[Name, Call | Answer, float]] = deque()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0

    def start(self, name: Name, task: ThreadTask, call: Call) -> None:
        """Begin a call, in a new thread if none is idle."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"noetl-tool-{self._threads}", daemon=True).start()
        self._tasks.put((name, task, call))

    def answers(self) -> list[tuple[Name, Call | Answer, float]]:
        """Return the answers that have come since: name, answer, seconds it ran."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    @staticmethod
    def cancel(task: ThreadTask, call: Call) -> None:
        """Have a call ended that was given up, where its tool can do that; it happens beside everything else."""
        if task.cancel is not None:
            threading.Thread(target=_cancel, args=(task, call), name="noetl-cancel", daemon=True).start()

    def close(self) -> None:
        """Let the threads end, each when its call has."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _serve(self) -> None:
        while (job := self._tasks.get()) is not None:
            name, task, call = job
            start = time.monotonic()
            answer = _run(task, call)
            with self._lock:
                self._idle += 1
            self._answers.append((name, answer, time.monotonic() - start))
            del job, name, task, call, answer  # large as they may be, they would be kept until the next call
            self._wake()


def _cancel(task: ThreadTask, call: Call) -> None:
    assert task.cancel is not None
    try:
        task.cancel(call)
    except Exception:  # the outermost frame of its thread: the call has been given up in any case
        log.exception("%s: the tool %s could not be cancelled", call.where, task.type)


def _run(task: ThreadTask, call: Call) -> Call | Answer:
    try:
        return task.run(call)
    except Exception as failure:  # noqa: BLE001  the outermost frame of its thread: a fault of ours fails the step
        text = f"{call.where}: the tool {task.type} broke: {type(failure).__name__}: {failure}"
        return Failed(error_value("internal", storable(text), retryable=True, detail=storable(traceback.format_exc())))
