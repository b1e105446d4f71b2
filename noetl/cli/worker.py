"""`noetl worker`: start, stop, list."""

import signal
from typing import Annotated

import typer

from noetl.cli.background import Background, of_kind
from noetl.cli.connection.database_client import connect_to_read
from noetl.cli.options import Host, Json, Port
from noetl.cli.terminal import note, print_json, print_table
from noetl.errors import Conflict, InputError
from noetl.settings import Settings, load_settings

app = typer.Typer(help="Workers, which run the steps: start, stop, list.", no_args_is_help=True)

STOP_SECONDS = 40.0
"""Seconds that workers get to drain before they are killed; what they held runs again elsewhere."""

Name = Annotated[str, typer.Option("--name", help="Name of this group of workers, if a home has several.")]


def workers_of(settings: Settings, name: str) -> Background:
    """Return the supervisor of this name, running or not."""
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise InputError(f"name is {name!r}; it must be made of letters, digits, - and _")
    return Background(settings.home, f"worker-{name}")


@app.command()
def start(
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", min=1, max=256, help="Number of worker processes. Default: NOETL_WORKER_PROCESSES, else 1."
        ),
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            min=1,
            max=1024,
            help="Most calls at a time of each process. Default: NOETL_WORKER_SLOTS, else 16.",
        ),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="Pool to serve. Default: NOETL_WORKER_POOLS, else default. Repeatable."),
    ] = None,
    name: Name = "default",
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run in the foreground. Default: in the background.")
    ] = False,
) -> None:
    """Start workers, in the background by default, and keep that many alive."""
    settings = load_settings(processes=processes, slots=slots, pools=pool or None)
    if foreground:
        run_workers(settings, name)
    else:
        start_workers(settings, name)


@app.command()
def stop(
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the group to stop. Default: all of this home.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds until calls that still run are killed.")
    ] = STOP_SECONDS,
) -> None:
    """Stop the workers when their running calls have ended."""
    settings = load_settings()
    wanted = of_kind(settings, "worker-") if name is None else [workers_of(settings, name)]
    stopped = [each.name for each in wanted if each.stop(timeout)]
    for each in stopped:
        note(f"{each} has been stopped")
    if not stopped:
        note(f"no worker runs for {settings.home}")


@app.command("list")
def list_workers(
    everything: Annotated[bool, typer.Option("--all", help="List also workers that have ended.")] = False,
    host: Host = None,
    port: Port = None,
    as_json: Json = False,
) -> None:
    """List the workers of the whole instance, on all machines."""
    client = connect_to_read(load_settings(), host, port)
    workers = client.items("/api/runtime", {"kind": "worker"})
    rows = [row for row in workers if everything or row["status"] in ("running", "draining")]
    if as_json:
        print_json(rows)
        return
    columns = ("runtime_id", "status", "host", "pid", "pools", "slots", "started_at", "heartbeat_at")
    print_table(columns, rows, empty="no worker runs: noetl worker start")


def run_workers(settings: Settings, name: str) -> None:
    """Be this home's supervisor of that name until a signal ends it."""
    from noetl.logs import log_to_stderr
    from noetl.worker.supervise import Supervisor, worker_command

    log_to_stderr()
    background = workers_of(settings, name)
    with background.hold(f"worker {name!r}"):
        command = worker_command(settings.slots, settings.pools)
        supervisor = Supervisor(settings.processes, command, background.say_ready)
        signal.signal(signal.SIGTERM, supervisor.stop)
        signal.signal(signal.SIGINT, supervisor.stop)
        supervisor.run()


def start_workers(settings: Settings, name: str = "default") -> None:
    """Start this home's workers in the background and wait until all of them work."""
    background = workers_of(settings, name)
    if (running := background.pid()) is not None:
        raise Conflict(
            f"worker {name!r} runs already for {settings.home} (process {running}): stop it, or give another --name"
        )
    arguments = ["worker", "start", "--foreground", "--name", name]
    arguments += ["--processes", str(settings.processes), "--slots", str(settings.slots)]
    for pool in settings.pools:
        arguments += ["--pool", pool]
    pid = background.start(arguments, background.is_ready)
    count = f"{settings.processes} worker process{'es' if settings.processes > 1 else ''}"
    note(f"{count} started (supervisor {pid}, log {background.log})")


def ensure_workers(settings: Settings) -> None:
    """Start this home's workers where none runs."""
    if all(each.pid() is None for each in of_kind(settings, "worker-")):
        start_workers(settings)
