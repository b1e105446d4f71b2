"""Where a call's SQL goes: its credential, as a connection string that nothing in the environment adds to."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from noetl.tools.sql_bind import Invalid, kind_of

CONNECT_SECONDS: Final = 10
_NAMES: Final = {
    "host": "host",
    "hostaddr": "hostaddr",
    "port": "port",
    "database": "dbname",
    "dbname": "dbname",
    "db": "dbname",
    "db_name": "dbname",
    "db_host": "host",
    "db_port": "port",
    "db_user": "user",
    "db_password": "password",
    "user": "user",
    "username": "user",
    "password": "password",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "channel_binding": "channel_binding",
    "connect_timeout": "connect_timeout",
    "application_name": "application_name",
    "options": "options",
    "target_session_attrs": "target_session_attrs",
}
"""The fields of a credential, and what the client library calls them."""

_URLS: Final = ("url", "dsn", "conninfo")
_SECRET: Final = ("password", "sslpassword")
_LEAST: Final = 4  # characters: a shorter secret would be found in every other word
_REQUIRED: Final = {"host": "host", "user": "user", "dbname": "database"}


@dataclass(frozen=True, slots=True)
class Login:
    """A login at a server. `where` is for people; `secrets` must not be seen by any."""

    conninfo: str = field(repr=False)
    where: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def hide(self, text: str) -> str:
        """Return text without the login's secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def login_of(auth: Mapping[str, Mapping[str, Any]], default: Login | None) -> Login:
    """Return the login that a call is to use: its one credential, else the default. Raises `Invalid`."""
    if not auth:
        if default is None:
            raise Invalid("no database is named: give the step an auth of type postgres")
        return default
    if len(auth) > 1:
        raise Invalid(f"auth has {len(auth)} credentials ({', '.join(sorted(auth))}), and one is needed")
    ((alias, credential),) = auth.items()
    return read_login(credential, f"the credential {alias!r}" if alias else "the credential")


def read_login(credential: Mapping[str, Any], what: str = "the credential") -> Login:
    """Return the login that a credential describes: `{type: postgres, host, port, database, user, password, ...}`
    or `{type: postgres, url}`. Raises `Invalid`, whose message never shows a value that may be secret."""
    kind = credential.get("type", "postgres")
    if kind not in ("postgres", "postgresql"):
        raise Invalid(f"{what} is of type {kind!r}: one of type postgres is needed")
    given = {name: value for name, value in credential.items() if name != "type" and value is not None}
    urls = [name for name in _URLS if name in given]
    parts: dict[str, Any] = {}
    if urls:
        parts = _of_url(given.pop(urls[0]), f"{urls[0]} of {what}")
    unknown = [str(name) for name in given if name not in _NAMES]
    if unknown:
        known = ", ".join([*_NAMES, *_URLS])
        raise Invalid(f"{what} has the field {unknown[0]!r}, which is unknown: there are {known}")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise Invalid(f"{name} of {what} must be text, not {kind_of(value)}")
        parts[_NAMES[name]] = str(value)
    return _login(parts, what)


def _of_url(url: Any, what: str) -> dict[str, Any]:
    try:
        if isinstance(url, str):
            return dict(conninfo_to_dict(url))
    except (psycopg.Error, UnicodeError):  # the message may quote a password
        pass
    raise Invalid(f"{what} is no connection string: write it as postgresql://user:password@host:port/database")


def _login(parts: dict[str, Any], what: str) -> Login:
    missing = [
        name for key, name in _REQUIRED.items() if not parts.get(key) and not (key == "host" and "hostaddr" in parts)
    ]
    if missing:
        raise Invalid(f"{what} has no {' and no '.join(missing)}: it must name host, database and user")
    return make_login(parts)


def make_login(parts: Mapping[str, Any]) -> Login:
    """Return a login from what the client library calls its parts. Raises `Invalid`."""
    closed = {
        "password": "",
        "passfile": f"{os.devnull}/none",
        "options": "",
        "application_name": "noetl playbook",
    }
    bounded = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "tcp_user_timeout": 30000,
    }
    try:
        # What is not given must not come from PG... variables or files of the worker's account.
        conninfo = make_conninfo(
            **{
                **closed,
                **bounded,
                **{name: value for name, value in parts.items() if value is not None and name != "client_encoding"},
            },
            client_encoding="utf8",
        )
    except (psycopg.Error, UnicodeError, ValueError):
        raise Invalid("the login has a value that the client library does not take") from None
    host = str(parts.get("host") or parts.get("hostaddr"))
    port = "" if host.startswith("/") else f":{parts.get('port') or 5432}"
    secrets = tuple(str(parts[name]) for name in _SECRET if len(str(parts.get(name) or "")) >= _LEAST)
    return Login(conninfo, f"{parts.get('user')}@{host}{port}/{parts.get('dbname')}", secrets)
