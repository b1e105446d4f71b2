"""`noetl dev`: all processes that playbooks need, in the foreground; its folder is registered on each save."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noetl.cli.account import account_name
from noetl.cli.dev.executions import Executions
from noetl.cli.dev.files import Folder
from noetl.cli.dev.screen import Screen
from noetl.cli.execute.options import Set, SetString
from noetl.cli.execute.start_options import read_sets
from noetl.cli.json_object import JsonObject
from noetl.cli.options import Json
from noetl.cli.playbook_files import catalog_path, find_file
from noetl.errors import DatabaseError, InputError, NotFound
from noetl.settings import Settings, load_settings

if TYPE_CHECKING:
    from noetl.database.connection.connect import Database
    from noetl.orchestrator.commands import Registered

POLL_SECONDS = 0.25
"""Seconds between two looks at files and executions."""

STOP_SECONDS = 10.0
"""Seconds that a step which runs at Ctrl-C has to end."""


def dev(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder of the playbooks. Default: the working folder.")
    ] = Path(),
    run: Annotated[
        str | None, typer.Option("--run", metavar="PATH", help="Playbook to execute at first and after each save.")
    ] = None,
    sets: Set = None,
    set_strings: SetString = None,
    as_json: Json = False,
) -> None:
    """Start what is missing (database, schema, server, worker), register the playbooks of a folder and register them
    again on each save; show prints and results of their executions. Ctrl-C stops what was started here.

    A file with errors is told by line and column, and its last good version stays.
    """
    if not folder.is_dir():
        problem = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        raise NotFound(f"{problem}: noetl dev takes the folder in which the playbooks stand")
    overlay = read_sets(sets or [], set_strings or [])
    if overlay and run is None:
        raise InputError("--set is for the playbook of --run: name it, too")
    settings, screen = load_settings(), Screen(as_json)
    with _interrupted() as stop, running(settings, screen):
        from noetl.database.connection.connect import open_database

        with open_database(settings, application="noetl dev") as database:
            _Dev(settings, screen, database, folder, run, overlay).work(stop)
        screen.say("stopping what was started here")


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C, SIGTERM and a closed terminal set."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def running(settings: Settings, screen: Screen) -> Iterator[None]:
    """Start what does not run yet, and stop at the end what was started here, in the opposite order."""
    from noetl.cli.background import alone, of_kind
    from noetl.cli.server import ensure_server, server_of
    from noetl.cli.worker import ensure_workers, workers_of

    with ExitStack() as stack:
        with alone(settings.home / "start.lock"):
            if settings.embedded:
                from noetl.database.connection.connect import embedded_server

                postgres = embedded_server(settings)
                if postgres.start():
                    stack.callback(postgres.stop)
            if server_of(settings).pid() is None:
                stack.callback(server_of(settings).stop, STOP_SECONDS)
            ensure_server(settings)
            if all(each.pid() is None for each in of_kind(settings, "worker-")):
                stack.callback(workers_of(settings, "default").stop, STOP_SECONDS)
            ensure_workers(settings)
        yield


class _Dev:
    """Looks at files and executions in turn."""

    def __init__(
        self,
        settings: Settings,
        screen: Screen,
        database: "Database",
        folder: Path,
        run: str | None,
        overlay: JsonObject,
    ) -> None:
        from noetl.orchestrator.commands import Orchestrator

        self._screen = screen
        self._orchestrator = Orchestrator(database, settings)
        self._folder = Folder(folder, self._register, screen)
        self._executions = Executions(database, screen, self._folder.paths)
        self._run = run
        self._overlay = overlay
        self._own: int | None = None  # the execution that --run has started
        self._settings = settings
        self._trouble = ""

    def work(self, stop: threading.Event) -> None:
        """Look until somebody stops it. A database that goes away is waited for."""
        self._help(bool(self._folder.look()) or bool(self._folder.paths))
        self._again()
        while not stop.wait(POLL_SECONDS):
            try:
                if self._folder.look():
                    self._again()
                self._executions.look()
                self._trouble = ""
            except DatabaseError as error:
                if not self._trouble:
                    self._screen.say(f"{error}; it is looked for again")
                self._trouble = str(error)

    def _register(self, content: str, filename: str) -> "Registered":
        return self._orchestrator.register(content, filename=filename, by=account_name())

    def _help(self, any_playbook: bool) -> None:
        if not any_playbook:
            self._screen.say(f"there is no playbook in {self._folder.root} yet: save one, and it is registered")
        path = next(iter(sorted(self._folder.paths)), "PATH")
        home = f"NOETL_HOME={self._settings.home} " if "NOETL_HOME" in self._settings.environment else ""
        self._screen.say(f"start one from a second terminal: {home}noetl execute playbook {path}; Ctrl-C ends this")

    def _again(self) -> None:
        """Execute the playbook of --run; the execution before it is cancelled where it still goes on."""
        from noetl.orchestrator.start import StartRequest

        if self._run is None:
            return
        if self._own is not None and self._executions.follows(self._own):
            self._orchestrator.cancel(self._own, by=account_name(), reason="a file was saved")
        try:
            request = StartRequest(
                path=self._path(self._run), version=None, payload={}, overlay=self._overlay, by=account_name()
            )
            self._own = self._orchestrator.start(request).execution_id
        except InputError as error:
            self._screen.say(str(error))

    def _path(self, text: str) -> str:
        """Return the catalog path of a file of the folder, or the path itself."""
        file = find_file(text)
        if file is None:
            return catalog_path(text)
        for path, known in self._folder.paths.items():
            if known.resolve() == file.resolve():
                return path
        raise InputError(f"{file} is not registered: it has errors, or does not stand in {self._folder.root}")
