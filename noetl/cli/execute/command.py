"""`noetl execute`: playbook, status, result, watch, logs, list, cancel."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from uuid import uuid4

import typer

from noetl.cli.account import account_name
from noetl.cli.connection.client import Client, connect, segment
from noetl.cli.connection.database_client import DatabaseClient, connect_to_read
from noetl.cli.execute.follow import exit_code, follow
from noetl.cli.execute.options import (
    FollowOn,
    Input,
    Item,
    Key,
    Label,
    Limit,
    Merge,
    NoWait,
    ParentFilter,
    PathFilter,
    Payload,
    PlaybookPath,
    Priority,
    Raw,
    Set,
    SetString,
    Since,
    StartMissing,
    StatusFilter,
    StepName,
    Version,
    Visit,
    Wide,
    WithPrints,
)
from noetl.cli.execute.output_reporter import step_label
from noetl.cli.execute.progress import Progress
from noetl.cli.execute.report import code_place, labels_text, print_outcome, print_status, took
from noetl.cli.execute.start import start_execution, start_missing
from noetl.cli.execute.start_options import read_labels, read_payload, read_sets
from noetl.cli.json_object import JsonObject
from noetl.cli.options import ExecutionId, Host, Json, Port
from noetl.cli.playbook_files import catalog_path, find_file
from noetl.cli.terminal import note, print_json, print_table, safe
from noetl.errors import AnswerLost, InputError
from noetl.reasons import Place
from noetl.settings import Settings, load_settings
from noetl.words import TERMINAL_STATUSES, ExecutionStatus

POLL_SECONDS = 0.3
"""Seconds between two reads of the output."""

app = typer.Typer(help="Executions: start, watch, show, cancel.", no_args_is_help=True)


@app.command()
def playbook(
    path: PlaybookPath,
    payload: Payload = None,
    input_file: Input = None,
    sets: Set = None,
    set_strings: SetString = None,
    merge: Merge = False,
    version: Version = None,
    label: Label = None,
    priority: Priority = None,
    key: Key = None,
    no_wait: NoWait = False,
    start: StartMissing = False,
    prints: WithPrints = False,
    as_json: Json = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Execute a playbook and wait for its end.

    A file is registered first, with the child playbooks that it names.
    """
    if start and (host is not None or port is not None):
        raise InputError("--start starts this home's own server: leave --host and --port out")
    settings = load_settings()
    request = {
        "payload": read_payload(payload, input_file),
        "set": read_sets(sets or [], set_strings or []),
        "labels": read_labels(label or []),
        "merge": merge,
        "priority": priority,
        # With a key of our own the start can be asked for again where its answer was lost.
        "key": f"cli:{uuid4()}" if key is None else key,
        "by": account_name(),
    }
    if start:
        start_missing(settings)
    client = connect(settings, host, port)
    started = start_execution(client, path, version, request)
    again = "" if key is None or started["created"] else " (started before with this key)"
    note(f"execution {started['execution_id']} of {started['path']} version {started['version']}{again}")
    if no_wait:
        print_json(started) if as_json else print(started["execution_id"])
        return
    reconnect = partial(connect, settings, host, port)
    place = code_place(find_file(path))
    watch_to_the_end(client, started["execution_id"], as_json, reconnect, place=place, prints=prints)


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
    """Show the status of an execution: its steps, the reasons of failures, and for what it waits.

    Exit code 1: it failed or was cancelled.
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
    step: StepName = None,
    visit: Visit = None,
    item: Item = None,
    host: Host = None,
    port: Port = None,
) -> None:
    """Print a result as JSON, however large it is. Exit code 1: it is an error, which goes to stderr."""
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
    """Follow an execution from its beginning to its end."""
    settings = load_settings()
    client = connect_to_read(settings, host, port)
    reconnect = partial(_reconnected, client, settings, host, port)
    watch_to_the_end(client, execution_id, as_json, reconnect, prints=prints)


def _reconnected(client: Client, settings: Settings, host: str | None, port: int | None) -> Client:
    """Return a client of wherever the server is now; a client without a server stays."""
    return client if isinstance(client, DatabaseClient) else connect(settings, host, port)


@app.command()
def logs(
    execution_id: ExecutionId,
    follow_on: FollowOn = False,
    raw: Raw = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Print the output of an execution's steps, in order.

    Output is kept when its attempt ends. A terminal gets control characters as \\x1b, unless --raw is given.
    """
    client = connect_to_read(load_settings(), host, port)
    path = f"/api/executions/{segment(execution_id)}"
    if as_json and follow_on:
        raise InputError("--follow prints text as it comes: leave --json out")
    if as_json:
        print_json(client.items(f"{path}/output"))
        return
    printed = False
    for row in _output(client, path, follow_on):
        _print_output(row, raw)
        printed = True
    if not printed:
        note("nothing was printed")


def _output(client: Client, path: str, follow_on: bool) -> Iterator[JsonObject]:
    """Give what an execution has printed; with `follow_on` also what it prints until it has ended."""
    after, over = None, False
    while not over:
        # Asked first: the pages that follow are then all there are.
        over = not follow_on or client.get(path)["status"] in TERMINAL_STATUSES
        more = True
        while more:
            page = client.get(f"{path}/output", {"after": after, "limit": 500})
            yield from page["items"]
            after, more = page["last"] or after, page["next"] is not None
        if not over:
            time.sleep(POLL_SECONDS)


def _print_output(row: JsonObject, raw: bool) -> None:
    """Print the output of one attempt, with a head on stderr."""
    visit = f" visit {row['visit']}" if row["visit"] > 1 else ""
    attempt = f" attempt {row['attempt']}" if row["attempt"] > 1 else ""
    note(f"--- {step_label(row)}{visit}{attempt}, {row['created_at']}")
    text = row["text"] if raw else "\n".join(safe(line, sys.stdout) for line in row["text"].split("\n"))
    print(text, end="" if text.endswith("\n") else "\n", flush=True)


@app.command("list")
def list_executions(
    state: StatusFilter = None,
    path: PathFilter = None,
    label: Label = None,
    since: Since = None,
    parent: ParentFilter = None,
    limit: Limit = 20,
    wide: Wide = False,
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
    filters = {"status": state, "path": None if path is None else catalog_path(path), "label": label}
    rows = client.items("/api/executions", {**filters, "since": begin, "parent": parent}, limit)
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
    reason: Annotated[str, typer.Option("--reason", help="Reason, kept in the event log.")] = "",
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """Cancel an execution; a second time also ends its `finally`."""
    client = connect(load_settings(), host, port)
    answer = ask_to_end(client, execution_id, reason)
    if as_json:
        print_json(answer)
    else:
        note(f"execution {execution_id} is {answer['status']}")


def ask_to_end(client: Client, execution_id: str, reason: str) -> JsonObject:
    """Ask an execution to end and return its status; again where the answer was lost, unless it was heard.

    A second request is no repetition: it ends the `finally`, too.
    """
    path, body = f"/api/executions/{segment(execution_id)}", {"reason": reason, "by": account_name()}
    try:
        answer: JsonObject = client.post(f"{path}/cancel", body)
    except AnswerLost:
        answer = client.get(path)
        if answer["cancel_requested_at"] is None:
            answer = client.post(f"{path}/cancel", body)
    return {name: answer[name] for name in ("execution_id", "status")}
