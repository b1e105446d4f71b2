"""Options that several commands share."""

from typing import Annotated

import typer

from noetl.cli.completion import execution_ids

Host = Annotated[str | None, typer.Option("--host", help="Host of the server. Default: this home's server.")]
Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Port of the server. Default: this home's server.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else on stdout.")]
ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="Id of the execution.", autocompletion=execution_ids)]
