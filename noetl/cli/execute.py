"""`noetl execute`: playbook, status, result, watch, logs, list, cancel."""

from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import typer

from noetl.cli.catalog import put
from noetl.cli.client import Client, connect, segment
from noetl.cli.files import catalog_path, find_file, register_tree
from noetl.cli.follow import Progress, exit_code, follow, say_end
from noetl.cli.options import Host, Json, Port
from noetl.cli.payload import read_labels, read_payload, read_sets
from noetl.cli.show import note, print_json, print_table
from noetl.cli.who import who
from noetl.errors import AnswerLost, InputError, NotFound
from noetl.settings import Settings, load_settings
from noetl.words import NO_ITEM

app = typer.Typer(help="Executions: start, follow, look at, cancel.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]
Payload = Annotated[str | None, typer.Option("--payload", metavar="JSON", help="Laid over the workload.")]
Input = Annotated[str | None, typer.Option("--input", metavar="FILE", help="The payload from a file; - is stdin.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="Laid deep, and last; v is JSON if it parses, else text."),
]
Merge = Annotated[bool, typer.Option("--merge", help="Lay the payload over the workload deep, not shallow.")]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="k=v", help="May be given more than once.")]


@app.command()
def playbook(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file (.yaml may be left out), or a catalog path.")],
    payload: Payload = None,
    input_file: Input = None,
    sets: Set = None,
    merge: Merge = False,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Not the newest version.")] = None,
    label: Label = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Greater runs sooner.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Start once: a second start gives the first one.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Exit with 0 once it is accepted.")] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Start database, schema, server and worker where none runs.")
    ] = False,
    as_json: Json = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Execute a playbook and wait for its end.

    A file is registered first, with the child playbooks it names.
    """
    settings = load_settings()
    body: dict[str, Any] = {"payload": read_payload(payload, input_file), "set": read_sets(sets or [])}
    body |= {"labels": read_labels(label or []), "merge": merge, "by": who()}
    # With a key of our own the start can be asked for again where its answer was lost.
    body |= {"key": f"cli:{uuid4()}" if key is None else key}
    body |= {"priority": priority} if priority is not None else {}
    if start:
        if host is not None or port is not None:
            raise InputError("--start starts this home's own server: leave --host and --port out")
        ensure_running(settings)
    client = connect(settings, host, port)
    body |= target(client, path, version)
    try:
        started = client.post("/api/executions", body, repeat=True)
    except NotFound as error:
        if find_file(path) is not None:
            raise
        raise NotFound(f"{path} is no file here, and {error}") from None
    execution_id = started["execution_id"]
    again = "" if key is None or started["created"] else " (started before with this key)"
    note(f"execution {execution_id} of {started['path']} version {started['version']}{again}")
    if no_wait:
        print_json(started) if as_json else print(execution_id)
        return
    watch_to_the_end(client, settings, execution_id, as_json, host, port)


def ensure_running(settings: Settings) -> None:
    """Start what an execution needs and is not there: the embedded database with its schema, server, worker."""
    from noetl.cli.processes import alone
    from noetl.cli.server import ensure_server
    from noetl.cli.worker import ensure_workers

    with alone(settings.home / "start.lock"):  # two that start at once would be in each other's way
        ensure_server(settings)
        ensure_workers(settings)


def target(client: Client, path: str, version: int | None) -> dict[str, Any]:
    """Return path and version to run; a file is registered first. Raises `InputError` with all its problems."""
    file = find_file(path)
    if file is None:
        return {"path": catalog_path(path), **({"version": version} if version is not None else {})}
    if version is not None:
        raise InputError(f"{file} is a file and has no versions: leave --version out, or give its catalog path")
    entries = register_tree(file, lambda content, filename: put(client, content, filename))
    for entry in entries:
        if entry.created:
            note(f"registered {entry.path} version {entry.version}")
    return {"path": entries[0].path, "version": entries[0].version}


def watch_to_the_end(
    client: Client, settings: Settings, execution_id: str, as_json: bool, host: str | None, port: int | None
) -> None:
    """Show progress on stderr, then the outcome on stdout; leave with its exit code."""
    reconnect = lambda: connect(settings, host, port)  # noqa: E731
    try:
        with Progress() as progress:
            shown = follow(client, execution_id, progress, reconnect)
    except KeyboardInterrupt:
        note(f"execution {execution_id} goes on; noetl execute watch {execution_id}, or cancel {execution_id}")
        raise typer.Exit(130) from None
    print_outcome(shown, as_json)
    raise typer.Exit(exit_code(shown["status"]))


def print_outcome(shown: dict[str, Any], as_json: bool) -> None:
    """Print how an execution ended."""
    if as_json:
        names = ("execution_id", "path", "version", "status", "result", "error", "started_at", "finished_at")
        print_json({name: shown[name] for name in names})
        return
    say_end(shown)
    if shown["result"] is not None:
        print_json(shown["result"])


@app.command()
def status(execution_id: Id, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Show one execution. Exit code 1: it has failed or was cancelled."""
    shown = connect(load_settings(), host, port).get(f"/api/executions/{segment(execution_id)}")
    if as_json:
        print_json(shown)
    else:
        columns = ("execution_id", "path", "version", "status", "started_at", "took")
        print_table(columns, [{**shown, "took": took(shown)}], empty="")
        if shown["jobs"]:
            jobs = [{**job, "item": "" if job["item_index"] == NO_ITEM else job["item_index"]} for job in shown["jobs"]]
            print_table(("node_id", "visit", "item", "status", "failures", "worker_id", "available_at"), jobs, empty="")
        for name in ("error", "result"):
            if shown[name] is not None:
                print(f"{name}:")
                print_json(shown[name])
    raise typer.Exit(1 if shown["status"] in ("failed", "cancelled") else 0)


