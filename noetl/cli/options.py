"""Options that several commands share."""

from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option("--host", help="The server's host; without: this home's server.")]
Port = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="The server's port.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
