"""The executions of `noetl dev`: those of the folder's playbooks and their children, followed as they come."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from noetl.cli.dev.screen import Screen
from noetl.cli.execute.output_reporter import OutputReporter
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.wait_reporter import QUIET_SECONDS, WaitReporter
from noetl.cli.json_object import JsonObject
from noetl.words import TERMINAL_EVENTS

if TYPE_CHECKING:
    from noetl.database.connection.connect import Database

MAX_FOLLOWED = 50
"""Most executions followed at a time; those begun beyond are not shown."""


@dataclass(slots=True)
class _Followed:
    """One execution that goes on."""

    shown: JsonObject
    progress: Progress
    output: OutputReporter
    waits: WaitReporter
    after: int = 0
    asked_at: float = 0.0


class Executions:
    """Follows executions by looking at the log; `paths` are the catalog paths of the folder with their files."""

    def __init__(self, database: "Database", screen: Screen, paths: Mapping[str, Path]) -> None:
        self._database = database
        self._screen = screen
        self._paths = paths
        self._followed: dict[int, _Followed] = {}
        self._newest = self._last()

    def look(self) -> None:
        """Show what has happened since the last look."""
        from noetl.database import read

        with self._database.session() as conn:
            begun = read.list_executions(conn, read.ExecutionFilter(after_id=self._newest), limit=500).items
        for shown in sorted(begun, key=lambda row: int(row["execution_id"])):
            number = int(shown["execution_id"])
            self._newest = max(self._newest, number)
            parent = shown["parent_execution_id"]
            ours = shown["path"] in self._paths or (parent is not None and int(parent) in self._followed)
            if ours and len(self._followed) < MAX_FOLLOWED:
                self._begin(number, shown)
        for number, one in list(self._followed.items()):
            self._show(number, one)

    def follows(self, execution_id: int) -> bool:
        """Tell whether an execution is being followed."""
        return execution_id in self._followed

    def _last(self) -> int:
        from noetl.database import read

        with self._database.session() as conn:
            rows = read.list_executions(conn, read.ExecutionFilter(), limit=1).items
        return int(rows[0]["execution_id"]) if rows else 0

    def _begin(self, number: int, shown: JsonObject) -> None:
        progress = self._screen.progress(shown, self._paths.get(shown["path"]))

        def show(step: str, text: str) -> None:
            progress.prints(step, text)
            self._screen.printed(shown["execution_id"], step, text)

        self._screen.started(shown)
        output = OutputReporter(lambda after: self._output(number, after), show)
        self._followed[number] = _Followed(shown, progress, output, WaitReporter(list, progress))

    def _output(self, number: int, after: str | None) -> JsonObject:
        from noetl.database import read

        with self._database.session() as conn:
            page = read.list_output(conn, number, after=after, limit=500)
        return {"items": page.items, "next": page.next, "last": page.last}

    def _show(self, number: int, one: _Followed) -> None:
        from noetl.database import read

        with self._database.session() as conn:
            events = read.events(conn, number, after=one.after, limit=200)
        for event in events:
            one.after = int(event["event_id"])
            one.output.report_before(event)
            one.progress.show(event)
            self._screen.event(event)
            if event["event_type"] in TERMINAL_EVENTS:
                del self._followed[number]
                with self._database.session() as conn:
                    self._screen.ended(read.show_execution(conn, number))
                return
        if not events:
            self._wait(number, one)

    def _wait(self, number: int, one: _Followed) -> None:
        """Report the waits of an execution that has shown nothing for a while."""
        from noetl.orchestrator.why import waits_of

        if time.monotonic() - max(one.progress.shown_at, one.asked_at) < QUIET_SECONDS:
            return
        with self._database.session() as conn:
            one.waits.report(waits_of(conn, number))
        one.asked_at = time.monotonic()
