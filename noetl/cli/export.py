"""`noetl export`: all rows of an execution, as JSON files."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from noetl.cli.json_object import JsonObject
from noetl.cli.options import ExecutionId
from noetl.cli.terminal import note
from noetl.errors import InputError
from noetl.home.files import open_file
from noetl.settings import load_settings

Directory = Annotated[Path, typer.Option("--dir", help="Folder for the files.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="TABLE", help="Table to write. Default: all but output and payload. Repeatable."),
]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow", help="Write results stored by reference into their events. Default: `result_ref` names them."
    ),
]


def export(
    execution_id: ExecutionId, directory: Directory = Path("logs"), only: Only = None, follow: Follow = False
) -> None:
    """Write one JSON array per table to DIR/TABLE.json: event_log, queue, workload, workflow, transition, workbook,
    runtime, error_log; with --only also output and payload.

    It reads the database itself, so it needs no server.
    """
    from noetl.database import export as tables
    from noetl.database import read
    from noetl.database.connection.connect import open_database, require_embedded
    from noetl.database.schema.apply import require_schema

    for table in only or ():
        if table not in tables.EXPORTS:
            raise InputError(
                f"--only {table!r} is no table that can be exported: there are {', '.join(tables.EXPORTS)}"
            )
    number = read.parse_id(execution_id)
    settings = load_settings()
    require_embedded(settings)
    with open_database(settings, application="noetl export") as database:
        require_schema(database)
        with database.session() as conn:
            read.execution_status(conn, number)
            for table in only or tables.EXPORTED:
                file = directory / f"{table}.json"
                count = write_array(file, tables.export_rows(conn, table, number, follow=follow))
                note(f"{file}: {count} row{'s' if count != 1 else ''}")


def write_array(file: Path, rows: Iterable[JsonObject]) -> int:
    """Write rows as one JSON array, a row per line, whole or not at all; return how many there were."""
    import orjson

    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    count = 0
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(open_file(temporary, os.O_WRONLY | os.O_TRUNC), "wb") as out:
            out.write(b"[")
            for row in rows:
                out.write((b",\n" if count else b"\n") + orjson.dumps(row))
                count += 1
            out.write(b"\n]\n" if count else b"]\n")
        temporary.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count
