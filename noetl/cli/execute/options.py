"""Arguments and options of commands about executions."""

from typing import Annotated

import typer

from noetl.cli.completion import execution_ids

ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="Id of the execution.", autocompletion=execution_ids)]
Payload = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="Object laid over the playbook's workload. Default: {}.")
]
Input = Annotated[
    str | None, typer.Option("--input", metavar="FILE", help="File with the payload as JSON; - reads stdin.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="a.b=v",
        help="One value, laid over workload and payload: JSON if it parses, else text. Repeatable.",
    ),
]
SetString = Annotated[
    list[str] | None,
    typer.Option("--set-string", metavar="a.b=v", help="One value as text, laid over those of --set. Repeatable."),
]
Merge = Annotated[
    bool,
    typer.Option(
        "--merge", help="Merge the payload into the workload at all depths. Default: its top-level names replace."
    ),
]
WithPrints = Annotated[bool, typer.Option("--prints", help="Show the output of each attempt, too, when it ends.")]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="k=v", help="Label of the execution. Repeatable.")]
