"""`noetl db`: the schema and the embedded Postgres."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from noetl.cli.db.remove import remove
from noetl.cli.terminal import confirmed, note, print_json, print_table
from noetl.settings import Settings, load_settings

if TYPE_CHECKING:
    from noetl.database.connection.connect import Database

app = typer.Typer(help="The schema and the embedded Postgres.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else on stdout.")]
DdlFile = Annotated[Path | None, typer.Option("--file", help="DDL file. Default: the packaged one.")]
EnsureRole = Annotated[
    bool | None,
    typer.Option(
        "--ensure-role/--no-ensure-role",
        help="Create the logins first, with their passwords, as far as rights allow. Default: on the embedded "
        "server only.",
    ),
]


app.command("remove")(remove)


@app.command("apply-schema")
def apply_schema(file: DdlFile = None, ensure_role: EnsureRole = None, as_json: Json = False) -> None:
    """Apply the schema; a second time changes nothing. Exit code 1: the schema differs from the DDL."""
    from noetl.database.connection.connect import open_admin
    from noetl.database.schema import apply as schema

    settings = load_settings()
    with open_admin(settings) as admin:
        said = schema.apply_schema(admin, settings, file=file, ensure_role=ensure_role)
        _tell_applied(admin, settings, said, as_json)


@app.command("reset-schema")
def reset_schema(
    file: DdlFile = None,
    ensure_role: EnsureRole = None,
    yes: Annotated[bool, typer.Option("--yes", help="Reset without asking, also under live workers.")] = False,
    as_json: Json = False,
) -> None:
    """Drop the schema with all its data and apply it anew; an error changes nothing."""
    from noetl.database.connection.connect import open_admin
    from noetl.database.schema import apply as schema

    settings = load_settings()
    with open_admin(settings) as admin:
        if live := _live(settings):
            note(f"warning: these work on schema {settings.schema} and lose what they do: {', '.join(live)}")
        question = f"Delete schema {admin.schema} in {admin.where} with all executions?"
        if not yes and not confirmed(question):
            note("nothing was changed")
            raise typer.Exit(1)
        said = schema.reset_schema(admin, settings, file=file, ensure_role=ensure_role)
        _tell_applied(admin, settings, said, as_json)


def _live(settings: Settings) -> list[str]:
    from noetl.database.connection.connect import open_database
    from noetl.database.schema.apply import live_processes
    from noetl.errors import Unreachable

    try:
        with open_database(settings, application="noetl db") as database:
            return live_processes(database)
    except Unreachable:
        return []  # without the login of workers there are none


def _tell_applied(admin: "Database", settings: Settings, said: list[str], as_json: bool) -> None:
    """Say what stands in the database now, which may be something the file could not mend."""
    from noetl.database.schema.status import schema_report

    for line in said:
        note(f"note: {line}")
    report = schema_report(admin, settings)
    wrong = [line for line in report["problems"] if line not in report["rights"] and "is not NoETL's" not in line]
    for line in report["problems"]:
        note(f"warning: {line}")
    if as_json:
        print_json({name: report[name] for name in ("database", "schema", "state", "version", "instance", "problems")})
    elif not wrong:
        note(f"schema {admin.schema}, version {report['version']}, stands in {admin.where}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def migrate(as_json: Json = False) -> None:
    """Bring an older schema to this program's version."""
    from noetl.database.connection.connect import open_admin
    from noetl.database.schema.migrate import migrate as run_migrations

    settings = load_settings()
    with open_admin(settings) as admin:
        done = run_migrations(admin, settings)
    if as_json:
        print_json({"applied": done})
    else:
        note(f"applied {', '.join(done)}" if done else "the schema is current, nothing to migrate")


@app.command()
def status(as_json: Json = False) -> None:
    """Show version, instance, tables, drift, role and grants. Exit code 1: there are problems."""
    from noetl.database.connection.connect import open_admin, require_embedded
    from noetl.database.schema.status import schema_report

    settings = load_settings()
    require_embedded(settings)
    with open_admin(settings) as admin:
        report = schema_report(admin, settings)
    if as_json:
        print_json(report)
    else:
        for name in ("database", "server", "schema", "state", "version", "instance"):
            print(f"{name + ':':10} {'-' if report[name] is None else report[name]}")
        if report["tables"]:
            print_table(["table", "owner", "rows", "bytes"], report["tables"], empty="")
        for line in report["problems"]:
            note(f"problem: {line}")
    raise typer.Exit(1 if report["problems"] else 0)


