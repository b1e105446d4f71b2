"""`noetl run`: everything in one process, without a server."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noetl.cli.account import account_name
from noetl.cli.background import private
from noetl.cli.completion import files
from noetl.cli.execute.follow import exit_code
from noetl.cli.execute.options import Input, Label, Merge, Payload, Set, SetString
from noetl.cli.execute.report import code_place, print_outcome
from noetl.cli.execute.start_options import read_labels, read_payload, read_sets
from noetl.cli.json_object import JsonObject
from noetl.cli.options import Json
from noetl.cli.playbook_files import find_file, register_tree
from noetl.cli.run.in_process import InProcessRun
from noetl.cli.terminal import note
from noetl.errors import NotFound
from noetl.settings import Settings, load_settings

if TYPE_CHECKING:
    from noetl.database.connection.connect import Database
    from noetl.orchestrator.commands import Orchestrator, Started
    from noetl.orchestrator.start import StartRequest


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
    from noetl.database.connection.connect import open_database
    from noetl.orchestrator.commands import Orchestrator
    from noetl.orchestrator.start import StartRequest
    from noetl.playbook.values import plain

    playbook_file = find_file(file)
    if playbook_file is None:
        raise NotFound(f"there is no file {file}")
    settings = load_settings(slots=slots)
    request = StartRequest(
        path="",
        payload=read_payload(payload, input_file),
        merge=merge,
        overlay=read_sets(sets or [], set_strings or []),
        labels=read_labels(label or []),
        by=account_name(),
    )
    for name, value in (("payload", request.payload), ("--set", request.overlay)):
        plain(value, settings.body_limit, name)
    with private(), open_database(settings, application="noetl run") as database:
        have_schema(settings, database)
        orchestrator = Orchestrator(database, settings)
        started = start_file(orchestrator, playbook_file, request)
        note(f"execution {started.execution_id} of {started.path} version {started.version}")
        place = code_place(playbook_file)
        shown, why = InProcessRun(settings, database, orchestrator, started.execution_id, place).to_the_end()
    print_outcome(shown, why, as_json)
    raise typer.Exit(exit_code(shown["status"]))


def start_file(orchestrator: "Orchestrator", file: Path, request: "StartRequest") -> "Started":
    """Register a playbook's file with its children, and start it as `request` says."""

    def register(content: str, filename: str) -> JsonObject:
        entry = orchestrator.register(content, filename=filename, by=account_name())
        return {"path": entry.path, "version": entry.version, "kind": entry.kind, "created": entry.created}

    entry = register_tree(file, register)[0]
    return orchestrator.start(replace(request, path=entry.path, version=entry.version))


def have_schema(settings: Settings, database: "Database") -> None:
    """Make sure that there is a schema; the embedded database gets it. Raises `SchemaMissing`, `SchemaMismatch`."""
    from noetl.database.connection.connect import open_admin
    from noetl.database.schema.apply import SchemaState, apply_schema, require_schema, schema_state

    if settings.embedded and schema_state(database).state is SchemaState.MISSING:
        with open_admin(settings) as admin:
            apply_schema(admin, settings)
    require_schema(database)
