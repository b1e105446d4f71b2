"""`noetl db remove`: stop the embedded Postgres and delete what it keeps, after saying what that is."""

from typing import Annotated

import typer

from noetl.cli.background import Background, of_kind
from noetl.cli.terminal import confirmed, note
from noetl.settings import load_settings

STOP_LIMIT = 10.0
"""Seconds that server and workers have to end."""


def remove(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Stop the embedded Postgres of this home and delete its data: every playbook, execution and credential.

    Server and workers of the home are stopped first. Settings, token and logs in NOETL_HOME stay.
    """
    from noetl.database.connect import embedded_server
    from noetl.database.embedded.owner import size_of

    settings = load_settings()
    postgres = embedded_server(settings)
    folders = [folder for folder in (postgres.base, postgres.socket_folder) if folder.exists()]
    folders = [folder for folder in folders if folder == postgres.base or postgres.base not in folder.parents]
    if not folders:
        note(f"there is no embedded Postgres of {settings.home}: nothing to remove")
        return
    known = [*of_kind(settings, "worker-"), Background(settings.home, "server")]
    processes = [each for each in known if each.pid() is not None]
    note(f"of {settings.home} this is removed:")
    for folder in folders:
        note(f"  {folder} ({size_of(folder) / 1_000_000:,.0f} MB)")
    for each in processes:
        note(f"  {each.name} runs (process {each.pid()}) and is stopped")
    if postgres.running():
        note(f"  Postgres runs (process {postgres.pid()}) and is stopped")
    if not yes and not confirmed("Delete it, with all executions?"):
        note("nothing was removed")
        raise typer.Exit(1)
    for each in processes:
        each.stop(STOP_LIMIT)
    postgres.remove()
    (settings.home / "instance").unlink(missing_ok=True)
    note(f"the embedded Postgres of {settings.home} has been removed")
