"""The logins of the engine: made on request only, never dropped, and never more than a warning when they cannot be."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import psycopg.errors as pg
from psycopg.sql import SQL, Composed, Identifier, Literal

from noetl.database.embedded.passwords import Passwords
from noetl.settings import Settings

ATTEMPTS = 5
"""Roles belong to the whole server and no lock of ours spans its databases: colliding commands are repeated."""


UNLOGGED = {
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
}
"""Settings of the playbooks' role: its SQL, the values in it and what Postgres says of them may hold secrets."""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Role:
    """A login that shall exist. Without a password an existing one is left alone."""

    name: str
    password: str | None
    setting: str  # the variable that names it
    shared: bool = False  # whether SQL of playbooks runs under it


def wanted_roles(settings: Settings) -> list[Role]:
    """Return the login of server and worker, and that of playbooks' own SQL.

    On the embedded server their passwords are the home's, whatever the settings say, and given as verifiers.
    """
    if settings.embedded:
        known = Passwords(settings.home)
        return [
            Role(settings.user, known.verifier(settings.user), "NOETL_USER"),
            Role(settings.playbook_user, known.verifier(settings.playbook_user), "NOETL_PLAYBOOK_USER", shared=True),
        ]
    return [
        Role(settings.user, settings.password, "NOETL_USER"),
        Role(settings.playbook_user, settings.playbook_password, "NOETL_PLAYBOOK_USER", shared=True),
    ]


def ensure_roles(conn: Connection, roles: list[Role]) -> list[str]:
    """Create the roles that are missing and set their passwords; return a warning for each thing not done.

    A role that is created without a password is such a thing, too.

    `conn` is the administrator's, in autocommit mode. Its own role is left alone.
    """
    row = conn.execute("SELECT current_user").fetchone()
    own = row[0] if row else ""
    return [warning for role in roles if role.name != own for warning in _ensure_role(conn, role)]


def _ensure_role(conn: Connection, role: Role) -> Iterator[str]:
    for attempt in range(ATTEMPTS):
        exists = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (role.name,)).rowcount > 0
        try:
            if not exists or role.password is not None:
                with conn.transaction():
                    conn.execute("SET LOCAL log_statement = 'none'" if _is_superuser(conn) else "SELECT")
                    conn.execute(_statement(role, exists))
            if not exists and role.password is None:
                yield (
                    f"role {role.name} was created without a password, and most servers refuse such a login: set"
                    f" {role.setting.replace('USER', 'PASSWORD')}, and run noetl db apply-schema --ensure-role again"
                )
            if role.shared:
                yield from _bound(conn, role)
            return
        except (pg.DuplicateObject, pg.UniqueViolation, pg.InternalError_) as error:
            if attempt == ATTEMPTS - 1:
                yield _warning(conn, role, exists, error)
        except pg.InsufficientPrivilege as error:
            yield _warning(conn, role, exists, error)
            return


def _bound(conn: Connection, role: Role) -> Iterator[str]:
    """Leave the other logins half of the server's connections, and the server's log without playbooks' values.

    A limit that somebody has set stays. Only a superuser may set what is logged; the role itself cannot undo it.
    """
    row = conn.execute(
        "SELECT rolconnlimit, current_setting('max_connections')::integer / 2, array_to_string(rolconfig, ' ')"
        " FROM pg_roles WHERE rolname = %s",
        (role.name,),
    ).fetchone()
    limit, half, config = row or (0, 0, "")
    if limit == -1:
        try:
            conn.execute(SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(Identifier(role.name), Literal(half)))
        except pg.InsufficientPrivilege as error:
            reason = str(error).strip().splitlines()[0]
            yield f"role {role.name} may take all connections of the server ({reason}): give it a CONNECTION LIMIT"
    if _is_superuser(conn):
        for name, value in UNLOGGED.items():
            if f"{name}={value}" not in (config or ""):
                conn.execute(SQL("ALTER ROLE {} SET {} = {}").format(Identifier(role.name), Identifier(name), value))


def _is_superuser(conn: Connection) -> bool:
    row = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(row and row[0])


def _statement(role: Role, exists: bool) -> Composed:
    verb = SQL("ALTER" if exists else "CREATE")
    secret = SQL(" PASSWORD {}").format(Literal(role.password)) if role.password is not None else SQL("")
    return SQL("{} ROLE {} LOGIN{}").format(verb, Identifier(role.name), secret)


def _warning(conn: Connection, role: Role, exists: bool, error: Exception) -> str:
    problem = f"the password of role {role.name} was not set" if exists else f"role {role.name} was not created"
    reason = str(error).strip().splitlines()[0]
    return (
        f"{problem} ({reason}): let somebody with the right to CREATE ROLE do it, or set {role.setting} to a login "
        f"that exists"
    )
