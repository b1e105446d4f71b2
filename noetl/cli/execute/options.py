"""Arguments and options of commands about executions."""

from typing import Annotated

import typer

from noetl.cli.completion import playbooks

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

PlaybookPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="Playbook file (.yaml may be left out) or catalog path.", autocompletion=playbooks
    ),
]
Version = Annotated[int | None, typer.Option("--version", min=1, help="Version in the catalog. Default: the newest.")]
Priority = Annotated[
    int | None,
    typer.Option("--priority", help="Priority of its jobs; greater ones run sooner. Default: the playbook's, else 0."),
]
Key = Annotated[
    str | None, typer.Option("--key", help="Key of the start; a second start with it returns the first execution.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Exit with 0 when the execution is accepted.")]
StartMissing = Annotated[
    bool, typer.Option("--start", help="Start the database with its schema, the server and a worker, if none runs.")
]
StepName = Annotated[
    str | None,
    typer.Argument(metavar="[STEP]", help="Step whose result is printed. Default: the execution's result."),
]
Visit = Annotated[int | None, typer.Option("--visit", min=1, help="Visit of the step, from 1. Default: the last one.")]
Item = Annotated[
    str | None,
    typer.Option("--item", metavar="N", help="Item of the step's loop, from 0: 3, or 3/5 in a loop within a loop."),
]
FollowOn = Annotated[bool, typer.Option("--follow", "-f", help="Continue until the execution has ended.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Write control characters to a terminal unchanged, as a pipe gets them.")
]
StatusFilter = Annotated[list[str] | None, typer.Option("--status", help="Status of the executions. Repeatable.")]
PathFilter = Annotated[str | None, typer.Option("--path", help="Catalog path of their playbook.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="AGE|TIME", help="Earliest start: an age as 90m, 2h, 7d, or an ISO time (UTC)."),
]
ParentFilter = Annotated[
    str | None, typer.Option("--parent", metavar="ID", help="Execution of which they are children.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show at most N, newest first.", metavar="N")]
Wide = Annotated[bool, typer.Option("--wide", help="Show all columns whole, also in a narrow terminal.")]
