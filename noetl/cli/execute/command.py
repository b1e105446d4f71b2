"""`noetl execute`: playbook, status, result, watch, logs, list, cancel."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from noetl.cli.account import account_name
from noetl.cli.catalog import put
from noetl.cli.completion import playbooks
from noetl.cli.connection.client import Client, connect, segment
from noetl.cli.connection.database_client import DatabaseClient, connect_to_read
from noetl.cli.execute.follow import exit_code, follow
from noetl.cli.execute.options import ExecutionId, Input, Label, Merge, Payload, Set, SetString, WithPrints
from noetl.cli.execute.output_reporter import step_label
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.report import code_place, labels_text, print_outcome, print_status, took
from noetl.cli.execute.start_options import read_labels, read_payload, read_sets
from noetl.cli.options import Host, Json, Port
from noetl.cli.playbook_files import catalog_path, find_file, register_tree
from noetl.cli.terminal import note, print_json, print_table, safe
from noetl.errors import AnswerLost, InputError, NotFound
from noetl.reasons import Place
from noetl.settings import Settings, load_settings
from noetl.words import TERMINAL, ExecutionStatus

app = typer.Typer(help="Executions: start, follow, look at, cancel.", no_args_is_help=True)


@app.command()
def playbook(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="A file (.yaml may be left out), or a catalog path.", autocompletion=playbooks
        ),
    ],
    payload: Payload = None,
    input_file: Input = None,
    sets: Set = None,
    set_strings: SetString = None,
    merge: Merge = False,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Not the newest version.")] = None,
    label: Label = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Greater runs sooner.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Start once: a second start gives the first one.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Exit with 0 once it is accepted.")] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Start database, schema, server and worker where none runs.")
    ] = False,
    prints: WithPrints = False,
    as_json: Json = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Execute a playbook and wait for its end.

    A file is registered first, with the child playbooks it names.
    """
    settings = load_settings()
    body: dict[str, Any] = {
        "payload": read_payload(payload, input_file),
        "set": read_sets(sets or [], set_strings or []),
    }
    body |= {"labels": read_labels(label or []), "merge": merge, "by": account_name()}
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
        what = "a folder" if Path(path).is_dir() else "no file here"
        raise NotFound(f"{path} is {what}, and {error}") from None
    execution_id = started["execution_id"]
    again = "" if key is None or started["created"] else " (started before with this key)"
    note(f"execution {execution_id} of {started['path']} version {started['version']}{again}")
    if no_wait:
        print_json(started) if as_json else print(execution_id)
        return
    reconnect = lambda: connect(settings, host, port)  # noqa: E731
    watch_to_the_end(client, execution_id, as_json, reconnect, place=code_place(find_file(path)), prints=prints)


def ensure_running(settings: Settings) -> None:
    """Start what an execution needs and is not there: the embedded database with its schema, server, worker."""
    from noetl.cli.background import alone
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
    client: Client,
    execution_id: str,
    as_json: bool,
    reconnect: Callable[[], Client],
    *,
    place: Place | None = None,
    prints: bool = False,
) -> None:
    """Show progress on stderr, then the outcome on stdout; leave with its exit code."""
    try:
        with Progress(place=place) as progress:
            shown = follow(client, execution_id, progress, reconnect, prints=prints)
        why = reconnect().get(f"/api/executions/{segment(execution_id)}/why")
    except KeyboardInterrupt:
        note(f"execution {execution_id} goes on; noetl execute watch {execution_id}, or cancel {execution_id}")
        raise typer.Exit(130) from None
    print_outcome(shown, why, as_json)
    raise typer.Exit(exit_code(shown["status"]))


@app.command()
def status(execution_id: ExecutionId, host: Host = None, port: Port = None, as_json: Json = False) -> None:
    """Show where an execution stands, its steps, why what failed has failed, and what it waits for.

    Exit code 1: it has failed or was cancelled.
    """
    client = connect_to_read(load_settings(), host, port)
    path = f"/api/executions/{segment(execution_id)}"
    shown, why = client.get(path), client.get(f"{path}/why")
    if as_json:
        print_json({**shown, **{name: why[name] for name in ("steps", "failures", "waits")}})
    else:
        print_status(shown, why)
    raise typer.Exit(1 if shown["status"] in ("failed", "cancelled") else 0)