@app.command("print-schema")
def print_schema() -> None:
    """Print the packaged DDL."""
    from noetl.database.schema.apply import packaged_ddl

    sys.stdout.write(packaged_ddl())


@app.command()
def verify(as_json: Json = False) -> None:
    """Check the invariants of log, state and queue over the whole database. Exit code 1: one is broken."""
    from noetl.database.connection.connect import open_database, require_embedded
    from noetl.database.schema.apply import require_schema
    from noetl.database.schema.verify import verify as verify_invariants
    from noetl.orchestrator.catalog_check import verify_catalog
    from noetl.orchestrator.replay import verify_replay

    settings = load_settings()
    require_embedded(settings)
    with open_database(settings, application="noetl db") as database:
        require_schema(database)
        findings = verify_invariants(database) + verify_catalog(database) + verify_replay(database)
    if as_json:
        print_json({"findings": findings})
    else:
        for line in findings:
            print(line)
        note("broken: see above" if findings else "all invariants hold")
    raise typer.Exit(1 if findings else 0)


@app.command()
def start() -> None:
    """Start the embedded Postgres."""
    from noetl.database.connection.connect import embedded_server

    server = embedded_server(load_settings())
    note(f"the embedded Postgres {'has been started' if server.start() else 'runs already'} (data in {server.data})")


@app.command()
def stop() -> None:
    """Stop the embedded Postgres. Nothing committed is lost."""
    from noetl.database.connection.connect import embedded_server

    server = embedded_server(load_settings())
    note("the embedded Postgres has been stopped" if server.stop() else "no embedded Postgres runs here")


@app.command()
def url() -> None:
    """Print the administrator's URL of the database, without the password."""
    from noetl.database.connection.connect import embedded_server, open_admin, require_embedded

    settings = load_settings()
    require_embedded(settings)
    with open_admin(settings) as admin:
        parts = _parts(admin)
    password = parts.pop("password", None)
    if settings.embedded:
        parts["passfile"] = embedded_server(settings).passwords.file
    elif password:
        note("the password is not printed: give it by PGPASSWORD")
    print(_url(parts))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context) -> None:
    """Open psql as the administrator, in the engine's schema. Arguments go to psql."""
    from noetl.database.connection.connect import open_admin, require_embedded
    from noetl.database.embedded.programs import client_program

    settings = load_settings()
    require_embedded(settings)
    with open_admin(settings) as admin:
        parts = _parts(admin)
    program = client_program("psql")
    environment = dict(os.environ)
    if password := parts.pop("password", None):
        environment["PGPASSWORD"] = str(password)  # a command line can be read by everybody
    path = '"' + settings.schema.replace('"', '""') + '",public'
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
    environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} -c search_path={escaped}".strip()
    os.execve(program, ["psql", _url(parts), *context.args], environment)  # noqa: S606


@app.command()
def inbox(
    where: Annotated[
        str, typer.Argument(metavar="URL", help="URL of the database: postgresql://user@host:port/database.")
    ],
    as_json: Json = False,
) -> None:
    """Make the inbox table in a database, so that playbooks' SQL runs there exactly once."""
    from noetl.database.schema.inbox import make_inbox

    database, created = make_inbox(where)
    if as_json:
        print_json({"database": database, "created": created})
    else:
        note(f"the inbox noetl_inbox.noetl_done {'was made' if created else 'stands already'} in {database}")


def _parts(admin: "Database") -> dict[str, Any]:
    """Return the connection's parameters as far as another program needs them."""
    from psycopg.conninfo import conninfo_to_dict

    extra = ("application_name", "connect_timeout", "keepalives", "tcp_user_timeout")
    return {name: value for name, value in conninfo_to_dict(admin.conninfo).items() if not name.startswith(extra)}


def _url(parts: dict[str, Any]) -> str:
    rest = dict(parts)
    user, name = (quote(str(rest.pop(key, "")), safe="") for key in ("user", "dbname"))
    return f"postgresql://{user + '@' if user else ''}/{name}" + (f"?{urlencode(rest)}" if rest else "")
