"""Logins of the postgres tool: credentials as connection strings that nothing in the environment adds to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from noetl.tools.base import InvalidCall
from noetl.tools.credential import hide, postgres_parts, secrets_of

CONNECT_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class PostgresLogin:
    """A login at a server. `where` is for people, `secrets` are for nobody. `own`: it is the login that playbooks share
    on the engine's server."""

    conninfo: str = field(repr=False)
    where: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    own: bool = False

    def hide(self, text: str) -> str:
        """Return text without the login's secrets."""
        return hide(text, self.secrets)


def login_of(auth: Mapping[str, Mapping[str, object]], default: PostgresLogin | None) -> PostgresLogin:
    """Return the login of a call: that of its one credential, else the default. Raises `InvalidCall`."""
    if not auth:
        if default is None:
            raise InvalidCall("no database is named: give the step an auth of type postgres")
        return default
    if len(auth) > 1:
        raise InvalidCall(f"auth has {len(auth)} credentials ({', '.join(sorted(auth))}), and one is needed")
    ((alias, credential),) = auth.items()
    return make_login(postgres_parts(credential, f"the credential {alias!r}" if alias else "the credential"))


def make_login(parts: Mapping[str, Any], *, own: bool = False) -> PostgresLogin:
    """Return a login from its parts, under the client library's names. Raises `InvalidCall`."""
    closed = {
        "password": "",
        "passfile": f"{os.devnull}/none",
        "options": "",
        "application_name": "noetl playbook",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "tcp_user_timeout": 30000,
    }
    known = {name: value for name, value in parts.items() if value is not None}
    try:
        # What is not given must not come from PG... variables or files of the worker's account.
        conninfo = make_conninfo(**{**closed, **known, "client_encoding": "utf8"})
    except (psycopg.Error, UnicodeError, ValueError):
        raise InvalidCall("the login has a value that the client library does not take") from None
    host = str(parts.get("host") or parts.get("hostaddr"))
    port = "" if host.startswith("/") else f":{parts.get('port') or 5432}"
    return PostgresLogin(conninfo, f"{parts.get('user')}@{host}{port}/{parts.get('dbname')}", secrets_of(parts), own)
