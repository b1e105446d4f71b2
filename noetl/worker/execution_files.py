"""The files that tools keep of an execution: `NOETL_HOME/duckdb/<execution>.duckdb`, and what DuckDB puts beside it."""

import itertools
import shutil
from collections.abc import Iterable
from pathlib import Path


def files_folder(home: Path) -> Path:
    """Return the folder that they are in."""
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