def took(shown: dict[str, Any]) -> str:
    """Return how long an execution took, or nothing while it goes on."""
    if shown["finished_at"] is None:
        return ""
    span = datetime.fromisoformat(shown["finished_at"]) - datetime.fromisoformat(shown["started_at"])
    return f"{span.total_seconds():.2f} s"


@app.command()
def result(
    execution_id: Id,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Of this step, not of the execution.")] = None,
    visit: Annotated[int | None, typer.Option("--visit", min=1, help="Not of its last visit.")] = None,
    item: Annotated[str | None, typer.Option("--item", metavar="N", help="Of one item of its loop: 3, or 3/5.")] = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Print a result as JSON, however large it is. Exit code 1: there is an error, which goes to stderr."""
    client = connect(load_settings(), host, port)
    path = f"/api/executions/{segment(execution_id)}"
    if step is None:
        if visit is not None or item is not None:
            raise InputError("--visit and --item are of a step: give its name, too")
        shown = client.get(path)
    else:
        shown = client.get(f"{path}/steps/{segment(step)}", {"visit": visit, "item": item})
    if shown["error"] is not None:
        note(f"error: {shown['error'].get('message')}")
        raise typer.Exit(1)
    print_json(shown["result"])


@app.command()
def watch(execution_id: Id, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Follow an execution to its end, from its beginning on."""
    settings = load_settings()
    watch_to_the_end(connect(settings, host, port), settings, execution_id, as_json, host, port)


@app.command()
def logs(execution_id: Id, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Print what the steps of an execution printed, in order."""
    client = connect(load_settings(), host, port)
    rows = client.items(f"/api/executions/{segment(execution_id)}/output")
    if as_json:
        print_json(rows)
        return
    for row in rows:
        visit = f" visit {row['visit']}" if row["visit"] > 1 else ""
        attempt = f" attempt {row['attempt']}" if row["attempt"] > 1 else ""
        note(f"--- {row['node_id']}{visit}{attempt}, {row['created_at']}")
        print(row["text"], end="" if row["text"].endswith("\n") else "\n", flush=True)
    if not rows:
        note("nothing was printed")


@app.command("list")
def list_executions(
    state: Annotated[list[str] | None, typer.Option("--status", help="May be given more than once.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Only of this playbook.")] = None,
    label: Label = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 20,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """List executions, the newest first."""
    client = connect(load_settings(), host, port)
    read_labels(label or [])
    query = {"status": state, "path": None if path is None else catalog_path(path), "label": label}
    rows = client.items("/api/executions", query, limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["took"] = took(row)
    columns = ("execution_id", "path", "version", "status", "started_at", "took")
    print_table(columns, rows, empty="there are no executions")


@app.command()
def cancel(
    execution_id: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the log.")] = "",
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Ask an execution to end; a second time ends its `finally`, too."""
    client = connect(load_settings(), host, port)
    answer = ask_to_end(client, execution_id, reason)
    if as_json:
        print_json(answer)
    else:
        note(f"execution {execution_id} is {answer['status']}")


def ask_to_end(client: Client, execution_id: str, reason: str) -> dict[str, Any]:
    """Ask an execution to end and return its status; again where the answer was lost, unless it was heard.

    A second request is no repetition: it ends the `finally`, too.
    """
    path, body = f"/api/executions/{segment(execution_id)}", {"reason": reason, "by": who()}
    try:
        answer: dict[str, Any] = client.post(f"{path}/cancel", body)
    except AnswerLost:
        answer = client.get(path)
        if answer["cancel_requested_at"] is None:
            answer = client.post(f"{path}/cancel", body)
    return {name: answer[name] for name in ("execution_id", "status")}
