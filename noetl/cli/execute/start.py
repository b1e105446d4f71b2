"""The start of an execution: missing processes, the registration of a file, the request."""

from pathlib import Path

from noetl.cli.catalog import put
from noetl.cli.connection.client import Client
from noetl.cli.json_object import JsonObject
from noetl.cli.playbook_files import catalog_path, find_file, register_tree
from noetl.cli.terminal import note
from noetl.errors import InputError, NotFound
from noetl.settings import Settings


def start_missing(settings: Settings) -> None:
    """Start the embedded database with its schema, the server and a worker, as far as they do not run."""
    from noetl.cli.background import alone
    from noetl.cli.server import ensure_server
    from noetl.cli.worker import ensure_workers

    with alone(settings.home / "start.lock"):  # two that start at once would be in each other's way
        ensure_server(settings)
        ensure_workers(settings)


def start_execution(client: Client, path: str, version: int | None, request: JsonObject) -> JsonObject:
    """Start the playbook of a file or a catalog path and return the server's answer.

    Raises `NotFound` where it is neither, `InputError` with all problems of a file.
    """
    try:
        body = {**request, **_registered(client, path, version)}
        started: JsonObject = client.post("/api/executions", body, repeat=True)
    except NotFound as error:
        if find_file(path) is not None:
            raise
        kind = "a folder" if Path(path).is_dir() else "no file here"
        raise NotFound(f"{path} is {kind}, and {error}") from None
    return started


def _registered(client: Client, path: str, version: int | None) -> JsonObject:
    """Return the catalog path and the version to run; a file is registered first."""
    file = find_file(path)
    if file is None:
        return {"path": catalog_path(path), "version": version}
    if version is not None:
        raise InputError(f"{file} is a file and has no versions: leave --version out, or give its catalog path")
    entries = register_tree(file, lambda content, filename: put(client, content, filename))
    for entry in entries:
        if entry.created:
            note(f"registered {entry.path} version {entry.version}")
    return {"path": entries[0].path, "version": entries[0].version}
