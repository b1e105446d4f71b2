"""Settings: flag > environment > `.env` in the working folder > default, gathered into a frozen `Settings`.

A wrong value is reported when it is used, by one sentence that names the setting: a command for the database
does not care about the server's port. What is missing is reported likewise, by `Settings.admin_conninfo`.
"""

import base64
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv.parser import parse_stream

from noetl.errors import SettingsError

DEFAULT_PORT = 8082
"""The port of the API. Where none is set, a server takes the next free one from here on."""

POSTGRES_NAMES = ("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD")


_PLACES = ("POSTGRES_HOST", "POSTGRES_PORT", "NOETL_DATABASE_URL")
_PASSWORDS = ("POSTGRES_PASSWORD", "NOETL_PASSWORD", "NOETL_PLAYBOOK_PASSWORD")


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything that can be set. Sizes are in bytes, times in seconds. `repr` shows no secret."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # `.env` under the process's own
    from_dotenv: frozenset[str] = frozenset()  # variables that `.env` gives, and not the process's own environment
    embedded: bool = True
    database_url: str | None = None
    postgres_host: str | None = None
    postgres_port: int = 5432
    postgres_db: str | None = None
    postgres_user: str | None = None
    postgres_password: str | None = None
    schema: str = "noetl"
    user: str = "noetl"
    password: str | None = None
    playbook_user: str = "noetl_playbook"
    playbook_password: str | None = None
    connect_timeout: int = 10
    lock_timeout: float = 60.0
    host: str = "127.0.0.1"
    port: int | None = None  # None: 8082, or the next free one
    api_token: str | None = None
    allowed_hosts: tuple[str, ...] = ()  # further names by which the server may be called
    init_db: bool = False
    body_limit: int = 16 * 1024 * 1024
    template_env: tuple[str, ...] = ()
    inline_limit: int = 262144
    result_limit: int = 33554432
    notify: bool = True
    lease_seconds: float = 30.0
    slots: int = 16
    processes: int = 1
    pools: tuple[str, ...] = ("default",)
    http_allow_link_local: bool = False
    encryption_key: tuple[bytes, ...] = ()  # the first encrypts, all decrypt; embedded: else a file in `home`
    credential_reveal: bool = False

    if not TYPE_CHECKING:  # a checker shall still find misspelt names

        def __getattr__(self, name: str) -> Any:
            """Raise the problem of a setting whose value is wrong: it has no attribute, so Python asks here."""
            problems = self.__dict__.get("_problems", {})
            if name in problems:
                raise SettingsError(problems[name])
            raise AttributeError(name)

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


# A default that stays behind as an attribute of the class would hide a wrong value; `__init__` has its own copy.
for _name in Settings.__dataclass_fields__:
    if _name in vars(Settings):
        delattr(Settings, _name)


def load_settings(**flags: Any) -> Settings:
    """Gather the settings. `flags` are fields of `Settings` given on a command line; None means not given.

    Raises `SettingsError` where `.env` cannot be read. A wrong value raises when it is first used.
    """
    dotenv = _read_dotenv(Path(".env"))
    environment = {**dotenv, **os.environ}
    unknown = flags.keys() - Settings.__dataclass_fields__.keys()
    if unknown:
        raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
    given = {name: value for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {"home": _default_home(environment), "environment": environment}
    values["from_dotenv"] = frozenset(dotenv.keys() - os.environ.keys())
    problems: dict[str, str] = {}
    for name, (variables, parse) in _VARIABLES.items():
        try:
            variable = next((each for each in variables if environment.get(each)), None)
            if name in given:
                flag = given.pop(name)
                text = ",".join(flag) if isinstance(flag, tuple | list) else str(flag)
                values[name] = parse(f"--{name.replace('_', '-')}", text)
            elif variable is not None:
                values[name] = parse(variable, environment[variable])
        except SettingsError as error:
            problems[name] = str(error)
    if "POSTGRES_PASSWORD" in environment:  # set to nothing is an answer: this login needs no password
        values["postgres_password"] = environment["POSTGRES_PASSWORD"]
    try:
        values["embedded"] = _is_embedded(environment, values.get("database_url"))
    except SettingsError as error:
        problems["embedded"] = str(error)
    settings = Settings(**{**values, **given})
    object.__setattr__(settings, "_problems", problems)
    for name in problems:
        object.__delattr__(settings, name)
    return settings


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.resolve()} cannot be read: {error}") from error
    for binding in bindings:
        if binding.error:  # its text may hold a secret
            raise SettingsError(
                f"{path.resolve()}, line {binding.original.line}, is not of the form NAME=value: correct it"
            )
    return {b.key: b.value for b in bindings if b.key is not None and b.value is not None}


def _default_home(environment: Mapping[str, str]) -> Path:
    if data := environment.get("XDG_DATA_HOME"):
        return Path(data).absolute() / "noetl"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "noetl"
    return Path.home() / ".local" / "share" / "noetl"


def _is_embedded(environment: Mapping[str, str], url: str | None) -> bool:
    """Decide whether to run a Postgres of our own: only where nothing hints at another one."""
    named = [name for name in ("NOETL_DATABASE_URL", *POSTGRES_NAMES) if environment.get(name)]
    wish = environment.get("NOETL_EMBEDDED")
    if wish and _flag("NOETL_EMBEDDED", wish):
        if named:
            raise SettingsError(f"NOETL_EMBEDDED is {wish!r}, but {named[0]} names another database: unset one")
        return True
    return not (wish or named or url or environment.get("KUBERNETES_SERVICE_HOST"))


