"""An execution in this process: a thread works on it, the main thread watches it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from noetl.cli.account import account_name
from noetl.cli.execute.output_reporter import OutputReporter
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.wait_reporter import WaitReporter
from noetl.cli.json_object import JsonObject
from noetl.cli.terminal import note
from noetl.errors import DatabaseError, NoetlError
from noetl.reasons import Place
from noetl.settings import Settings
from noetl.words import TERMINAL_EVENTS

if TYPE_CHECKING:
    from noetl.database.connection.connect import Database
    from noetl.database.paging import Row
    from noetl.orchestrator.commands import Orchestrator

POLL_SECONDS = 0.05
"""Seconds between two reads of the log."""


class InProcessRun:
    """One execution, worked on by a thread of this process and watched by its main thread."""

    def __init__(
        self,
        settings: Settings,
        database: "Database",
        orchestrator: "Orchestrator",
        execution_id: int,
        place: Place | None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._orchestrator = orchestrator
        self._execution_id = execution_id
        self._place = place
        self._stop = threading.Event()
        self._interrupts = 0
        self._failure: NoetlError | None = None

    def to_the_end(self) -> tuple[JsonObject, JsonObject]:
        """Work and watch until the execution has ended; return it, and its explanation."""
        from noetl.database import read
        from noetl.orchestrator.why import explain

        worker = threading.Thread(target=self._work, name="worker")
        progress = Progress(place=self._place)
        with self._interruptible(), progress, WaitReporter(self._waits, progress):
            worker.start()
            try:
                self._watch(progress)
            finally:
                self._stop.set()
                worker.join()
        with self._database.session() as conn:
            return read.show_execution(conn, self._execution_id), explain(conn, self._execution_id)

    def _waits(self) -> list[JsonObject]:
        from noetl.orchestrator.why import waits_of

        with self._database.session() as conn:
            return waits_of(conn, self._execution_id)

    def _printed(self, after: str | None) -> JsonObject:
        from noetl.database import read

        with self._database.session() as conn:
            page = read.list_output(conn, self._execution_id, after=after, limit=500)
        return {"items": page.items, "next": page.next, "last": page.last}

    def _work(self) -> None:
        from noetl.worker.run import run_worker

        try:
            run_worker(
                self._settings,
                pools=self._settings.pools,
                slots=self._settings.slots,
                only_root=self._execution_id,
                stop=self._stop,
                drain_seconds=1.0,  # whoever interrupts twice does not want to wait
            )
        except NoetlError as error:
            self._failure = error

    def _watch(self, progress: Progress) -> None:
        from noetl.database import read

        after, cancelled = 0, False
        output = OutputReporter(self._printed, progress.prints)
        while True:
            if self._failure is not None:
                raise self._failure
            if self._interrupts > 1:
                note(f"execution {self._execution_id} is left to a worker (noetl worker start)")
                raise typer.Exit(130)
            if self._interrupts and not cancelled:
                progress.say("cancelling; Ctrl-C again leaves it to a worker")
                cancelled = True
                self._orchestrator.cancel(self._execution_id, by=account_name(), reason="interrupted")
            events: list[Row] = []
            with suppress(DatabaseError), self._database.session() as conn:  # the worker waits for it, too
                events = read.events(conn, self._execution_id, after=after)
            for event in events:
                output.report_before(event)
                after = int(event["event_id"])
                progress.show(event)
                if event["event_type"] in TERMINAL_EVENTS:
                    return
            if not events:
                time.sleep(POLL_SECONDS)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM instead of dying of them."""

        def count(_number: int, _frame: object) -> None:
            self._interrupts += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