@app.command()
def result(
    execution_id: ExecutionId,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Of this step, not of the execution.")] = None,
    visit: Annotated[int | None, typer.Option("--visit", min=1, help="Not of its last visit.")] = None,
    item: Annotated[str | None, typer.Option("--item", metavar="N", help="Of one item of its loop: 3, or 3/5.")] = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Print a result as JSON, however large it is. Exit code 1: there is an error, which goes to stderr."""
    client = connect_to_read(load_settings(), host, port)
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
def watch(
    execution_id: ExecutionId, prints: WithPrints = False, host: Host = None, port: Port = None, as_json: Json = False
) -> None:
    """Follow an execution to its end, from its beginning on."""
    settings = load_settings()
    client = connect_to_read(settings, host, port)
    reconnect = lambda: client if isinstance(client, DatabaseClient) else connect(settings, host, port)  # noqa: E731
    watch_to_the_end(client, execution_id, as_json, reconnect, prints=prints)


@app.command()
def logs(
    execution_id: ExecutionId,
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send control characters to a terminal as they are; a pipe gets them anyway.")
    ] = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Print what the steps of an execution printed, in order.

    What a step prints is there once its attempt has ended. A terminal gets control characters as \\x1b, unless --raw.
    """
    client = connect_to_read(load_settings(), host, port)
    path = f"/api/executions/{segment(execution_id)}"
    if as_json:
        if follow_on:
            raise InputError("--follow prints text as it comes: leave --json out")
        print_json(client.items(f"{path}/output"))
        return
    after, shown, over = None, 0, False
    while True:
        over = not follow_on or client.get(path)["status"] in TERMINAL  # asked first: what follows is all there is
        more = True
        while more:
            page = client.get(f"{path}/output", {"after": after, "limit": 500})
            for row in page["items"]:
                _print_output(row, raw)
            shown += len(page["items"])
            after, more = page["last"] or after, page["next"] is not None
        if over:
            break
        time.sleep(0.3)
    if not shown:
        note("nothing was printed")


def _print_output(row: dict[str, Any], raw: bool) -> None:
    """Print what one attempt printed, with a head on stderr."""
    visit = f" visit {row['visit']}" if row["visit"] > 1 else ""
    attempt = f" attempt {row['attempt']}" if row["attempt"] > 1 else ""
    note(f"--- {step_label(row)}{visit}{attempt}, {row['created_at']}")
    text = row["text"] if raw else "\n".join(safe(line, sys.stdout) for line in row["text"].split("\n"))
    print(text, end="" if text.endswith("\n") else "\n", flush=True)


@app.command("list")
def list_executions(
    state: Annotated[list[str] | None, typer.Option("--status", help="May be given more than once.")] = None,
    path: Annotated[str | None, typer.Option("--path", help="Only of this playbook.")] = None,
    label: Label = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="AGE|TIME", help="Started since: 90m, 2h, 7d, or an ISO time (UTC)."),
    ] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="ID", help="Only children of this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most N, newest first.", metavar="N")] = 20,
    wide: Annotated[bool, typer.Option("--wide", help="Cut nothing, however narrow the terminal is.")] = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """List executions, the newest first."""
    for name in state or ():
        if name not in list(ExecutionStatus):
            raise InputError(f"--status {name!r} is no status: there are {', '.join(ExecutionStatus)}")
    read_labels(label or [])
    begin = None if since is None else read_since(since, datetime.now(UTC)).isoformat()
    client = connect_to_read(load_settings(), host, port)
    given = {"status": state, "path": None if path is None else catalog_path(path), "label": label}
    rows = client.items("/api/executions", {**given, "since": begin, "parent": parent}, limit)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["took"], row["parent"] = took(row), row["parent_execution_id"]
        row["labels"] = labels_text(row["labels"])
    columns = ("execution_id", "path", "version", "status", "started_at", "took", "labels", "parent")
    print_table(columns, rows, empty="there are no executions", wide=wide)


def read_since(text: str, now: datetime) -> datetime:
    """Return the moment that an age or an ISO time means. Raises `InputError`.

    >>> read_since("2h", datetime(2026, 1, 31, 8, tzinfo=UTC)).isoformat()
    '2026-01-31T06:00:00+00:00'
    """
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    try:
        if text[-1:] in units and text[:-1].isascii() and text[:-1].isdigit():
            return now - timedelta(**{units[text[-1]]: int(text[:-1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InputError(f"--since {text!r} is no time: write an age as 90m, 2h, 7d, or an ISO time") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@app.command()
def cancel(
    execution_id: ExecutionId,
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
    path, body = f"/api/executions/{segment(execution_id)}", {"reason": reason, "by": account_name()}
    try:
        answer: dict[str, Any] = client.post(f"{path}/cancel", body)
    except AnswerLost:
        answer = client.get(path)
        if answer["cancel_requested_at"] is None:
            answer = client.post(f"{path}/cancel", body)
    return {name: answer[name] for name in ("execution_id", "status")}
