"""Credentials of type postgres as parts of a connection, under the client library's names."""

from collections.abc import Mapping
from typing import Final

from noetl.tools.base import InvalidCall
from noetl.tools.sql.bind import kind_of

PART_NAMES: Final = {
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
    "ssl_mode": "sslmode",
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
"""The fields of a credential, and their names in the client library."""

_ONLY_IN_URLS: Final = frozenset(
    {
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("client_encoding", "fallback_application_name", "gssencmode", "load_balance_hosts", "requirepeer"),
        *("require_auth", "sslcrl", "sslcrldir", "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    }
)
"""The further parts that a connection string may have. Files of passwords or services are in neither list: they would
replace a password that the playbook does not know."""

URL_FIELDS: Final = ("url", "dsn", "conninfo")
_REQUIRED_PARTS: Final = {"host": "host", "user": "user", "dbname": "database"}
_SECRET_PARTS: Final = ("password", "sslpassword")
_SHORTEST_SECRET: Final = 4  # characters: a shorter secret would be found in every other word


def postgres_parts(credential: Mapping[str, object], label: str = "the credential") -> dict[str, str]:
    """Return the parts of a login from `{type: postgres, host, port, database, user, password, ...}` or `{type:
    postgres, url}`. Raises `InvalidCall`, whose message never shows a value that may be secret."""
    kind = credential.get("type", "postgres")
    if kind not in ("postgres", "postgresql"):
        raise InvalidCall(f"{label} is of type {kind!r}: one of type postgres is needed")
    values = {name: value for name, value in credential.items() if name != "type" and value is not None}
    urls = [name for name in URL_FIELDS if name in values]
    parts = _of_url(values.pop(urls[0]), f"{urls[0]} of {label}") if urls else {}
    for name, value in values.items():
        if name not in PART_NAMES:
            known = ", ".join([*PART_NAMES, *URL_FIELDS])
            raise InvalidCall(f"{label} has the field {name!r}, which is unknown: there are {known}")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InvalidCall(f"{name} of {label} must be text, not {kind_of(value)}")
        parts[PART_NAMES[name]] = str(value)
    missing = [name for key, name in _REQUIRED_PARTS.items() if not parts.get(key)]
    if "hostaddr" in parts and "host" in missing:
        missing.remove("host")
    if missing:
        raise InvalidCall(f"{label} has no {' and no '.join(missing)}: it must name host, database and user")
    return parts


def _of_url(url: object, label: str) -> dict[str, str]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()} if isinstance(url, str) else {}
    except (psycopg.Error, UnicodeError):  # the message may quote a password
        parts = {}
    if not parts:
        raise InvalidCall(
            f"{label} is not a connection string: write it as postgresql://user:password@host:port/database"
        )
    refused = sorted(parts.keys() - set(PART_NAMES.values()) - _ONLY_IN_URLS)
    if refused:
        raise InvalidCall(f"{label} has {refused[0]}, which a connection of a playbook may not have: leave it out")
    return parts


def secrets_of(parts: Mapping[str, object]) -> tuple[str, ...]:
    """Return the secrets of a login."""
    return tuple(str(parts[name]) for name in _SECRET_PARTS if len(str(parts.get(name) or "")) >= _SHORTEST_SECRET)


def hide(text: str, secrets: tuple[str, ...]) -> str:
    """Return text without secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
