"""`noetl db remove`: stop the embedded Postgres and delete its folders, after naming them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noetl.cli.background import Background, of_kind
from noetl.cli.terminal import confirmed, note
from noetl.settings import Settings, load_settings

if TYPE_CHECKING:
    from noetl.database.embedded.server import EmbeddedServer

STOP_SECONDS = 10.0
"""Seconds that server and workers have to end."""


def remove(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Stop the embedded Postgres of this home and delete its data: every playbook, execution and credential.

    Server and workers of the home are stopped first. Settings, token and logs in NOETL_HOME stay.
    """
    from noetl.database.connection.connect import embedded_server

    settings = load_settings()
    postgres = embedded_server(settings)
    folders = _folders_of(postgres)
    if not folders:
        note(f"there is no embedded Postgres of {settings.home}: nothing to remove")
        return
    background = [*of_kind(settings, "worker-"), Background(settings.home, "server")]
    processes = [each for each in background if each.pid() is not None]
    _announce(settings, postgres, folders, processes)
    if not yes and not confirmed("Delete it, with all executions?"):
        note("nothing was removed")
        raise typer.Exit(1)
    for each in processes:
        each.stop(STOP_SECONDS)
    postgres.remove()
    (settings.home / "instance").unlink(missing_ok=True)
    note(f"the embedded Postgres of {settings.home} has been removed")


def _folders_of(postgres: "EmbeddedServer") -> list[Path]:
    """Return the folders of an embedded Postgres that are there, none of them below another."""
    there = [folder for folder in (postgres.base, postgres.socket_folder) if folder.exists()]
    return [folder for folder in there if folder == postgres.base or postgres.base not in folder.parents]


def _announce(
    settings: Settings, postgres: "EmbeddedServer", folders: Sequence[Path], processes: Sequence[Background]
) -> None:
    """Say which folders are deleted and which processes are stopped."""
    from noetl.database.embedded.owner import size_of

    note(f"of {settings.home} this is removed:")
    for folder in folders:
        note(f"  {folder} ({size_of(folder) / 1_000_000:,.0f} MB)")
    for each in processes:
        note(f"  {each.name} runs (process {each.pid()}) and is stopped")
    if postgres.running():
        note(f"  Postgres runs (process {postgres.pid()}) and is stopped")
