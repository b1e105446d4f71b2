"""`noetl run`: everything in one process, without a server."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noetl.cli.account import account_name
from noetl.cli.background import private
from noetl.cli.completion import files
from noetl.cli.execute.follow import exit_code
from noetl.cli.execute.options import Input, Label, Merge, Payload, Set, SetString
from noetl.cli.execute.output_reporter import OutputReporter
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.report import code_place, print_outcome
from noetl.cli.execute.start_options import read_labels, read_payload, read_sets
from noetl.cli.execute.wait_reporter import WaitReporter
from noetl.cli.options import Json
from noetl.cli.playbook_files import find_file, register_tree
from noetl.cli.terminal import note
from noetl.errors import DatabaseError, NoetlError, NotFound
from noetl.reasons import Place
from noetl.settings import Settings, load_settings
from noetl.words import TERMINAL_EVENTS

if TYPE_CHECKING:
    from noetl.database.connect import Database
    from noetl.database.paging import Row
    from noetl.orchestrator.orchestrator import Orchestrator

TICK = 0.05
"""Seconds between two looks at the log."""


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Playbook file (.yaml may be left out).", autocompletion=files)
    ],
    payload: Payload = None,
    input_file: Input = None,
    sets: Set = None,
    set_strings: SetString = None,
    merge: Merge = False,
    label: Label = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots", min=1, max=1024, help="Most calls at a time. Default: NOETL_WORKER_SLOTS, else 16."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Execute a playbook's file in this process, without a server.

    Its worker takes only the jobs of this execution and its children. The first Ctrl-C cancels it; the second
    leaves it to whatever worker runs.
    """
    from noetl.database.connect import open_database
    from noetl.orchestrator.orchestrator import Orchestrator
    from noetl.orchestrator.start import StartRequest
    from noetl.playbook.values import plain

    found = find_file(file)
    if found is None:
        raise NotFound(f"there is no file {file}")
    settings = load_settings(slots=slots)
    overlay, given = read_sets(sets or [], set_strings or []), read_payload(payload, input_file)
    for name, value in (("payload", given), ("--set", overlay)):
        plain(value, settings.body_limit, name)
    labels = read_labels(label or [])
    with private(), open_database(settings, application="noetl run") as database:
        have_schema(settings, database)
        orchestrator = Orchestrator(database, settings)

        def register(content: str, filename: str) -> dict[str, Any]:
            done = orchestrator.register(content, filename=filename, by=account_name())
            return {"path": done.path, "version": done.version, "kind": done.kind, "created": done.created}

        entry = register_tree(found, register)[0]
        started = orchestrator.start(
            StartRequest(
                path=entry.path,
                version=entry.version,
                payload=given,
                merge=merge,
                overlay=overlay,
                labels=labels,
                by=account_name(),
            )
        )
        note(f"execution {started.execution_id} of {started.path} version {started.version}")
        running = _Run(settings, database, orchestrator, started.execution_id, code_place(found))
        shown, why = running.to_the_end()
    print_outcome(shown, why, as_json)
    raise typer.Exit(exit_code(shown["status"]))


def have_schema(settings: Settings, database: "Database") -> None:
    """Make sure that there is a schema; the embedded database gets it. Raises `SchemaMissing`, `SchemaMismatch`."""
    from noetl.database.connect import open_admin
    from noetl.database.schema import SchemaState, apply_schema, require_schema, schema_state

    if settings.embedded and schema_state(database).state is SchemaState.MISSING:
        with open_admin(settings) as admin:
            apply_schema(admin, settings)
    require_schema(database)


class _Run:
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

    def to_the_end(self) -> tuple[dict[str, Any], dict[str, Any]]:
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

    def _waits(self) -> list[dict[str, Any]]:
        from noetl.orchestrator.why import waits_of

        with self._database.session() as conn:
            return waits_of(conn, self._execution_id)

    def _printed(self, after: str | None) -> dict[str, Any]:
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
                time.sleep(TICK)

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