# ---- parsers: (name of the setting, its text) -> value, or a SettingsError that names it ----


def _text(name: str, text: str) -> str:
    if "\0" in text:
        raise SettingsError(f"{name} holds a NUL character: remove it")
    return text


def _path(name: str, text: str) -> Path:
    return Path(_text(name, text)).expanduser().absolute()


def _flag(name: str, text: str) -> bool:
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
        case _:
            raise SettingsError(f"{name} is {text!r}, but must be true or false")


def _number(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        try:
            number = int(text.strip().replace("_", ""))
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise SettingsError(f"{name} is {text!r}, but must be a whole number from {least} to {most}")
        return number

    return parse


def _seconds(least: float, most: float) -> Callable[[str, str], float]:
    def parse(name: str, text: str) -> float:
        try:
            number = float(text.strip())
        except ValueError:
            number = least - 1
        if not least <= number <= most:  # NaN compares false, too
            raise SettingsError(f"{name} is {text!r}, but must be a number of seconds from {least} to {most}")
        return number

    return parse


def _names(name: str, text: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    if not names:
        raise SettingsError(f"{name} is {text!r}, but must be names separated by commas")
    return names


def _identifier(name: str, text: str) -> str:
    if len(_text(name, text).encode()) > 63:
        raise SettingsError(f"{name} is {text!r}, but a name in Postgres has at most 63 bytes: take a shorter one")
    if text.lower().startswith("pg_"):
        raise SettingsError(f"{name} is {text!r}, but Postgres keeps names with pg_ to itself: take another one")
    return text


def _schema(name: str, text: str) -> str:
    if text in ("public", "information_schema", "noetl_inbox"):
        raise SettingsError(f"{name} is {text!r}, but NoETL needs a schema of its own: take another one")
    return _identifier(name, text)


def encryption_keys(name: str, text: str) -> tuple[bytes, ...]:
    """Return the keys of a text, separated by commas. Raises `SettingsError`, which shows none of them."""
    keys = tuple(_key(part.strip()) for part in text.split(","))
    for number, key in enumerate(keys, 1):
        if key is None:
            which = f"key {number} of {name}" if len(keys) > 1 else name
            raise SettingsError(
                f"{which} is no key: it must be 32 bytes in Base64, as noetl credential key makes one"
                " (several are separated by commas)"
            )
    return tuple(key for key in keys if key is not None)


def _key(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def _url(name: str, text: str) -> str:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(text)
    except ProgrammingError as error:  # its message may quote the password
        raise SettingsError(f"{name} is not a connection string (postgresql://user@host:port/db)") from error
    return text


_VARIABLES: dict[str, tuple[tuple[str, ...], Callable[[str, str], Any]]] = {
    "home": (("NOETL_HOME",), _path),
    "database_url": (("NOETL_DATABASE_URL",), _url),
    "postgres_host": (("POSTGRES_HOST",), _text),
    "postgres_port": (("POSTGRES_PORT",), _number(1, 65535)),
    "postgres_db": (("POSTGRES_DB",), _text),
    "postgres_user": (("POSTGRES_USER",), _text),
    "schema": (("NOETL_SCHEMA",), _schema),
    "user": (("NOETL_USER",), _identifier),
    "password": (("NOETL_PASSWORD",), _text),
    "playbook_user": (("NOETL_PLAYBOOK_USER",), _identifier),
    "playbook_password": (("NOETL_PLAYBOOK_PASSWORD",), _text),
    "connect_timeout": (("NOETL_CONNECT_TIMEOUT",), _number(1, 3600)),
    "lock_timeout": (("NOETL_LOCK_TIMEOUT",), _seconds(0.001, 86400)),
    "host": (("NOETL_HOST",), _text),
    "port": (("NOETL_PORT",), _number(1, 65535)),
    "api_token": (("NOETL_API_TOKEN",), _text),
    "allowed_hosts": (("NOETL_ALLOWED_HOSTS",), _names),
    "init_db": (("NOETL_INIT_DB", "NOETL_SCHEMA_VALIDATE"), _flag),
    "body_limit": (("NOETL_BODY_LIMIT",), _number(1024, 1 << 30)),
    "template_env": (("NOETL_TEMPLATE_ENV",), _names),
    "inline_limit": (("NOETL_RESULT_INLINE_LIMIT",), _number(0, 1 << 30)),
    "result_limit": (("NOETL_RESULT_LIMIT",), _number(1024, 1 << 30)),
    "notify": (("NOETL_NOTIFY",), _flag),
    "lease_seconds": (("NOETL_LEASE_SECONDS",), _seconds(0.1, 86400)),
    "slots": (("NOETL_WORKER_SLOTS",), _number(1, 1024)),
    "processes": (("NOETL_WORKER_PROCESSES",), _number(1, 256)),
    "pools": (("NOETL_WORKER_POOLS",), _names),
    "http_allow_link_local": (("NOETL_HTTP_ALLOW_LINK_LOCAL",), _flag),
    "encryption_key": (("NOETL_ENCRYPTION_KEY",), encryption_keys),
    "credential_reveal": (("NOETL_CREDENTIAL_REVEAL",), _flag),
}
