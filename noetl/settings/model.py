"""The table of all settings: `Settings`, one line for each field with its variables, its parser and its default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noetl.errors import SettingsError
from noetl.settings.parsers import (
    boolean,
    connection_string,
    encryption_keys,
    identifier,
    names,
    path,
    plain_text,
    schema_name,
    seconds,
    whole_number,
)
from noetl.settings.setting import Setting

DEFAULT_PORT = 8082
"""The port of the API. Where none is set, a server takes the next free one from here on."""

_PLACES = ("POSTGRES_HOST", "POSTGRES_PORT", "NOETL_DATABASE_URL")
_PASSWORDS = ("POSTGRES_PASSWORD", "NOETL_PASSWORD", "NOETL_PLAYBOOK_PASSWORD")
_GIB = 1 << 30


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything that can be set. Sizes are in bytes, times in seconds. `repr` shows no secret.

    A wrong value raises `SettingsError` when it is read: a command for the database does not care about the server's
    port.
    """

    home: Setting[Path] = Setting("NOETL_HOME", path)
    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables of `.env` under those of the process."""
    from_dotenv: frozenset[str] = frozenset()
    """Names of variables that `.env` gives, and not the process's own environment."""
    embedded: Setting[bool] = Setting("NOETL_EMBEDDED", boolean, True)
    database_url: Setting[str | None] = Setting("NOETL_DATABASE_URL", connection_string, None)
    postgres_host: Setting[str | None] = Setting("POSTGRES_HOST", plain_text, None)
    postgres_port: Setting[int] = Setting("POSTGRES_PORT", whole_number(1, 65535), 5432)
    postgres_db: Setting[str | None] = Setting("POSTGRES_DB", plain_text, None)
    postgres_user: Setting[str | None] = Setting("POSTGRES_USER", plain_text, None)
    postgres_password: Setting[str | None] = Setting("POSTGRES_PASSWORD", plain_text, None, empty_is_a_value=True)
    schema: Setting[str] = Setting("NOETL_SCHEMA", schema_name, "noetl")
    user: Setting[str] = Setting("NOETL_USER", identifier, "noetl")
    password: Setting[str | None] = Setting("NOETL_PASSWORD", plain_text, None)
    playbook_user: Setting[str] = Setting("NOETL_PLAYBOOK_USER", identifier, "noetl_playbook")
    playbook_password: Setting[str | None] = Setting("NOETL_PLAYBOOK_PASSWORD", plain_text, None)
    connect_timeout: Setting[int] = Setting("NOETL_CONNECT_TIMEOUT", whole_number(1, 3600), 10)
    lock_timeout: Setting[float] = Setting("NOETL_LOCK_TIMEOUT", seconds(0.001, 86400), 60.0)
    host: Setting[str] = Setting("NOETL_HOST", plain_text, "127.0.0.1")
    port: Setting[int | None] = Setting("NOETL_PORT", whole_number(1, 65535), None)
    """None: `DEFAULT_PORT`, or the next free one."""
    api_token: Setting[str | None] = Setting("NOETL_API_TOKEN", plain_text, None)
    allowed_hosts: Setting[tuple[str, ...]] = Setting("NOETL_ALLOWED_HOSTS", names, ())
    """Further names by which the server may be called."""
    init_db: Setting[bool] = Setting("NOETL_INIT_DB NOETL_SCHEMA_VALIDATE", boolean, False)
    body_limit: Setting[int] = Setting("NOETL_BODY_LIMIT", whole_number(1024, _GIB), 16 * 1024 * 1024)
    template_env: Setting[tuple[str, ...]] = Setting("NOETL_TEMPLATE_ENV", names, ())
    inline_limit: Setting[int] = Setting("NOETL_RESULT_INLINE_LIMIT", whole_number(0, _GIB), 262144)
    result_limit: Setting[int] = Setting("NOETL_RESULT_LIMIT", whole_number(1024, _GIB), 33554432)
    notify: Setting[bool] = Setting("NOETL_NOTIFY", boolean, True)
    lease_seconds: Setting[float] = Setting("NOETL_LEASE_SECONDS", seconds(0.1, 86400), 30.0)
    slots: Setting[int] = Setting("NOETL_WORKER_SLOTS", whole_number(1, 1024), 16)
    processes: Setting[int] = Setting("NOETL_WORKER_PROCESSES", whole_number(1, 256), 1)
    pools: Setting[tuple[str, ...]] = Setting("NOETL_WORKER_POOLS", names, ("default",))
    http_allow_link_local: Setting[bool] = Setting("NOETL_HTTP_ALLOW_LINK_LOCAL", boolean, False)
    encryption_key: Setting[tuple[bytes, ...]] = Setting("NOETL_ENCRYPTION_KEY", encryption_keys, ())
    """The first encrypts, all decrypt; embedded: else a file in `home`."""
    credential_reveal: Setting[bool] = Setting("NOETL_CREDENTIAL_REVEAL", boolean, False)

    def __repr__(self) -> str:
        where = "embedded" if self.embedded else (self.postgres_host or "NOETL_DATABASE_URL")
        return f"Settings(home={str(self.home)!r}, database={where!r}, schema={self.schema!r})"

    def admin_conninfo(self) -> str:
        """Return the administrator's connection string of a server that is not embedded.

        Raises `SettingsError` naming what is missing.
        """
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        if self.database_url is not None:
            return make_conninfo("", **self._guarded(dict(conninfo_to_dict(self.database_url))))
        host, password = self.postgres_host, self.postgres_password
        missing = [
            name
            for name, value in (
                ("POSTGRES_HOST", host),
                ("POSTGRES_DB", self.postgres_db),
                ("POSTGRES_USER", self.postgres_user),
                ("POSTGRES_PASSWORD", "" if host and host.startswith("/") else password),
            )
            if value is None
        ]
        if missing:
            raise SettingsError(_missing(missing))
        parts = {"host": host, "port": self.postgres_port, "dbname": self.postgres_db, "user": self.postgres_user}
        return make_conninfo("", **self._guarded({**parts, "password": password or None}))

    def login_conninfo(self, user: str, password: str | None) -> str:
        """Return the connection string of another login than the administrator's, who need not be known here.

        Where `user` is the administrator's name it is his login, unless a password is given.
        Raises `SettingsError` naming what is missing.
        """
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        if self.database_url is not None:
            parts = dict(conninfo_to_dict(self.database_url))
        else:
            missing = [
                name
                for name, value in (("POSTGRES_HOST", self.postgres_host), ("POSTGRES_DB", self.postgres_db))
                if value is None
            ]
            if missing:
                raise SettingsError(_missing(missing))
            parts = {"host": self.postgres_host, "port": self.postgres_port, "dbname": self.postgres_db}
            parts |= {"user": self.postgres_user, "password": self.postgres_password or None}
        if parts.get("user") != user or password is not None:
            parts |= {"user": user, "password": password}
        return make_conninfo("", **self._guarded(parts))

    def _guarded(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Keep a password that `.env` does not hold from being shown to a server that it names: proved it may be."""
        outside = {self.environment.get(name) for name in _PASSWORDS if name not in self.from_dotenv}
        if self.from_dotenv.isdisjoint(_PLACES) or parts.get("password") not in {None, *outside}:
            return parts
        return {**parts, "require_auth": "scram-sha-256,none"}


def _missing(names: list[str]) -> str:
    one = len(names) == 1
    return (
        f"{' and '.join(names)} {'is' if one else 'are'} not set: set {'it' if one else 'them'} in the environment or "
        "in .env, or give NOETL_DATABASE_URL instead"
    )
