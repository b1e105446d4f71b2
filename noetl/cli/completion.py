"""Proposals for shells: ids of executions, and playbooks by file and by catalog path. They never wait for long."""

from collections.abc import Iterator
from pathlib import Path

from noetl.cli.json_object import JsonObject
from noetl.cli.playbook_files import PLAYBOOK_SUFFIXES
from noetl.errors import NoetlError

MAX_PROPOSALS = 50
"""Most proposals at a time."""


def execution_ids(incomplete: str) -> list[tuple[str, str]]:
    """Return the newest executions that the home's server knows, with what they are. No server: none."""
    rows = _ask("/api/executions", {"limit": MAX_PROPOSALS})
    proposals = [(row["execution_id"], f"{row['path']} {row['status']} {row['started_at'][:19]}") for row in rows]
    return [one for one in proposals if one[0].startswith(incomplete)]


def playbooks(incomplete: str) -> list[str]:
    """Return the YAML files and folders that a text begins, and the catalog's paths."""
    paths = [*_files(incomplete), *(row["path"] for row in _ask("/api/catalog", {"limit": MAX_PROPOSALS}))]
    return sorted({path for path in paths if path.startswith(incomplete)})[:MAX_PROPOSALS]


def files(incomplete: str) -> list[str]:
    """Return the YAML files and folders that a text begins."""
    return sorted(path for path in _files(incomplete) if path.startswith(incomplete))[:MAX_PROPOSALS]


def _files(incomplete: str) -> Iterator[str]:
    head, _slash, start = incomplete.rpartition("/")
    folder = Path(head or ("/" if incomplete.startswith("/") else "."))
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return  # no such folder: nothing to propose
    for entry in entries:
        if entry.name.startswith(".") and not start.startswith("."):
            continue
        name = f"{head}/{entry.name}" if "/" in incomplete else entry.name
        if entry.is_dir():
            yield f"{name}/"
        elif entry.suffix in PLAYBOOK_SUFFIXES:
            yield name


def _ask(path: str, query: JsonObject) -> list[JsonObject]:
    from noetl.cli.connection.client import connect
    from noetl.settings import load_settings

    try:
        items: list[JsonObject] = connect(load_settings()).get(path, query)["items"]
    except NoetlError:
        return []  # without a server there is nothing to propose, and nobody to tell
    return items
