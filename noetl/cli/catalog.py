"""`noetl catalog`: register, list, show."""

from typing import Annotated

import typer

from noetl.cli.account import account_name
from noetl.cli.connection.client import Client, connect, segment
from noetl.cli.connection.database_client import connect_to_read
from noetl.cli.json_object import JsonObject
from noetl.cli.options import Host, Json, Port
from noetl.cli.playbook_files import catalog_path, documents, read_text
from noetl.cli.terminal import complain, note, print_json, print_table
from noetl.errors import InputError
from noetl.settings import load_settings

app = typer.Typer(help="The catalog of playbooks: register, list, show.", no_args_is_help=True)


@app.command()
def register(
    files: Annotated[list[str], typer.Argument(metavar="FILE|DIR...", help="Files, and folders with all files below.")],
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Register documents. Content equal to the newest version keeps that version."""
    client = connect(load_settings(), host, port)
    entries, failures = [], 0
    for file in documents(files):
        try:
            entries.append({"file": str(file), **put(client, read_text(file), str(file))})
        except InputError as error:
            failures += 1
            complain(str(error))
    if as_json:
        print_json(entries)
    else:
        print_table(("path", "version", "kind", "created", "file"), entries, empty="nothing was registered")
    if failures:
        raise typer.Exit(2)


@app.command("list")
def list_catalog(
    kind: Annotated[str | None, typer.Option("--kind", help="Kind of the documents. Default: all.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Path of which all versions are listed.")] = None,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """List the newest version of each path."""
    client = connect_to_read(load_settings(), host, port)
    rows = client.items("/api/catalog", {"kind": kind, "path": path})
    if as_json:
        print_json(rows)
        return
    columns = ("path", "version", "kind", "name", "created_at", "description")
    print_table(columns, rows, empty="the catalog is empty: noetl catalog register FILE")


@app.command()
def show(
    path: Annotated[
        str, typer.Argument(metavar="PATH[@VERSION]", help="Path in the catalog. Default: its newest version.")
    ],
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Print a document as it was registered; with --json also its kind, hash, time and author."""
    name, version = split_version(path)
    document = connect_to_read(load_settings(), host, port).get(
        "/api/catalog/" + "/".join(segment(part) for part in catalog_path(name).split("/")), {"version": version}
    )
    if as_json:
        print_json(document)
        return
    note(f"{document['path']} version {document['version']}, {document['kind']}, registered {document['created_at']}")
    print(document["content"], end="" if document["content"].endswith("\n") else "\n")


def put(client: Client, content: str, filename: str) -> JsonObject:
    """Register one document and return where it stands."""
    body = {"content": content, "filename": filename[-500:], "by": account_name()}
    answer: JsonObject = client.post("/api/catalog", body, repeat=True)  # equal content keeps its version
    return answer


def split_version(text: str) -> tuple[str, int | None]:
    """Return path and version of PATH[@VERSION]. Raises `InputError`."""
    path, at, version = text.rpartition("@")
    if not at:
        return text, None
    if not version.isascii() or not version.isdigit() or int(version) < 1:
        raise InputError(f"the version of {text!r} must be a whole number from 1, as in {path}@2")
    return path, int(version)
