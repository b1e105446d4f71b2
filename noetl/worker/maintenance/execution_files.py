"""The files that tools keep of an execution: `NOETL_HOME/duckdb/<execution>.duckdb`, and DuckDB's own files beside it.

They go a day after the execution's end.
"""

import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path

from psycopg import Connection

from noetl.database import store
from noetl.worker.maintenance.parts import MAX_ROWS, WorkerParts

INTERVAL_SECONDS = 3600.0

KEPT_SECONDS = 24 * 3600.0
"""Seconds for which the files of an execution stay after its end."""


def remove_old_files(worker: WorkerParts, conn: Connection) -> None:
    """Remove the files of executions which ended long ago."""
    folder = files_folder(worker.settings.home)
    executions = executions_with_files(folder, MAX_ROWS)
    if not executions:
        return
    with store.transaction(conn, worker.schema, asynchronous=True):
        finished = store.select_finished(conn, executions, seconds=KEPT_SECONDS)
    remove_files(folder, finished)


def files_folder(home: Path) -> Path:
    """Return their folder."""
    return home / "duckdb"


def executions_with_files(folder: Path, limit: int) -> set[int]:
    """Return executions that have files, at most so many."""
    if not folder.is_dir():
        return set()
    names = (path.name.partition(".")[0] for path in folder.iterdir())
    return set(itertools.islice((int(name) for name in names if name.isascii() and name.isdigit()), limit))


def remove_files(folder: Path, executions: Iterable[int]) -> None:
    """Remove the files of executions."""
    for execution in executions:
        for path in folder.glob(f"{execution}.*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
