"""`noetl server`: start, stop, status."""

from typing import Annotated

import typer

from noetl.cli.background import Background
from noetl.cli.connection.address import ServerLocation, make_token, read_address, remove_address, url_of, write_address
from noetl.cli.connection.client import Client
from noetl.cli.terminal import note, print_json, print_table
from noetl.errors import Conflict, NoetlError
from noetl.settings import Settings, load_settings

app = typer.Typer(help="The HTTP API: start, stop, status.", no_args_is_help=True)

STOP_SECONDS = 15.0

Host = Annotated[str | None, typer.Option("--host", help="Address to bind to. Default: NOETL_HOST, else 127.0.0.1.")]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="Port. Default: NOETL_PORT, else 8082 or the next free one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else on stdout.")]


def server_of(settings: Settings) -> Background:
    """Return the server of a home, running or not."""
    return Background(settings.home, "server")


@app.command()
def start(
    host: Host = None,
    port: Port = None,
    init_db: Annotated[
        bool | None,
        typer.Option("--init-db/--no-init-db", help="Apply the schema first. Default: NOETL_INIT_DB, else not."),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run in the foreground. Default: in the background.")
    ] = False,
) -> None:
    """Start the server, in the background by default, and wait until it serves."""
    settings = load_settings(host=host, port=port, init_db=init_db)
    if foreground:
        run_server(settings)
        return
    start_server(settings, host=host, port=port, init_db=init_db)


@app.command()
def stop(
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds until it is killed.")] = STOP_SECONDS,
) -> None:
    """Stop the server."""
    settings = load_settings()
    stopped = server_of(settings).stop(timeout)
    remove_address(settings.home)
    note("the server has been stopped" if stopped else f"no server runs for {settings.home}")


@app.command()
def status(as_json: Json = False) -> None:
    """Show whether the server runs, its address, and whether it can serve. Exit code 1: it does not run."""
    settings = load_settings()
    pid = server_of(settings).pid()
    about = (read_address(settings.home) or {}) if pid is not None else {}
    problem = readiness(settings) if "address" in about else None
    row = {
        "status": "stopped" if pid is None else "running",
        "pid": pid,
        "address": about.get("address"),
        "instance": about.get("instance"),
        "ready": pid is not None and problem is None,
        "problem": problem,
        "home": str(settings.home),
    }
    if as_json:
        print_json(row)
    else:
        print_table([name for name, value in row.items() if value is not None], [row], empty="")
    raise typer.Exit(0 if pid is not None else 1)


def run_server(settings: Settings) -> None:
    """Be this home's server until a signal ends it."""
    from noetl.logs import log_to_stderr

    log_to_stderr()
    with server_of(settings).hold("a server"):
        from noetl.server.serve import serve

        def announce(host: str, port: int, local: bool, instance: str | None) -> None:
            write_address(settings.home, url_of(host, port), instance, socket=local)

        try:
            serve(settings, token=lambda: make_token(settings), announce=announce)
        finally:
            remove_address(settings.home)


def start_server(
    settings: Settings, *, host: str | None = None, port: int | None = None, init_db: bool | None = None
) -> str:
    """Start this home's server in the background and return its address once it serves."""
    server = server_of(settings)
    running = server.pid()
    if running is not None:
        where = (read_address(settings.home) or {}).get("address", "an address not yet known")
        raise Conflict(f"a server runs already for {settings.home}: process {running} at {where}")
    arguments = ["server", "start", "--foreground"]
    arguments += ["--host", host] if host is not None else []
    arguments += ["--port", str(port)] if port is not None else []
    arguments += ["--init-db" if init_db else "--no-init-db"] if init_db is not None else []
    pid = server.start(arguments, lambda pid: _serves(settings, pid))
    address = str((read_address(settings.home) or {})["address"])
    note(f"the server runs at {address} (process {pid}, log {server.log})")
    if problem := readiness(settings):
        note(f"it cannot serve yet: {problem}")
    return address


def ensure_server(settings: Settings) -> None:
    """Start this home's server where none runs; the embedded database gets its schema where it has none.

    Raises `Conflict` where the server cannot serve.
    """
    if server_of(settings).pid() is None:
        start_server(settings, init_db=True if settings.embedded else None)
    problem = _problem(settings)
    if problem is not None and settings.embedded:
        from noetl.database.connection.connect import open_admin
        from noetl.database.schema.apply import apply_schema

        with open_admin(settings) as admin:
            apply_schema(admin, settings)
        problem = _problem(settings)
    if problem is not None:
        raise Conflict(problem)


def _problem(settings: Settings) -> str | None:
    about = read_address(settings.home)
    return "the server is only just starting: try again" if about is None else readiness(settings)


def readiness(settings: Settings) -> str | None:
    """Return what keeps this home's server from serving, or None."""
    try:
        _probe(settings, "/readyz")
    except NoetlError as error:
        return str(error)
    return None


def _serves(settings: Settings, pid: int) -> bool:
    about = read_address(settings.home)
    if about is None or about.get("pid") != pid:
        return False
    try:
        _probe(settings, "/livez")
    except NoetlError:
        return False
    return True


def _probe(settings: Settings, path: str) -> None:
    """Ask this home's server something that needs no token, over TCP where it has no socket."""
    about = read_address(settings.home) or {}
    home = settings.home if about.get("socket") else None
    client = Client(ServerLocation(str(about.get("address")), home))
    try:
        client.get(path)
    finally:
        client.close()
