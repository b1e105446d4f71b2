"""Loading of the settings: flag > environment > `.env` in the working folder > default."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from noetl.errors import SettingsError
from noetl.settings.model import Settings
from noetl.settings.setting import WrongValue, table_of

TABLE = table_of(Settings)
"""Each setting by its field of `Settings`."""

POSTGRES_NAMES = (
    "NOETL_DATABASE_URL",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
)
"""Variables of which each names a database that is not embedded."""


def load_settings(**flags: object) -> Settings:
    """Gather the settings. `flags` are fields of `Settings` given on a command line; None means not given.

    Raises `SettingsError` where `.env` cannot be read. A wrong value raises when it is first used.
    """
    if unknown := flags.keys() - TABLE.keys():
        raise TypeError(f"no such settings: {', '.join(sorted(unknown))}")
    dotenv = _read_dotenv(Path(".env"))
    environment = {**dotenv, **os.environ}
    parsed = {name: setting.read(environment, flags.get(name)) for name, setting in TABLE.items()}
    values: dict[str, Any] = {name: value for name, value in parsed.items() if value is not None}
    values.setdefault("home", _default_home(environment))
    values["embedded"] = _is_embedded(environment, values)
    return Settings(**values, environment=environment, from_dotenv=frozenset(dotenv.keys() - os.environ.keys()))


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


def _is_embedded(environment: Mapping[str, str], values: Mapping[str, Any]) -> bool | WrongValue:
    """Decide whether to run a Postgres of our own: only where nothing hints at another one."""
    named = [name for name in POSTGRES_NAMES if environment.get(name)]
    wish: bool | WrongValue | None = values.get("embedded")
    if wish is None:
        return not (named or "database_url" in values or environment.get("KUBERNETES_SERVICE_HOST"))
    if wish is True and named:
        text = environment.get("NOETL_EMBEDDED")
        return WrongValue(f"NOETL_EMBEDDED is {text!r}, but {named[0]} names another database: unset one")
    return wish
