"""Arguments and options of commands about executions."""

from typing import Annotated

import typer

from noetl.cli.completion import execution_ids

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", autocompletion=execution_ids)]
Payload = Annotated[str | None, typer.Option("--payload", metavar="JSON", help="Laid over the workload.")]
Input = Annotated[str | None, typer.Option("--input", metavar="FILE", help="The payload from a file; - is stdin.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="Laid deep, and last; v is JSON if it parses, else text."),
]
SetString = Annotated[
    list[str] | None, typer.Option("--set-string", metavar="a.b=v", help="As --set, and over it; v is always text.")
]
Merge = Annotated[bool, typer.Option("--merge", help="Lay the payload over the workload deep, not shallow.")]
WithPrints = Annotated[bool, typer.Option("--prints", help="Show what the steps print, too, as each attempt ends.")]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="k=v", help="May be given more than once.")]
